"""Drift: does a column's distribution differ from that of a baseline?

Numbers are put into bins that each hold a twentieth of the baseline's rows, and are
compared by the Jensen-Shannon divergence (base 2: 0 equal, 1 disjoint). Bins of equal
width, TFDV's default, put almost all rows into one bin when there is an outlier, and
then a change of unit goes unseen. Texts are compared by the largest change of a value's
share (L-infinity) and by the share of rows whose value the baseline never had.

Samples of the same data differ too, and small ones differ more. So a threshold is what
samples of the two sizes exceed with a chosen probability if nothing has changed, found
by drawing from the baseline; and never less than an effect that is worth a block.
"""

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.trust.checks import Check
from pipeline.trust.policy import Exhibit, Finding, Policy, Value
from pipeline.trust.profile import Column, Profile

PREVIOUS = "previous"
"""Name of the baseline that is the data that was accepted before."""

LIVE = "live model's"
"""Name of the baseline that is the data of the live model."""

BINS = 20
DRAWS = 500
"""Draws from the baseline; the tail beyond them is that of a gamma distribution."""

JENSEN_SHANNON = "jensen_shannon"
L_INFINITY = "l_infinity"
UNSEEN_SHARE = "unseen_share"
MISSING_SHARE = "missing_share"
LABEL_RATE = "label_rate"

SMALLEST_EFFECT: Mapping[str, float] = {
    JENSEN_SHANNON: 0.02,
    L_INFINITY: 0.1,
    UNSEEN_SHARE: 0.05,
    MISSING_SHARE: 0.05,
    LABEL_RATE: 0.05,
}
"""Differences up to these don't block, however certain they are. Kilometres instead of
miles move the sample's trip_miles by 0.033, fares raised by a tenth fare by 0.02."""

BY_CHANCE = "chance"
BY_EFFECT = "smallest effect"
BY_SCHEMA = "schema"
BY_SKEW = "schema's skew"

_CHECKS = {
    JENSEN_SHANNON: Check.DRIFT,
    L_INFINITY: Check.DRIFT,
    UNSEEN_SHARE: Check.UNSEEN_VALUES,
    MISSING_SHARE: Check.MISSING_SHARE,
    LABEL_RATE: Check.LABEL_RATE,
}
_MOVED_SHOWN = 3
# Texts that the null draws tell apart; the rest is drawn as one.
_DRAWN_TEXTS = 200

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """How a column differs from the baseline by one measure.

    Attributes:
        value: What was measured.
        null: What samples of this size have on average if nothing has changed.
        moved: The bins or values whose shares moved most: name, before, after.
        exhibit: All bins or the most frequent values, and which rows are examples;
            `None` where there are none.
    """

    value: Value
    null: float
    moved: tuple[tuple[str, float, float], ...] = ()
    exhibit: Exhibit | None = None

    @property
    def over(self) -> bool:
        """Whether it is above its threshold."""
        return self.value.threshold is not None and (
            self.value.value > self.value.threshold
        )

    def finding(self) -> Finding:
        """Describes it as a finding, with what moved most."""
        value = self.value
        moved = "; ".join(f"{n}: {b:.1%} -> {a:.1%}" for n, b, a in self.moved)
        text = (
            f"{value.measure.replace('_', ' ')} against the {value.against} data is "
            f"{value.value:.4f}; the threshold is {value.threshold:.4f}, and unchanged "
            f"data of this size has {self.null:.4f}" + (f" ({moved})" if moved else "")
        )
        return Finding(_CHECKS[value.measure], text, value.column)


@dataclass(frozen=True)
class _Asked:
    """Which column is compared with what, and how sure a finding must be."""

    column: str
    against: str
    alarm: float
    reviewed: Mapping[str, float]
    by: str = BY_SCHEMA

    def value(self, measure: str, measured: float, chance: float) -> Value:
        """Returns a value; its threshold is what chance explains, or the floor."""
        floor = self.reviewed.get(measure, SMALLEST_EFFECT[measure])
        why = self.by if measure in self.reviewed else BY_EFFECT
        return Value(
            measure,
            measured,
            max(float(chance), floor),
            self.column,
            against=self.against,
            chance=float(chance),
            because=BY_CHANCE if chance > floor else why,
        )


