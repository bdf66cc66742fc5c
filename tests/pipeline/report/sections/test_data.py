"""The section about the data: rows, charts and distances between splits."""

from pipeline.config import Config
from pipeline.report.blocks import Bars, Facts, Grid, Histogram, Table
from pipeline.report.sections.data import section
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore


def described(store: StockStore, run: str, **rows: int) -> None:
    """Registers statistics of a number of rows in each split."""
    statistics = store.statistics(**rows)
    store.ran(run, "StatisticsGen", outputs={"statistics": statistics})


def test_each_column_has_a_chart_and_a_row(config: Config, store: StockStore) -> None:
    """A number has a histogram, a text bars; missing shares and distances are given."""
    described(store, "monday", train=70, eval=30)

    shown = section(opened(config))

    assert shown is not None
    facts, _, grid, table = shown.blocks
    assert isinstance(facts, Facts)
    assert facts.facts == {"rows in train": 70, "rows in eval": 30}
    assert isinstance(grid, Grid)
    assert [type(chart) for chart in grid.blocks] == [Histogram, Bars]
    assert isinstance(table, Table)
    assert list(table.columns) == [
        "column",
        "kind",
        "missing in train, %",
        "missing in eval, %",
        "distance to eval",
    ]
    # Both splits of the stock statistics have the same distribution.
    assert [list(row) for row in table.rows] == [
        ["fare", "float", 0.0, 0.0, 0.0],
        ["payment_type", "string", 10.0, 10.0, 0.0],
    ]


def test_earlier_data_is_compared(config: Config, store: StockStore) -> None:
    """A run after another one has each column's distance to the earlier data."""
    described(store, "monday", train=70)
    described(store, "tuesday", train=140)

    shown = section(opened(config, "tuesday"))

    assert shown is not None
    table = shown.blocks[-1]
    assert isinstance(table, Table)
    assert table.columns[-1] == "distance to earlier data"
    assert [row[-1] for row in table.rows] == [0.0, 0.0]


def test_a_run_without_statistics_has_no_section(
    config: Config, store: StockStore
) -> None:
    """What was not described isn't shown."""
    store.ran("monday", "CsvExampleGen", outputs={"examples": store.examples()})

    assert section(opened(config)) is None
