"""Calibration, precision and recall by decision threshold."""

import pandas as pd

from pipeline.artifacts import Run
from pipeline.quality.results import read_calibration
from pipeline.report.blocks import Grid, Lines, Point, Section, Text
from pipeline.store.artifact_files import location

_BINS = 10
_POINTS = 100
_UNIT = (0.0, 1.0)
_OF_BINARY = (
    "Only a label that is yes or no has a decision threshold, and a calibration curve "
    "of one score: a class is the most probable one, and a number is answered as it is."
)


def section(run: Run) -> Section | None:
    """Draws the calibration and the precision-recall curve of each model."""
    if not run.has("ModelEvaluation"):
        return None
    path = location(run.artifact("ModelEvaluation").uri)
    models = list(read_calibration(path)) if path else []
    if not models:
        return Section("Calibration and thresholds", [Text(_OF_BINARY)])
    return Section(
        "Calibration and thresholds",
        [
            Grid(
                [
                    Lines(
                        "Calibration",
                        "mean prediction",
                        "share of positives",
                        {name: _calibration(run.calibration(name)) for name in models},
                        diagonal=True,
                        x_range=_UNIT,
                        y_range=_UNIT,
                    ),
                    Lines(
                        "Precision and recall",
                        "recall",
                        "precision",
                        {name: _curve(run.thresholds(name)) for name in models},
                        x_range=_UNIT,
                        y_range=_UNIT,
                    ),
                ]
            )
        ],
    )


def _calibration(buckets: pd.DataFrame) -> list[Point]:
    """Merges the buckets into ten points, without empty ones."""
    # TFMA's plot has 1,000 buckets of a few rows each, and a share of three rows is
    # noise. The outermost buckets reach to infinity.
    middle = (buckets["lower"].clip(lower=0) + buckets["upper"].clip(upper=1)) / 2
    groups = (middle * _BINS).clip(0, _BINS - 1).astype(int)
    sums = buckets.groupby(groups)[["weight", "label", "prediction"]].sum()
    sums = sums[sums["weight"] > 0]
    return [
        (float(row.prediction / row.weight), float(row.label / row.weight))
        for row in sums.itertuples()
    ]


def _curve(thresholds: pd.DataFrame) -> list[Point]:
    """Samples at most 101 points, evenly spaced in recall."""
    found = thresholds.dropna()
    groups = (found["recall"] * _POINTS).round().astype(int).rename("group")
    # A point per bucket would be more than a chart can show.
    kept = found.groupby(groups).first()
    return [(float(row.recall), float(row.precision)) for row in kept.itertuples()]