def compare(
    baseline: Profile,
    new: Profile,
    against: str,
    policy: Policy,
    schema: schema_pb2.Schema | None = None,
) -> Iterator[Drift]:
    """Compares the columns of two profiles, and the label.

    Args:
        baseline: What is compared with.
        new: What is judged.
        against: Name of the baseline.
        policy: Has the probability of a false alarm, which the columns share.
        schema: Only its columns are compared, and their comparators replace the
            smallest effects, see `comparator_of`; `None` means all columns.

    Yields:
        Each measure of each column that both have, in the new profile's order.
    """
    if not baseline.rows or not new.rows:
        return
    comparators = (
        {feature.name: comparator_of(feature, against) for feature in schema.feature}
        if schema
        else {}
    )
    # The model reads no other columns than the schema's.
    shared = [
        name
        for name in new.columns
        if name in baseline.columns and (schema is None or name in comparators)
    ]
    alarm = policy.false_alarms / (len(shared) + 1)
    for name in shared:
        before, after = baseline.columns[name], new.columns[name]
        comparator, by = comparators.get(name, (None, BY_SCHEMA))
        asked = _Asked(name, against, alarm, reviewed(comparator), by)
        missing = (before.missing, before.rows), (after.missing, after.rows)
        yield _shares_compared(MISSING_SHARE, asked, *missing)
        if before.present and after.present and before.numeric == after.numeric:
            measure = _numbers if before.numeric else _texts
            yield from measure(asked, before, after)
    if baseline.labelled and new.labelled:
        yield _shares_compared(
            LABEL_RATE,
            _Asked("", against, alarm, {}),
            (baseline.positive, baseline.labelled),
            (new.positive, new.labelled),
        )


def distances(before: Profile, after: Profile) -> Iterator[tuple[str, str, float]]:
    """Measures how far the columns of two profiles are apart, without thresholds.

    Yields:
        Column, measure and distance; columns that only one of them has are left out.
    """
    for name in before.columns.keys() & after.columns.keys():
        old, new = before.columns[name], after.columns[name]
        if not (old.present and new.present and old.numeric == new.numeric):
            continue
        if old.numeric:
            edges = edges_of(old)
            rows = binned(old, edges)[:, 0], binned(new, edges)[:, 0]
            yield name, JENSEN_SHANNON, float(jensen_shannon(*rows))
        else:
            yield name, L_INFINITY, float(_changes(old, new)[1].max())


def comparator_of(
    feature: schema_pb2.Feature, against: str
) -> tuple[schema_pb2.FeatureComparator, str]:
    """Returns the comparator of a reviewed schema that holds for a baseline.

    TFDV's meaning: a `drift_comparator` is about the data before, a `skew_comparator`
    about the data of the model that serves. Without the latter, the former holds for
    both, as in schemas of earlier versions of this project.

    Args:
        feature: Of the schema.
        against: Name of the baseline.

    Returns:
        The comparator, which may set nothing, and `BY_SCHEMA` or `BY_SKEW`.
    """
    if against == LIVE and feature.HasField("skew_comparator"):
        return feature.skew_comparator, BY_SKEW
    return feature.drift_comparator, BY_SCHEMA


def reviewed(comparator: schema_pb2.FeatureComparator | None) -> dict[str, float]:
    """Returns the smallest effects by measure that a reviewed schema sets itself."""
    found = {}
    if comparator and comparator.HasField("jensen_shannon_divergence"):
        found[JENSEN_SHANNON] = comparator.jensen_shannon_divergence.threshold
    if comparator and comparator.HasField("infinity_norm"):
        found[L_INFINITY] = comparator.infinity_norm.threshold
        # A value's share can't grow by more than this, a new value's neither.
        if found[L_INFINITY] > SMALLEST_EFFECT[UNSEEN_SHARE]:
            found[UNSEEN_SHARE] = found[L_INFINITY]
    return found


def _changes(before: Column, after: Column) -> tuple[npt.NDArray[np.generic], Floats]:
    """Returns the texts of two columns, and by how much the share of each changed."""
    names = np.unique(np.concatenate([before.values, after.values]))
    old, new = _counts_of(before, names), _counts_of(after, names)
    return names, np.abs(old / before.present - new / after.present)


