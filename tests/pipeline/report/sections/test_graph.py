"""The section with the pipeline's graph."""

from pipeline.config import Config
from pipeline.report.blocks import Details, Drawing, Table
from pipeline.report.sections.graph import section
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore


def test_nodes_are_drawn_and_listed(config: Config, store: StockStore) -> None:
    """Each node has a box with its state, and a row with what it waits for."""
    examples = store.examples()
    store.ran("monday", "CsvExampleGen", outputs={"examples": examples})
    store.ran(
        "monday",
        "StatisticsGen",
        inputs={"examples": [examples]},
        outputs={"statistics": store.statistics(train=7)},
    )

    shown = section(opened(config))

    assert shown is not None
    drawing, details = shown.blocks
    assert isinstance(drawing, Drawing)
    assert drawing.wide != drawing.narrow
    for svg in (drawing.wide, drawing.narrow):
        assert "CsvExampleGen: done" in svg
        assert "StatisticsGen: done" in svg
    assert isinstance(details, Details)
    (table,) = details.blocks
    assert isinstance(table, Table)
    assert [(name, state, before) for name, state, _, before in table.rows] == [
        ("CsvExampleGen", "done", ""),
        ("StatisticsGen", "done", "CsvExampleGen"),
    ]
