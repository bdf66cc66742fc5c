"""Which drift thresholds hold, why, and which ones past data would ask for.

A threshold is what chance explains at the sizes compared, or a smallest effect that is
worth a block, or what the reviewed schema says instead. Where past data, accepted as
normal, differs from itself by more than that, seasons are the reason, and the schema
should say so.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.errors import UsageError, nearest
from pipeline.trust import drift
from pipeline.trust.gate import Baseline
from pipeline.trust.policy import Value, Verdict, one_line, table

FEWEST = 3
"""Past data of fewer spans says nothing of what is normal."""

_MARGIN = 1.25
_DIGITS = 2
_WHY = {
    drift.BY_CHANCE: "chance: equal data of these sizes differs by so much",
    drift.BY_EFFECT: "the smallest effect that is worth a block",
    drift.BY_SCHEMA: "drift_comparator of the reviewed schema",
    drift.BY_SKEW: "skew_comparator of the reviewed schema",
}
_FIELDS = {
    drift.JENSEN_SHANNON: "jensen_shannon_divergence",
    drift.L_INFINITY: "infinity_norm",
}

Spread = Mapping[tuple[str, str, str], Sequence[float]]
"""Distances between past data by baseline, column and measure."""


@dataclass(frozen=True)
class Threshold:
    """A threshold that holds.

    Attributes:
        value: What was measured in the newest data.
        spread: The largest distance between past data that was compared so; `None` if
            unknown.
        proposed: What the schema should have instead; `None` if it fits.
    """

    value: Value
    spread: float | None = None
    proposed: float | None = None


def spread(past: Sequence[Baseline]) -> dict[tuple[str, str, str], list[float]]:
    """Measures how far past data is from the data that it could be compared with.

    The previous data is the one before. The live model's may be any earlier one, so the
    distances of trends that last for years count for it alone.

    Args:
        past: Spans in any order, other data oldest first; pairs of which both read a
            span are left out.
    """
    found: dict[tuple[str, str, str], list[float]] = {}
    # A late span was accepted after its successors.
    ordered = sorted(past, key=lambda each: each.verdict.spans)
    for number, before in enumerate(ordered):
        for after in ordered[number + 1 :]:
            if set(before.verdict.spans) & set(after.verdict.spans):
                continue
            baselines = [drift.LIVE]
            baselines += [drift.PREVIOUS] if after is ordered[number + 1] else []
            for column, measure, distance in drift.distances(before.rows, after.rows):
                for against in baselines:
                    found.setdefault((against, column, measure), []).append(distance)
    return found


def holding(verdict: Verdict, between: Spread, past: int) -> list[Threshold]:
    """Returns the drift thresholds that a verdict applied.

    Args:
        verdict: The newest one.
        between: Distances between past data.
        past: How many data they are of.
    """
    return [
        _threshold(
            value, between.get((value.against, value.column, value.measure), ()), past
        )
        for value in verdict.measured
        if value.because
    ]


def lines(found: Sequence[Threshold], verdict: Verdict, past: int) -> Iterable[str]:
    """Formats what `throughline schema thresholds` prints.

    Args:
        found: What `holding` returned.
        verdict: The verdict that it is of.
        past: How many past data were compared.
    """
    for name, what in verdict.compared_with.items():
        yield f"Compared with the {name} data: {what}"
    for name, why in verdict.without_baseline.items():
        yield f"Not compared with the {name} data: {why}"
    if past < FEWEST:
        yield (
            f"No thresholds are proposed: that takes {FEWEST} earlier data that were "
            f"accepted, and there are {past}"
        )
    else:
        yield (
            f"Past data: the largest distance of {past} that were accepted, each from "
            "the one before (previous) or from any earlier one (live model's)"
        )
    if not found:
        return
    yield ""
    yield from table(
        ("column", "measured", "against", "value", "threshold", "past data", "because"),
        [
            (
                one_line(each.value.column) or "label",
                each.value.measure,
                each.value.against,
                f"{each.value.value:.4f}",
                f"{each.value.threshold:.4f}",
                "-" if each.spread is None else f"{each.spread:.4f}",
                _WHY[each.value.because],
            )
            for each in found
        ],
    )
    yield from _proposals(found)


def with_proposals(
    schema: schema_pb2.Schema, found: Collection[Threshold], columns: Collection[str]
) -> schema_pb2.Schema:
    """Returns the schema with the proposed thresholds of some columns.

    Raises:
        UsageError: Nothing is proposed for one of them.
    """
    proposed = _proposed(found)
    known = list(dict.fromkeys(column for column, _ in proposed))
    for name in columns:
        if name not in known:
            hint = nearest(name, known) if known else "there is none"
            raise UsageError(f"no threshold is proposed for {name!r}; {hint}")
    changed = schema_pb2.Schema()
    changed.CopyFrom(schema)
    by_name = {feature.name: feature for feature in changed.feature}
    for (column, comparator), (measure, threshold) in proposed.items():
        if column in columns:
            field = getattr(getattr(by_name[column], comparator), _FIELDS[measure])
            field.threshold = threshold
    return changed


def _threshold(value: Value, distances: Sequence[float], past: int) -> Threshold:
    if past < FEWEST or not distances:
        return Threshold(value)
    largest = max(distances)
    threshold = value.threshold or 0.0
    if largest <= threshold or value.measure not in _FIELDS:
        return Threshold(value, largest)
    return Threshold(value, largest, min(1.0, _rounded_up(largest * _MARGIN)))


def _proposed(
    found: Iterable[Threshold],
) -> dict[tuple[str, str], tuple[str, float]]:
    """Returns measure and threshold by column and comparator.

    Each comparator is that of one baseline, as `drift.comparator_of` reads them.
    """
    proposed: dict[tuple[str, str], tuple[str, float]] = {}
    for each in found:
        if each.proposed is not None:
            is_live = each.value.against == drift.LIVE
            comparator = "skew_comparator" if is_live else "drift_comparator"
            place = each.value.column, comparator
            proposed[place] = each.value.measure, each.proposed
    return proposed


def _proposals(found: Iterable[Threshold]) -> Iterable[str]:
    proposed = _proposed(found)
    if not proposed:
        return
    yield ""
    yield (
        "Past data differs by more than these thresholds. The schema could have "
        "others, below which no change of the column is found (a drift_comparator "
        "holds against the previous data, a skew_comparator against the live model's):"
    )
    for (column, comparator), (measure, threshold) in proposed.items():
        text = f"{comparator} {{ {_FIELDS[measure]} {{ threshold: {threshold:g} }} }}"
        yield f"  {one_line(column)}: {text}"
    ((first, _), *_) = proposed
    yield f"`throughline schema thresholds --accept {first}` writes it"


def _rounded_up(value: float) -> float:
    """Rounds up to two digits, which is all that a spread of a few data is worth."""
    unit = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
    return round(math.ceil(value / unit) * unit, 10)