def edges_of(baseline: Column, bins: int = BINS) -> Floats:
    """Returns the lower ends of bins with equal numbers of the baseline's rows.

    Returns:
        float64, ascending and distinct, at most bins - 1: a value that many rows have
        is the end of one bin only, or a bin of its own if it is the only one. The first
        bin has no lower end.
    """
    sums = np.cumsum(baseline.counts[:, 0])
    wanted = sums[-1] * np.arange(1, bins) / bins
    edges: Floats = np.unique(baseline.values[np.searchsorted(sums, wanted)])
    if len(edges) == 1:
        # One value in nearly all rows: without a bin for larger ones, a constant that
        # became another one would not have moved.
        return np.append(edges, np.nextafter(edges, np.inf))
    return edges


def binned(column: Column, edges: Floats) -> Floats:
    """Counts a column's rows in bins: float64 [len(edges) + 1, 3], as its counts."""
    place = np.searchsorted(edges, column.values, side="right")
    counts = np.zeros((len(edges) + 1, column.counts.shape[1]))
    np.add.at(counts, place, column.counts)
    return counts


def jensen_shannon(one: Floats, other: Floats) -> Floats:
    """Returns the Jensen-Shannon divergence (base 2) of counts, along the last axis."""
    first = one / one.sum(axis=-1, keepdims=True)
    second = other / other.sum(axis=-1, keepdims=True)
    middle = (first + second) / 2
    total = _relative_entropy(first, middle) + _relative_entropy(second, middle)
    divergence: Floats = np.clip(total / 2, 0, 1)
    return divergence


def _relative_entropy(shares: Floats, of: Floats) -> Floats:
    # Empty bins add nothing, and the logarithm of 1 is what is written for them.
    ratios = np.divide(shares, of, out=np.ones_like(shares), where=shares > 0)
    entropy: Floats = (shares * np.log2(ratios)).sum(axis=-1)
    return entropy


def _numbers(asked: _Asked, before: Column, after: Column) -> Iterator[Drift]:
    edges = edges_of(before)
    old, new = binned(before, edges)[:, 0], binned(after, edges)[:, 0]
    null = jensen_shannon(*_drawn(asked.column, old, old.sum(), new.sum()))
    measured = float(jensen_shannon(old, new))
    names = _names_of_bins(edges)
    grown = int(np.argmax(new / new.sum() - old / old.sum()))
    yield Drift(
        asked.value(JENSEN_SHANNON, measured, _tail(null, asked.alarm)),
        float(null.mean()),
        _moved(names, old, new),
        Exhibit(
            Check.DRIFT,
            asked.column,
            asked.against,
            _shares(names, old, new),
            low=float(edges[grown - 1]) if grown else None,
            high=float(edges[grown]) if grown < len(edges) else None,
        ),
    )


def _names_of_bins(edges: Floats) -> list[str]:
    inner = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:g}", *inner, f"{edges[-1]:g} and more"]


def _texts(asked: _Asked, before: Column, after: Column) -> Iterator[Drift]:
    names, shares = _changes(before, after)
    old, new = _counts_of(before, names), _counts_of(after, names)
    frequent = np.sort(old)[::-1]
    rest = before.present - frequent[:_DRAWN_TEXTS].sum()
    drawn = np.append(frequent[:_DRAWN_TEXTS], rest)
    first, second = _drawn(asked.column, drawn, before.present, after.present)
    null = np.abs(first / before.present - second / after.present).max(axis=-1)
    quoted = [repr(str(each)) for each in names]
    frequent_now = np.argsort(-(old / before.present + new / after.present))[:BINS]
    grown = int(np.argmax(new / after.present - old / before.present))
    yield Drift(
        asked.value(L_INFINITY, float(shares.max()), _tail(null, asked.alarm)),
        float(null.mean()),
        _moved(quoted, old, new),
        Exhibit(
            Check.DRIFT,
            asked.column,
            asked.against,
            tuple(_shares(quoted, old, new)[place] for place in frequent_now),
            text=str(names[grown]),
        ),
    )
    # With texts that weren't kept, nobody can tell which of the new ones are new.
    if not before.other[0]:
        unseen = old == 0
        texts = [str(each) for each in names[unseen]]
        yield _unseen(asked, before, after, dict(zip(texts, new[unseen], strict=True)))


