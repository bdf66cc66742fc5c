"""Errors, selection rates and calibration of the declared groups."""

from collections.abc import Iterator, Sequence
from typing import Any

from models import declared
from models.declarations import Group
from models.groups import GROUPS
from pipeline.artifacts import Run
from pipeline.quality.titles import OF_RULES
from pipeline.report.blocks import Bars, Block, Cell, Grid, Section, Table, Text

_FEWEST_DRAWN = 50
_MOST_CLASSES = 6
_NO_GROUPS = (
    "No groups are declared, so nothing is compared between them: declare those whom a "
    "wrong prediction affects in models/groups.py."
)


def shown(task: str, classes: Sequence[object]) -> tuple[str, ...]:
    """Returns the metrics that groups are compared by, in their order."""
    match task:
        case "binary":
            return (
                "false_positive_rate",
                "false_negative_rate",
                "selection_rate",
                "calibration_error",
            )
        case "classes":
            first = classes[:_MOST_CLASSES]
            return (
                "accuracy",
                *(f"selection_rate of {each}" for each in first),
                *(f"recall of {each}" for each in first),
            )
    return ("mae", "mean_error", "rmse")


def section(run: Run) -> Section | None:
    """Tabulates and draws the metrics of each group, with 95 % intervals."""
    found = run.gates()
    if not found:
        return None
    blocks = [b for group in GROUPS for b in _of_grouping(group, found["metrics"])]
    if not GROUPS:
        blocks = [Text(_NO_GROUPS)]
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
    metrics_of_groups = shown(declared.TASK, declared.CLASSES)
    titles = {name: OF_RULES.get(name, name) for name in metrics_of_groups}
    rows: list[list[Cell]] = [
        [
            name,
            round(each["rows"]),
            *(_interval(each["metrics"].get(metric)) for metric in titles),
        ]
        for name, each in ordered
    ]
    yield Table([group.name, "rows", *titles.values()], rows)
    yield Grid(
        [
            Bars(title, group.name, {"candidate": points})
            for metric, title in titles.items()
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
