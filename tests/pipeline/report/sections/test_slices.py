"""The section about metrics of slices."""

import math

from pipeline.config import Config
from pipeline.report.blocks import Table
from pipeline.report.sections.slices import section
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore


def test_each_slice_has_a_row(config: Config, store: StockStore) -> None:
    """A metric that a slice can't have is a dash."""
    evaluation = store.evaluation(
        {"Cash": math.nan, "Card": 0.75}, auc=0.84, example_count=20.0
    )
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    shown = section(opened(config))

    assert shown is not None
    _, table = shown.blocks
    assert isinstance(table, Table)
    assert list(table.columns) == ["slice", "rows", "AUC"]
    rows = {str(row[0]): list(row[1:]) for row in table.rows}
    assert rows["payment_type Cash"] == [10.0, "-"]
    assert rows["payment_type Card"] == [10.0, 0.75]


def test_an_evaluation_without_slices_has_no_section(
    config: Config, store: StockStore
) -> None:
    """All rows alone are in the section about metrics."""
    evaluation = store.evaluation(auc=0.84)
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    assert section(opened(config)) is None
