"""Error rates, selection rate and calibration of the declared groups."""

from collections.abc import Iterator
from typing import Any

from models.declarations import Group
from models.groups import GROUPS
from pipeline.artifacts import Run
from pipeline.report.blocks import Bars, Block, Cell, Grid, Section, Table, Text

SHOWN = {
    "false_positive_rate": "false positive rate",
    "false_negative_rate": "false negative rate",
    "selection_rate": "selection rate",
    "calibration_error": "mean prediction - share of positives",
}
_FEWEST_DRAWN = 50


def section(run: Run) -> Section | None:
    """Tabulates and draws the metrics of each group, with 95 % intervals."""
    found = run.gates()
    blocks = [
        b for group in GROUPS for b in _of_grouping(group, found.get("metrics", ()))
    ]
    return Section("Fairness", blocks) if blocks else None


def _of_grouping(group: Group, metrics: list[dict[str, Any]]) -> Iterator[Block]:
    own = {
        where[0][1]: each
        for each in metrics
        for where in [each["where"]]
        if len(where) == 1 and where[0][0] == group.name
    }
    if not own:
        return
    ordered = sorted(own.items(), key=lambda item: -item[1]["rows"])
    yield Text(
        f"Groups of {group.column}, declared in models/groups.py: {group.name}. Groups "
        f"of fewer than {_FEWEST_DRAWN} rows are not drawn."
    )
    rows: list[list[Cell]] = [
        [
            name,
            round(each["rows"]),
            *(_interval(each["metrics"].get(metric)) for metric in SHOWN),
        ]
        for name, each in ordered
    ]
    yield Table([group.name, "rows", *SHOWN.values()], rows)
    yield Grid(
        [
            Bars(title, group.name, {"candidate": points})
            for metric, title in SHOWN.items()
            for points in [_points(ordered, metric)]
            if points
        ]
    )


def _points(
    ordered: list[tuple[str, dict[str, Any]]], metric: str
) -> list[tuple[str, float]]:
    return [
        (name, each["metrics"][metric][0])
        for name, each in ordered
        if each["rows"] >= _FEWEST_DRAWN and metric in each["metrics"]
    ]


def _interval(found: list[float | None] | None) -> str:
    """Formats a metric with its interval; "-" if it is undefined."""
    if not found:
        return "-"
    value, low, high = found
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