def _unseen(
    asked: _Asked, before: Column, after: Column, rows: Mapping[str, float]
) -> Drift:
    """Measures the rows with values, given with their rows, that the baseline lacks."""
    share = float((sum(rows.values()) + after.other[0]) / after.present)
    # Good and Turing: a new row is as likely to be new as a row is to be the only one.
    expected = float((before.counts[:, 0] == 1).sum()) / before.present
    deviation = deviation_of(expected, before.present, after.present)
    threshold = expected + deviations_at(asked.alarm) * deviation
    most = sorted(rows.items(), key=lambda pair: -pair[1])[:_MOVED_SHOWN]
    moved = tuple((repr(text), 0.0, count / after.present) for text, count in most)
    return Drift(
        asked.value(UNSEEN_SHARE, share, threshold),
        expected,
        moved,
        Exhibit(
            Check.UNSEEN_VALUES,
            asked.column,
            asked.against,
            moved,
            text=most[0][0] if most else None,
        ),
    )


def _shares_compared(
    measure: str, asked: _Asked, before: tuple[int, int], after: tuple[int, int]
) -> Drift:
    """Compares two shares, each given as rows of how many."""
    old, new = before[0] / before[1], after[0] / after[1]
    pooled = (before[0] + after[0]) / (before[1] + after[1])
    deviation = deviation_of(pooled, before[1], after[1])
    return Drift(
        asked.value(
            measure, abs(new - old), deviations_at(asked.alarm / 2) * deviation
        ),
        deviation * math.sqrt(2 / math.pi),  # the mean of a normal's absolute value
        ((measure.replace("_", " "), old, new),),
        Exhibit(_CHECKS[measure], asked.column, asked.against, missing=True)
        if measure == MISSING_SHARE and new > old
        else None,
    )


def deviation_of(share: float, rows_before: int, rows_after: int) -> float:
    """Returns the standard deviation of a difference of two samples' shares."""
    return math.sqrt(share * (1 - share) * (1 / rows_before + 1 / rows_after))


def _drawn(
    name: str, counts: Floats, rows_before: float, rows_after: float
) -> tuple[Floats, Floats]:
    """Draws pairs of samples from the same distribution, each [DRAWS, bins]."""
    chance = np.random.default_rng(zlib.crc32(name.encode()))
    shares = counts / counts.sum()
    return (
        chance.multinomial(int(rows_before), shares, DRAWS).astype(np.float64),
        chance.multinomial(int(rows_after), shares, DRAWS).astype(np.float64),
    )


def _tail(null: Floats, alarm: float) -> float:
    """Returns what the null exceeds with a small probability.

    The tail is that of the gamma distribution with the null's mean and variance, by the
    approximation of Wilson and Hilferty (1931): its cube root is nearly normal.
    """
    mean, variance = float(null.mean()), float(null.var())
    if variance == 0:
        return mean
    ninth = variance / mean**2 / 9
    root = 1 - ninth + deviations_at(alarm) * math.sqrt(ninth)
    return float(mean * root**3)


def deviations_at(alarm: float) -> float:
    """Returns how many standard deviations a normal value exceeds that rarely."""
    return -NormalDist().inv_cdf(alarm)


def _counts_of(column: Column, names: npt.NDArray[np.generic]) -> Floats:
    counts = np.zeros(len(names))
    counts[np.searchsorted(names, column.values)] = column.counts[:, 0]
    return counts


def _moved(
    names: list[str], old: Floats, new: Floats
) -> tuple[tuple[str, float, float], ...]:
    """Returns the bins or values whose share moved most, the largest change first."""
    shares = _shares(names, old, new)
    changes = np.array([abs(after - before) for _, before, after in shares])
    order = np.argsort(-changes, kind="stable")[:_MOVED_SHOWN]
    return tuple(shares[place] for place in order)


def _shares(
    names: list[str], old: Floats, new: Floats
) -> tuple[tuple[str, float, float], ...]:
    """Returns each bin or value with its share before and after."""
    before, after = old / (old.sum() or 1), new / (new.sum() or 1)
    return tuple(zip(names, before.tolist(), after.tolist(), strict=True))
