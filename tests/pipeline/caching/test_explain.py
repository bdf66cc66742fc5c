"""Explanations of cache hits and misses."""

from dataclasses import replace
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline import create_pipeline
from pipeline.caching.explain import explain
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.runners.compiler import compile_pipeline
from pipeline.runners.node import run_node
from pipeline.store.connection import open_store
from pipeline.store.run_files import Run
from tests.pipeline.tfx_store import StockStore

# protobuf warns on behalf of TFX's caller, which is us.
pytestmark = pytest.mark.filterwarnings("ignore:label:DeprecationWarning")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings for two spans of data."""
    schema = tmp_path / "schema.pbtxt"
    schema.write_text('feature { name: "fare" type: FLOAT }')
    for span in (1, 2):
        _put(tmp_path, span)
    return Config(
        data=tmp_path / "data",
        output=tmp_path / "out",
        schema=schema,
        pattern="span-{SPAN}/*.csv",
        window=2,
    )


def _put(directory: Path, span: int, fare: float = 1.5) -> None:
    path = directory / "data" / f"span-{span}" / "a.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"fare\n{fare}\n")


def _ingest(config: Config, run: str) -> None:
    pipeline = compile_pipeline(create_pipeline(config))
    run_node(pipeline, "ExampleGen", run, open_store(config.metadata_url))


def test_edited_data_is_named(config: Config, tmp_path: Path) -> None:
    """Edited files of the newest span are the only change that is listed."""
    _ingest(config, "monday")
    # What was cached has no parameters of its own.
    _ingest(config, "tuesday")
    _put(tmp_path, 2, fare=9.5)
    _ingest(config, "wednesday")

    head, *changes = explain(config, "ExampleGen")

    assert head.endswith("because this changed since run tuesday:")
    (change,) = changes
    assert change.startswith("  parameter input_fingerprint.all: ")


def test_another_span_is_named(config: Config, tmp_path: Path) -> None:
    """The newest span is listed with the one that was the newest before."""
    _ingest(config, "monday")
    _put(tmp_path, 3)
    _ingest(replace(config), "tuesday")

    _, *changes = explain(config, "ExampleGen")

    said = "\n".join(changes)
    assert 'input_config.splits.all.pattern: "span-2/*.csv" -> "span-3/*.csv"' in said
    assert "parameter span: 2 -> 3" in said


@pytest.fixture
def stock(config: Config) -> StockStore:
    """A store whose trainer ran on Monday."""
    store = StockStore(config.metadata_url, Path(config.artifact_root), config.name)
    model = store.artifact("Model")
    store.ran("monday", "Trainer", outputs={"model": model}, properties={"steps": 5})
    return store


def test_what_was_cached_names_the_run_that_made_it(
    config: Config, stock: StockStore
) -> None:
    """A cached execution is explained by the run that wrote its outputs."""
    (model,) = stock._made
    stock.ran(
        "tuesday",
        "Trainer",
        outputs={"model": model},
        state=mlmd.Execution.CACHED,
    )

    (line,) = explain(config, "Trainer")
    assert line == (
        "Trainer in run tuesday was cached: inputs, parameters, code and versions are "
        "those of run monday, whose outputs were taken"
    )


def test_a_node_that_was_told_to_run(config: Config, stock: StockStore) -> None:
    """`--no-cache` is reported if nothing has changed."""
    stock.ran("tuesday", "Trainer", properties={"steps": 5})
    directory = config.runs_directory / "tuesday"
    Run("tuesday", directory, "", "", {}, uncached=["Trainer"]).save()

    assert explain(config, "Trainer") == [
        "Trainer in run tuesday ran (complete): --no-cache was given for it"
    ]


@pytest.mark.usefixtures("stock")
def test_a_node_that_never_ran(config: Config) -> None:
    """An unknown node is a usage error that lists the nodes."""
    with pytest.raises(UsageError, match=r"'Trianer' has never run; .* Trainer$"):
        explain(config, "Trianer")
