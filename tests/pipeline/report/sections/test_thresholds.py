"""The section about calibration and thresholds."""

import pytest

from pipeline.config import Config
from pipeline.report.blocks import Grid, Lines
from pipeline.report.sections.thresholds import section
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore

# Lower, upper, rows, positives.
BUCKETS = ((0.0, 0.2, 10.0, 1.0), (0.7, 0.9, 10.0, 8.0))


def test_curves_are_drawn_from_the_plot(config: Config, store: StockStore) -> None:
    """Each bucket is a point of mean prediction and share of positives."""
    evaluation = store.evaluation(buckets=BUCKETS, auc=0.9)
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    shown = section(opened(config))

    assert shown is not None
    (grid,) = shown.blocks
    assert isinstance(grid, Grid)
    calibration, curve = grid.blocks
    assert isinstance(calibration, Lines)
    (points,) = calibration.series.values()
    assert [x for x, _ in points] == pytest.approx([0.1, 0.8])
    assert [y for _, y in points] == pytest.approx([0.1, 0.8])
    assert isinstance(curve, Lines)
    (points,) = curve.series.values()
    # Above the upper bucket's bound 8 of 10 are positive; below it 9 of 20 in all.
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[-1] == pytest.approx((1.0, 0.45))


def test_an_evaluation_without_a_plot_has_no_section(
    config: Config, store: StockStore
) -> None:
    """Without buckets there is nothing to draw."""
    store.ran("monday", "CsvExampleGen", outputs={"examples": store.examples()})

    assert section(opened(config)) is None
