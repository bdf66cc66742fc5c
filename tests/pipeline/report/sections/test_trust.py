"""The section about the gate's verdict, drift, coverage and features."""

from typing import TypeVar

import pytest

from pipeline.config import Config
from pipeline.report.blocks import Bars, Details, Facts, Grid, Heat, Lines, Note, Table
from pipeline.report.sections.trust import section
from pipeline.trust import coverage
from pipeline.trust.checks import Severity
from pipeline.trust.coverage import Cells
from pipeline.trust.policy import Exhibit, Finding, Value, Verdict
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore
from tests.pipeline.trust.test_newest import refuse

Kind = TypeVar("Kind")


@pytest.fixture
def runs(config: Config) -> StockStore:
    """A store in which the pipeline has the configuration's name."""
    return StockStore(config.metadata_url, config.output / "artifacts", config.name)


def accept(runs: StockStore, run: str, verdict: Verdict, **properties: int) -> int:
    """Registers a run whose data was accepted; returns the verdict's id."""
    written = runs.artifact("DataVerdict", properties)
    (runs.path(written) / "verdict.json").write_text(verdict.to_json())
    runs.ran(
        run,
        "DataGate",
        outputs={"verdict": written},
        properties={"policy": '{"min_rows": 7, "severities": {"DRIFT": "warn"}}'},
    )
    return written


def measured(span: int, drift: float) -> Verdict:
    """A verdict about a span, compared with the one before."""
    values = (
        Value("explained_entropy", 0.25, 0.9, "fare"),
        Value("missing_share", 0.01, 0.05, "fare", against="previous"),
        Value("jensen_shannon", drift, 0.02, "fare", "", "previous", 0.001, "chance"),
        Value("explained_entropy", 0.5, 0.9, "company"),
    )
    before = {"previous": f"span {span - 1}, 9 rows"}
    return Verdict(measured=values, compared_with=before, spans=(span,))


def blocks_of(config: Config, run: str, kind: type[Kind]) -> list[Kind]:
    """Blocks of a kind, those in grids too."""
    shown = section(opened(config, run))
    assert shown is not None
    every = [
        inner
        for block in shown.blocks
        for inner in (block.blocks if isinstance(block, Grid) else [block])
    ]
    return [block for block in every if isinstance(block, kind)]


def test_a_stock_run_has_no_such_section(config: Config, store: StockStore) -> None:
    """Without a gate there is no verdict to show."""
    store.ran("monday", "CsvExampleGen", outputs={"examples": store.examples()})

    assert section(opened(config)) is None


def test_the_verdict_comes_first(config: Config, runs: StockStore) -> None:
    """What was found, with severities; what it was compared with; the policy."""
    findings = (
        Finding("DRIFT", "it moved", "fare", severity=Severity.WARN),
        Finding("FEW_ROWS", "7 rows", split="eval", accepted="holidays"),
        Finding("FEW_ROWS", "7 rows", split="test", accepted="holidays"),
    )
    without = {"live model's": "no live model"}
    accept(runs, "monday", Verdict(findings, spans=(3,), without_baseline=without))

    (note,) = blocks_of(config, "monday", Note)
    (facts,) = blocks_of(config, "monday", Facts)
    table, *_ = blocks_of(config, "monday", Table)
    (policy,) = blocks_of(config, "monday", Details)

    expected = "The data was accepted: 3 findings, none of which blocks."
    assert note == Note(expected, "warn")
    assert facts.facts == {
        "spans": "3",
        "not compared with the live model's data": "no live model",
    }
    assert list(table.rows) == [
        ["fare", "warn", "DRIFT", "all", "it moved"],
        ["all", "accepted", "FEW_ROWS", "eval, test", "7 rows [holidays]"],
    ]
    assert policy.blocks == [Facts({"min rows": 7, "severities": "DRIFT: warn"})]


def test_refused_data_is_shown_with_its_histograms(
    config: Config, runs: StockStore
) -> None:
    """The verdict of a run that was stopped isn't an artifact, and is shown too."""
    bins = (("below 3", 0.5, 0.9), ("3 and more", 0.5, 0.1))
    rows = ({"fare": "1.5", "company": "a"}, {"fare": "2"})
    exhibit = Exhibit("DRIFT", "fare", "previous", bins, rows=rows)
    refuse(
        config, runs, Verdict((Finding("DRIFT", "moved"),), (), (exhibit,)), "monday"
    )

    (note,) = blocks_of(config, "monday", Note)
    (bars,) = blocks_of(config, "monday", Bars)
    (examples,) = blocks_of(config, "monday", Details)

    assert note == Note("The data was refused: 1 finding.", "bad")
    assert bars.series == {
        "previous": [("below 3", 0.5), ("3 and more", 0.5)],
        "now": [("below 3", 0.9), ("3 and more", 0.1)],
    }
    assert examples.blocks == [Table(["fare", "company"], [["1.5", "a"], ["2", None]])]


def test_drift_is_drawn_over_spans(config: Config, runs: StockStore) -> None:
    """Up to the run's own data: a report doesn't change with later runs."""
    accept(runs, "run 1", Verdict(spans=(1,)))
    for span, drift in ((2, 0.001), (3, 0.015), (4, 0.019)):
        accept(runs, f"run {span}", measured(span, drift))

    (chart,) = blocks_of(config, "run 3", Lines)

    assert chart.x_labels == ["span 2", "span 3"]
    assert chart.series == {
        "jensen shannon": [(0, 0.001), (1, 0.015)],
        "threshold": [(0, 0.02), (1, 0.02)],
    }
    assert list(chart.y_range or ()) == [0.0, pytest.approx(0.021)]
    assert blocks_of(config, "run 2", Lines) == []


def test_features_have_what_was_measured_of_them(
    config: Config, runs: StockStore
) -> None:
    """One row each, with the reason of the threshold."""
    accept(runs, "monday", measured(2, 0.015))

    (table,) = blocks_of(config, "monday", Table)

    assert list(table.rows) == [
        ["fare", 25.0, 0.015, 0.02, "chance", 0.01],
        ["company", 50.0, None, None, None, None],
    ]


def test_coverage_is_what_the_trainer_learned_from(
    config: Config, runs: StockStore
) -> None:
    """A row per cross, and a heat map of two columns; the narrow axis lies."""
    verdict = accept(runs, "monday", Verdict(), min_rows_of_cell=5)
    cross = "area", "hour"
    cells = {
        "train": {
            cross: Cells({("10", "3"): 9, ("9", "3"): 4, ("9", "4"): 6}),
            ("pay",): Cells({("Cash",): 19}),
        },
        "test": {cross: Cells({("10", "4"): 2, ("9", "3"): 2}), ("pay",): Cells()},
    }
    place = runs.path(verdict) / "cells.parquet"
    place.write_bytes(coverage.to_bytes(cells))
    runs.ran("monday", "Trainer", inputs={"verdict": [verdict]})

    (table,) = blocks_of(config, "monday", Table)
    (heat,) = blocks_of(config, "monday", Heat)

    assert list(table.rows) == [
        ["area*hour", 2, 1, 1, 50.0],
        ["pay", 1, 0, 0, 0.0],
    ]
    assert (heat.x, list(heat.x_labels)) == ("area", ["9", "10"])
    assert (heat.y, list(heat.y_labels)) == ("hour", ["3", "4"])
    assert heat.series == {
        "training rows": [(1, 0, 9), (0, 0, 4), (0, 1, 6)],
        "only in other splits": [(1, 1, 2)],
    }
