"""Features and their distributions, from TFDV's statistics; distances between them.

Reads the protos that StatisticsGen writes. Importing this module imports neither
TensorFlow nor TFX.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tensorflow_metadata.proto.v0 import statistics_pb2

_KINDS = statistics_pb2.FeatureNameStatistics.Type
# Bars with equal numbers of rows. TFDV's standard histograms have bars of equal width,
# and a single outlier puts all other rows into one of them.
_QUANTILES = statistics_pb2.Histogram.HistogramType.QUANTILES

_FEW = 3


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram: the number of rows with lower <= value < upper."""

    lower: float
    upper: float
    rows: float


@dataclass(frozen=True)
class Value:
    """A text value and the number of its rows."""

    value: str
    rows: float


@dataclass(frozen=True)
class Feature:
    """The statistics of one feature in one split.

    Attributes:
        name: Name of the feature.
        kind: TFDV's type: "INT", "FLOAT", "STRING" and so on.
        rows: Number of rows in the split.
        missing: Number of rows without a value.
        unique: Number of distinct values; only for texts.
        mean: Mean; like the next four, only for numbers with values.
        deviation: Standard deviation.
        lowest: Smallest value.
        median: Median.
        highest: Largest value.
        nan: Number of values that are NaN.
        fewest_values: Fewest values of a row that has any.
        most_values: Most values of a row.
        bars: Quantile histogram; empty for texts.
        texts: The most frequent values; empty for numbers.
    """

    name: str
    kind: str
    rows: int
    missing: int
    unique: int | None = None
    mean: float | None = None
    deviation: float | None = None
    lowest: float | None = None
    median: float | None = None
    highest: float | None = None
    nan: int = 0
    fewest_values: int = 1
    most_values: int = 1
    bars: tuple[Bar, ...] = ()
    texts: tuple[Value, ...] = ()

    @property
    def share_missing(self) -> float:
        """Share of the rows without a value, 0 to 1."""
        return self.missing / self.rows if self.rows else 0.0


def features_of(
    statistics: statistics_pb2.DatasetFeatureStatistics,
) -> Iterator[Feature]:
    """Yields the features of a split, in the order of the statistics."""
    for feature in statistics.features:
        yield _feature(feature, int(statistics.num_examples))


def distance(before: Feature, after: Feature) -> float | None:
    """Returns the distance between two distributions: 0 for equal, 1 for disjoint.

    For numbers, the Jensen-Shannon divergence (base 2) of their histograms on common
    bars; for texts, the largest difference of a value's share (L-infinity norm). TFDV
    uses the same two measures. Missing values are ignored.

    Returns:
        The distance; `None` if a feature has no values, or they are of different kinds.
    """
    # On common bars: quantiles of two splits have different edges, and a divergence
    # needs the same ones.
    if before.bars and after.bars:
        old_bars, new_bars = rebinned([before, after])
        return _jensen_shannon(_of_total(old_bars), _of_total(new_bars))
    if before.texts and after.texts:
        old, new = _value_shares(before), _value_shares(after)
        # A value beyond the most frequent ones counts as 0: its real share is below
        # that of the last listed one.
        return max(abs(old.get(v, 0) - new.get(v, 0)) for v in {*old, *new})
    return None


def rebinned(features: Sequence[Feature], bins: int = 20) -> list[list[Bar]]:
    """Converts the histograms of numeric features to common bars of equal width.

    Rows are assumed to be uniform within a quantile. A tail quantile that is wider than
    all others together is cut off; its rows are counted in the outermost bar.

    Args:
        features: The same feature in several splits.
        bins: Number of bars.

    Returns:
        The bars of each feature; an empty list for one without a histogram.
    """
    ranged = [f for f in features if f.bars]
    if not ranged:
        return [[] for _ in features]
    # One outlier as the highest value would leave all other rows in one bar.
    low, high = _middle(ranged)
    width = (high - low) / bins
    edges = [low + width * i for i in range(bins + 1)]
    return [_bars(feature, edges) if feature.bars else [] for feature in features]


def _feature(feature: statistics_pb2.FeatureNameStatistics, rows: int) -> Feature:
    # TFDV fills `path`; statistics of older versions have `name`.
    name = feature.name or ".".join(feature.path.step)
    kind = _KINDS.Name(feature.type)
    if feature.HasField("num_stats"):
        numbers = feature.num_stats
        known = numbers.common_stats.num_non_missing > 0
        return Feature(
            name=name,
            kind=kind,
            rows=rows,
            missing=_missing(numbers.common_stats, rows),
            mean=numbers.mean if known else None,
            deviation=numbers.std_dev if known else None,
            lowest=numbers.min if known else None,
            median=numbers.median if known else None,
            highest=numbers.max if known else None,
            nan=sum(int(each.num_nan) for each in numbers.histograms[:1]),
            fewest_values=int(numbers.common_stats.min_num_values) or 1,
            most_values=int(numbers.common_stats.max_num_values) or 1,
            bars=tuple(_quantile_bars(numbers.histograms)),
        )
    stats = feature.string_stats
    return Feature(
        name=name,
        kind=kind,
        rows=rows,
        missing=_missing(stats.common_stats, rows),
        unique=int(stats.unique) or None,
        fewest_values=int(stats.common_stats.min_num_values) or 1,
        most_values=int(stats.common_stats.max_num_values) or 1,
        texts=tuple(
            Value(bucket.label, bucket.sample_count)
            for bucket in stats.rank_histogram.buckets
        ),
    )


