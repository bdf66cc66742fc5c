"""Rules that a candidate must keep, as texts such as "auc by region loss <= 0.02".

    METRIC [by COLUMN[,COLUMN]] [loss | gap] (>= | <=) NUMBER

Without `by` a rule is about all rows, with it about each slice of the columns, which
are raw columns or groups of `models.groups`. `loss` is how much worse the candidate is
than another model on the same rows, `gap` the difference between two slices. This
module imports nothing but the standard library and the errors.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import UsageError

LARGER_IS_BETTER = {
    "auc": True,
    "accuracy": True,
    "precision": True,
    "recall": True,
    "log_loss": False,
    "false_positive_rate": False,
    "false_negative_rate": False,
}
"""Metrics that one value can be better than another in, and in which direction."""

METRICS = (*LARGER_IS_BETTER, "selection_rate", "calibration_error")
"""Metrics that a rule can be about; `selection_rate` is the share of rows decided as
positive, `calibration_error` the mean prediction minus the share of positives."""

GATES_FILE = "gates.json"
"""The verdict by rules, in a ModelEvaluation artifact; see `gates.Judged`."""

_RULE = re.compile(
    r"(?P<metric>\w+)(?: +by +(?P<by>[\w, ]+?))?(?: +(?P<kind>loss|gap))?"
    r" *(?P<sign>>=|<=) *(?P<bound>[\d.eE+-]+)"
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
        metric: One of `METRICS`.
        kind: What it is compared with.
        bound: The number that it may not pass.
        by: Columns whose slices each must keep it; empty for all rows.
    """

    metric: str
    kind: Kind
    bound: float
    by: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Returns the rule as it is written."""
        by = f" by {','.join(self.by)}" if self.by else ""
        kind = f" {self.kind}" if self.kind in {Kind.LOSS, Kind.GAP} else ""
        sign = ">=" if self.kind is Kind.AT_LEAST else "<="
        return f"{self.metric}{by}{kind} {sign} {self.bound:g}"


def parse(text: str) -> Rule:
    """Reads a rule.

    Raises:
        UsageError: It is no rule; says what was expected.
    """
    match = _RULE.fullmatch(text.strip())
    if not match:
        raise UsageError(
            f"{text!r} is no rule; write METRIC [by COLUMN,COLUMN] [loss or gap] "
            "followed by >= or <= and a number, such as 'auc by region loss <= 0.02'"
        )
    metric, asked, sign = match["metric"], match["kind"], match["sign"]
    if metric not in METRICS:
        raise UsageError(f"{text!r} is about {metric!r}; expected {', '.join(METRICS)}")
    try:
        bound = float(match["bound"])
    except ValueError as error:
        raise UsageError(f"{text!r} ends with no number") from error
    by = tuple(name.strip() for name in (match["by"] or "").split(",") if name.strip())
    if asked and sign == ">=":
        raise UsageError(f"{text!r}: a {asked} is at most something; write <=")
    if asked == Kind.LOSS and metric not in LARGER_IS_BETTER:
        raise UsageError(
            f"{text!r}: {metric} is neither better nor worse if it is larger, so there "
            "is no loss of it; give a bound or a gap"
        )
    if asked == Kind.GAP and not by:
        raise UsageError(f"{text!r}: a gap is between slices; say by which column")
    kind = Kind(asked) if asked else Kind.AT_LEAST if sign == ">=" else Kind.AT_MOST
    return Rule(metric, kind, bound, by)
