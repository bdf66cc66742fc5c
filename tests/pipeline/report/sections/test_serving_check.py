"""The section about the check in a process of its own."""

import json

from pipeline.config import Config
from pipeline.report.blocks import Note, Table
from pipeline.report.sections import verdict
from pipeline.report.sections.serving_check import section
from pipeline.store.artifact_files import SERVING_CHECK_FILE
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore, train


def checked(store: StockStore, *failures: str, **figures: float) -> None:
    """Registers a run with a model that was blessed but for the check."""
    infra = store.artifact("InfraBlessing", {"blessed": int(not failures)})
    found = {"failures": failures, "figures": figures}
    (store.path(infra) / SERVING_CHECK_FILE).write_text(json.dumps(found))
    evaluation = store.evaluation(auc=0.9)
    blessing = store.artifact("ModelBlessing", {"blessed": 1})
    evaluated = {"evaluation": evaluation, "blessing": blessing}
    store.ran("monday", "Evaluator", outputs=evaluated)
    store.ran("monday", "InfraValidator", outputs={"blessing": infra})


def test_figures_are_in_a_table(config: Config, store: StockStore) -> None:
    """What was counted and measured is shown by its meaning."""
    checked(store, rows=64, serving_raw_p95_ms=1.23456)

    shown = section(opened(config))

    assert shown is not None
    (table,) = shown.blocks
    assert isinstance(table, Table)
    assert table.rows == [
        ["rows answered by each signature", 64],
        ["ms for one row, serving_raw, 95 % are below", 1.23],
    ]


def test_failures_come_first_and_decide_the_verdict(
    config: Config, store: StockStore
) -> None:
    """A model that isn't served is not blessed, and both sections say why."""
    checked(store, "agreement: they differ", rows=64)
    run = opened(config)

    shown = section(run)

    assert shown is not None
    assert shown.blocks[0] == Note("agreement: they differ", "bad")
    assert verdict.section(run).blocks[0] == Note(
        "Not blessed, and so not pushed.\nagreement: they differ", "bad"
    )


def test_a_run_without_the_check_has_no_section(
    config: Config, store: StockStore
) -> None:
    """Runs of before there was one, and TFX's own check, have nothing to show."""
    train(store, "monday", version="101")

    assert section(opened(config)) is None