def _missing(common: statistics_pb2.CommonStatistics, rows: int) -> int:
    """Returns the number of rows without a value.

    The difference also counts a column that has no value at all.
    """
    return max(int(common.num_missing), rows - int(common.num_non_missing))


def _quantile_bars(histograms: Iterable[statistics_pb2.Histogram]) -> Iterator[Bar]:
    for histogram in histograms:
        if histogram.type == _QUANTILES:
            for bucket in histogram.buckets:
                # A column that holds infinity has an infinite edge, from which no share
                # of a width can be computed.
                if math.isfinite(bucket.low_value) and math.isfinite(bucket.high_value):
                    yield Bar(bucket.low_value, bucket.high_value, bucket.sample_count)
            return


def _of_total(bars: Sequence[Bar]) -> list[float]:
    total = sum(bar.rows for bar in bars) or 1.0
    return [bar.rows / total for bar in bars]


def _shares(bars: Sequence[Bar], edges: Sequence[float]) -> list[float]:
    """Returns the share of rows between edges; a bar without width is one value."""
    total = sum(bar.rows for bar in bars) or 1.0
    shares = [0.0] * max(len(edges) - 1, 1)
    for bar in bars:
        # A value so frequent that it fills a whole quantile.
        if bar.upper <= bar.lower:
            place = next((i for i, e in enumerate(edges[1:]) if bar.lower < e), -1)
            shares[place] += bar.rows / total
            continue
        for i, (low, high) in enumerate(pairwise(edges)):
            overlap = min(high, bar.upper) - max(low, bar.lower)
            if overlap > 0:
                shares[i] += bar.rows / total * overlap / (bar.upper - bar.lower)
    return shares


def _jensen_shannon(one: Sequence[float], other: Sequence[float]) -> float:
    middle = [(a + b) / 2 for a, b in zip(one, other, strict=True)]
    divergence = (_kullback_leibler(one, middle) + _kullback_leibler(other, middle)) / 2
    # Rounding can leave the range by an ulp.
    return min(max(divergence, 0.0), 1.0)


def _kullback_leibler(shares: Sequence[float], of: Sequence[float]) -> float:
    # No division by 0: `of` is the mean of both, so it is positive where `shares` is.
    return sum(a * math.log2(a / b) for a, b in zip(shares, of, strict=True) if a > 0)


def _value_shares(feature: Feature) -> Mapping[str, float]:
    total = sum(value.rows for value in feature.texts) or 1.0
    return {value.value: value.rows / total for value in feature.texts}


def _middle(features: Sequence[Feature]) -> tuple[float, float]:
    low = min(_without_tail(f.bars)[0] for f in features)
    high = max(_without_tail(f.bars)[1] for f in features)
    # A constant column still needs bars of some width.
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _without_tail(bars: Sequence[Bar]) -> tuple[float, float]:
    """Returns the range of quantiles, without a first or last one that is too wide."""
    kept = list(bars)
    # With three or fewer quantiles a wide one is no tail, it is the distribution.
    if len(kept) > _FEW and _width(kept[-1:]) > _width(kept[:-1]):
        kept = kept[:-1]
    if len(kept) > _FEW and _width(kept[:1]) > _width(kept[1:]):
        kept = kept[1:]
    return kept[0].lower, kept[-1].upper


def _width(bars: Sequence[Bar]) -> float:
    return bars[-1].upper - bars[0].lower


def _bars(feature: Feature, edges: Sequence[float]) -> list[Bar]:
    low, high = edges[0], edges[-1]
    inside = [
        Bar(min(max(part.lower, low), high), max(min(part.upper, high), low), part.rows)
        for bar in feature.bars
        for part in _cut(bar, low, high)
    ]
    total = sum(bar.rows for bar in inside)
    shares = _shares(inside, edges)
    return [
        Bar(e, f, total * share)
        for (e, f), share in zip(pairwise(edges), shares, strict=True)
    ]


def _cut(bar: Bar, low: float, high: float) -> Iterator[Bar]:
    """Cuts a bar at the ends of a range; the rows are split in proportion to width."""
    ends = sorted(
        {bar.lower, bar.upper, *(e for e in (low, high) if bar.lower < e < bar.upper)}
    )
    if len(ends) == 1:
        yield bar
    width = bar.upper - bar.lower
    for start, end in pairwise(ends):
        yield Bar(start, end, bar.rows * (end - start) / width)
