"""`throughline features`: mistakes; its answers are tested on the main job's model."""

import pytest

from pipeline import cli
from pipeline.config import Config
from pipeline.errors import UsageError
from tests.pipeline.tfx_store import StockStore


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rows", "0"], "rows is 0; it must be at least 1"),
        (["--tolerance", "2"], r"tolerance is 2.0; it must be from 0 to 1"),
        (["--without", "fares"], r"without names 'fares', .* did you mean fare\?"),
    ],
)
def test_wrong_settings_are_told(flags: list[str], said: str) -> None:
    """Before anything is loaded."""
    with pytest.raises(UsageError, match=said):
        cli.COMMANDS["features"](flags)


def test_a_model_without_an_evaluation_is_told(
    config: Config, store: StockStore
) -> None:
    """There are no rows to measure its features on."""
    model = store.artifact("Model")
    store.ran("monday", "Trainer", outputs={"model": model})
    where = ["--output", str(config.output), "--metadata", config.metadata_url]

    with pytest.raises(UsageError, match="model monday was never trained and eval"):
        cli.COMMANDS["features"](where)


@pytest.mark.parametrize("gone", ["Model", "Examples"])
def test_files_that_are_gone_are_told(
    config: Config, store: StockStore, gone: str
) -> None:
    """By type and place: a run on a new machine has the store alone."""
    ids = {each: store.artifact(each) for each in ("Model", "Examples")}
    graph = store.artifact("TransformGraph")
    store.ran(
        "monday",
        "Trainer",
        inputs={"examples": [ids["Examples"]], "transform_graph": [graph]},
        outputs={"model": ids["Model"]},
    )
    store.ran(
        "monday",
        "Evaluator",
        inputs={"examples": [ids["Examples"]], "model": [ids["Model"]]},
        properties={"eval_config": '{"model_specs": []}'},
    )
    store.path(ids[gone]).rmdir()
    where = ["--output", str(config.output), "--metadata", config.metadata_url]

    with pytest.raises(UsageError, match=f"its {gone} is gone from {store.root}"):
        cli.COMMANDS["features"](where)
