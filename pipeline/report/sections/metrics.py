"""The overall metrics of the candidate and the baseline on the test split."""

import math

from pipeline.artifacts import Run
from pipeline.quality.results import (
    BASELINE,
    CANDIDATE,
    OVERALL,
    UNDEFINED,
    slice_name,
)
from pipeline.quality.titles import TITLES
from pipeline.report.blocks import Cell, Section, Table


def section(run: Run) -> Section | None:
    """Tabulates the overall metrics of candidate and baseline, with intervals."""
    if not run.has("ModelEvaluation"):
        return None
    values = run.metrics()
    # A metric that is undefined overall may still be defined in a slice.
    undefined = [n for n in run.slices().columns if n not in values.index]
    values = values.reindex([*values.index, *undefined])
    known = [name for name in TITLES if name in values.index]
    names = [*known, *(name for name in values.index if name not in known)]
    columns = ["metric", *values.columns]
    compared = BASELINE in values.columns
    intervals = _intervals(run)
    rows: list[list[Cell]] = []
    for name in names:
        row = values.loc[name]
        cells: list[Cell] = [TITLES.get(name, name), *map(number, row)]
        if compared:
            # Rounded: a difference of two equal models is 0 and not 1e-17.
            difference = round(float(row[CANDIDATE] - row[BASELINE]), 6)
            cells.append(number(difference))
        if intervals:
            cells.append(intervals.get(name, ""))
        rows.append(cells)
    more = ["difference"] if compared else []
    more += ["95 % interval of the candidate"] if intervals else []
    return Section("Metrics", [Table([*columns, *more], rows)])


def number(value: float) -> Cell:
    """Converts a metric to a cell; "-" if it is undefined (NaN)."""
    return UNDEFINED if math.isnan(value) else float(value)


def _intervals(run: Run) -> dict[str, str]:
    found = run.intervals()
    return {
        str(metric): f"{low:.4g} to {high:.4g}"
        for (model, where, metric), low, high in found.itertuples(name=None)
        if model == CANDIDATE and where == slice_name(OVERALL)
    }
