"""The section about metrics on the test split."""

import math

from pipeline.config import Config
from pipeline.report.blocks import Table
from pipeline.report.sections.metrics import number, section
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore


def table_of(config: Config) -> Table:
    """The section's only block."""
    shown = section(opened(config))
    assert shown is not None
    (table,) = shown.blocks
    assert isinstance(table, Table)
    return table


def test_metrics_have_titles_and_intervals(config: Config, store: StockStore) -> None:
    """Known metrics come first by their titles, others by their own names."""
    evaluation = store.evaluation(
        intervals={"auc": (0.81, 0.87)}, fairness=0.5, example_count=20.0, auc=0.84
    )
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    table = table_of(config)

    assert list(table.columns) == [
        "metric",
        "candidate",
        "95 % interval of the candidate",
    ]
    assert [list(row) for row in table.rows] == [
        ["AUC", 0.84, "0.81 to 0.87"],
        ["rows", 20.0, ""],
        ["fairness", 0.5, ""],
    ]


def test_a_metric_that_only_slices_have_is_undefined_overall(
    config: Config, store: StockStore
) -> None:
    """It has a row with "-", neither a number nor no row at all."""
    evaluation = store.evaluation({"Card": 0.75}, calibration=1.0)
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    assert [list(row) for row in table_of(config).rows] == [
        ["AUC", "-"],
        ["calibration (predicted / actual)", 1.0],
        ["rows", "-"],
    ]


def test_what_is_no_number_is_a_dash() -> None:
    """NaN is shown as undefined, and 0 as the number it is."""
    assert number(math.nan) == "-"
    assert number(0.0) == 0.0


def test_a_run_without_an_evaluation_has_no_section(
    config: Config, store: StockStore
) -> None:
    """Nothing is claimed about a model that was not evaluated."""
    store.ran("monday", "CsvExampleGen", outputs={"examples": store.examples()})

    assert section(opened(config)) is None
