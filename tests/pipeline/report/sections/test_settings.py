"""The section about settings and versions."""

import json

from pipeline.config import Config
from pipeline.report.blocks import Facts, Table
from pipeline.report.sections.settings import section
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore


def test_settings_of_our_runs_have_dotted_names(
    config: Config, store: StockStore
) -> None:
    """Each setting of run.json is a row; one that isn't set has no value."""
    store.ran("monday", "CsvExampleGen", outputs={"examples": store.examples()})
    directory = config.runs_directory / "monday"
    directory.mkdir(parents=True)
    settings = {"seed": 7, "model": {"dropout": 0.25}, "data": None}
    record = {"config": settings, "outcome": "done", "exit_code": 0}
    (directory / "run.json").write_text(json.dumps(record))

    shown = section(opened(config))

    assert shown is not None
    (table,) = shown.blocks
    assert isinstance(table, Table)
    assert sorted(map(list, table.rows)) == [
        ["data", ""],
        ["model.dropout", "0.25"],
        ["seed", "7"],
    ]


def test_other_runs_have_parameters_and_versions(
    config: Config, store: StockStore
) -> None:
    """A run of another runner lists nodes' parameters; digests are no versions."""
    store.ran(
        "monday",
        "Trainer",
        outputs={"model": store.artifact("Model", {"tfx_version": "1.21.0"})},
        properties={
            "train_args": '{"num_steps": 10}',
            "throughline_key": json.dumps({"models.model": "0" * 64, "numpy": "2.1"}),
        },
    )

    shown = section(opened(config))

    assert shown is not None
    facts, table = shown.blocks
    assert isinstance(facts, Facts)
    assert facts.facts == {"numpy": "2.1", "tfx": "1.21.0"}
    assert isinstance(table, Table)
    assert [list(row) for row in table.rows] == [["Trainer.train_args.num_steps", "10"]]
