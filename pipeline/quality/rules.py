"""Rules that a candidate must keep, as texts such as "auc by region loss <= 0.02".

    METRIC [of CLASS] [by COLUMN[,COLUMN]] [loss | gap] (>= | <=) NUMBER[%]

Without `by` a rule is about all rows, with it about each slice of the columns, which
are raw columns or groups of `models.groups`. `loss` is how much worse the candidate is
than another model on the same rows, `gap` the difference between two slices. In percent
a loss is a share of the other model's metric, and a gap one of the metric on all rows:
errors in a label's unit have no other bound that fits any data. This module imports
nothing but the standard library and the errors.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import UsageError

LARGER_IS_BETTER = {
    "auc": True,
    "accuracy": True,
    "accuracy_gain": True,
    "precision": True,
    "recall": True,
    "r2": True,
    "log_loss": False,
    "false_positive_rate": False,
    "false_negative_rate": False,
    "rmse": False,
    "mae": False,
}
"""Metrics that one value can be better than another in, and in which direction."""

METRICS: Mapping[str, tuple[str, ...]] = {
    "binary": (
        "auc",
        "accuracy",
        "precision",
        "recall",
        "log_loss",
        "false_positive_rate",
        "false_negative_rate",
        "selection_rate",
        "calibration_error",
    ),
    "classes": ("accuracy", "accuracy_gain", "auc", "log_loss"),
    "regression": ("r2", "rmse", "mae", "mean_error"),
}
"""Metrics that a rule can be about, by the kind of task.

`selection_rate` is the share of rows decided as positive, `calibration_error` the mean
prediction minus the share of positives, `accuracy_gain` the accuracy above the share of
the most frequent class, `auc` of classes the mean of each class against the others, and
`mean_error` the mean prediction minus the mean label.
"""

OF_A_CLASS = ("recall", "precision", "selection_rate")
"""Metrics of one class among several, such as "recall of rain"; `selection_rate` is the
share of the rows that are predicted to be of the class."""

MOST_RANKED = 100
"""With more classes, neither their areas nor rates of each are compared: each row would
be counted thousands of times."""

GATES_FILE = "gates.json"
"""The verdict by rules, in a ModelEvaluation artifact; see `gates.Judged`."""

_RULE = re.compile(
    # A column, as a class, may be named by any words; the last "by" is the word.
    r"(?P<metric>\w+)(?: +of +(?P<of>.+?))?(?: +by +(?P<by>[^<>=]+?))?"
    r"(?: +(?P<kind>loss|gap))? *(?P<sign>>=|<=) *(?P<bound>[\d.eE+-]+) *(?P<share>%?)"
)


class Kind(StrEnum):
    """What a rule compares a metric with."""

    AT_LEAST = "at least"
    AT_MOST = "at most"
    LOSS = "loss"
    GAP = "gap"


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        metric: One of `METRICS`, or one of `OF_A_CLASS` with its class, such as "recall
            of rain".
        kind: What it is compared with.
        bound: The number that it may not pass; 0.1 for 10 %.
        by: Columns whose slices each must keep it; empty for all rows.
        relative: Whether the bound is a share, of what the metric is compared with.
    """

    metric: str
    kind: Kind
    bound: float
    by: tuple[str, ...] = ()
    relative: bool = False

    @property
    def larger_is_better(self) -> bool:
        """Whether a larger value of the metric is a better one."""
        return LARGER_IS_BETTER[self.metric.partition(" of ")[0]]

    def __str__(self) -> str:
        """Returns the rule as it is written."""
        by = f" by {','.join(self.by)}" if self.by else ""
        kind = f" {self.kind}" if self.kind in {Kind.LOSS, Kind.GAP} else ""
        sign = ">=" if self.kind is Kind.AT_LEAST else "<="
        bound = f"{self.bound * 100:g}%" if self.relative else f"{self.bound:g}"
        return f"{self.metric}{by}{kind} {sign} {bound}"


def metrics_of(task: str, classes: Sequence[object] = ()) -> tuple[str, ...]:
    """Returns the metrics of a kind of task.

    Args:
        task: A key of `METRICS`.
        classes: The classes, if the task is to tell several apart.
    """
    if len(classes) > MOST_RANKED:
        return tuple(name for name in METRICS[task] if name != "auc")
    of_each = (f"{name} of {each}" for each in classes for name in OF_A_CLASS)
    return (*METRICS[task], *of_each)


def parse(text: str) -> Rule:
    """Reads a rule.

    Raises:
        UsageError: It is no rule; says what was expected.
    """
    match = _RULE.fullmatch(text.strip())
    if not match:
        raise UsageError(
            f"{text!r} is no rule; write METRIC [of CLASS] [by COLUMN,COLUMN] [loss or "
            "gap] followed by >= or <= and a number, such as 'auc by region loss <= "
            "0.02'"
        )
    asked, sign = match["kind"], match["sign"]
    _check_metric(text, match["metric"], match["of"], asked)
    try:
        bound = float(match["bound"])
    except ValueError as error:
        raise UsageError(f"{text!r} ends with no number") from error
    by = tuple(name.strip() for name in (match["by"] or "").split(",") if name.strip())
    if asked and sign == ">=":
        raise UsageError(f"{text!r}: a {asked} is at most something; write <=")
    if asked == Kind.GAP and not by:
        raise UsageError(f"{text!r}: a gap is between slices; say by which column")
    if match["share"] and not asked:
        raise UsageError(
            f"{text!r}: only a loss and a gap can be a share; write a number without %"
        )
    kind = Kind(asked) if asked else Kind.AT_LEAST if sign == ">=" else Kind.AT_MOST
    metric = f"{match['metric']} of {match['of']}" if match["of"] else match["metric"]
    if match["share"]:
        return Rule(metric, kind, bound / 100, by, relative=True)
    return Rule(metric, kind, bound, by)


def _check_metric(text: str, metric: str, of: str | None, asked: str | None) -> None:
    known = OF_A_CLASS if of else tuple(dict.fromkeys(sum(METRICS.values(), ())))
    if metric not in known:
        raise UsageError(f"{text!r} is about {metric!r}; expected {', '.join(known)}")
    if asked == Kind.LOSS and metric not in LARGER_IS_BETTER:
        raise UsageError(
            f"{text!r}: {metric} is neither better nor worse if it is larger, so there "
            "is no loss of it; give a bound or a gap"
        )


def parse_for(text: str, task: str, classes: Sequence[object] = ()) -> Rule:
    """Reads a rule about a model of some kind of task.

    Args:
        text: The rule.
        task: A key of `METRICS`.
        classes: The classes, if the task is to tell several apart.

    Raises:
        UsageError: It is no rule, or about a metric that such a model doesn't have.
    """
    rule = parse(text)
    known = metrics_of(task, classes)
    if rule.metric not in known:
        metrics = ", ".join(name for name in known if " of " not in name)
        ranked = 0 < len(classes) <= MOST_RANKED
        more = f", and {', '.join(OF_A_CLASS)} of a class" if ranked else ""
        raise UsageError(
            f"{text!r} is about {rule.metric!r}, which this project's label, a task of "
            f"kind {task}, doesn't have; it has {metrics}{more}"
        )
    return rule
