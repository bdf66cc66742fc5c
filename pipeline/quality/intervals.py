"""Confidence intervals of metrics: a Poisson bootstrap over sums, without the rows.

A Poisson bootstrap counts each row k times, k a Poisson number of mean 1. Rows of one
bucket and label then count a Poisson number of times together, so replicates are
sampled per bucket: at no cost per row, and with the same result for any batch size.
Rows of unequal weight are replaced by the number of equal ones with the same sum and
variance.
Sums without buckets (calibration, log loss) are sampled from a normal distribution of
the same means and covariances.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from tensorflow_model_analysis.metrics import (
    binary_confusion_matrices,
    confusion_matrix_metrics,
    metric_specs,
)
from tensorflow_model_analysis.slicer import slicer_lib

from pipeline.quality.aggregates import (
    AboveThresholds,
    ClassLogLoss,
    ClassMatrix,
    Errors,
    Floats,
    Histogram,
    LogLoss,
    Moments,
    Partial,
    Sums,
)
from pipeline.quality.matrices import HistogramMatrices
from pipeline.quality.metrics import Leaf, Metrics, Plan, is_defined, support_of
from pipeline.quality.slices import Integers, SliceKey

REPLICATES = 200
SEED = 20_240_229
_PERCENTILES = (2.5, 97.5)
# Sums of rows that are in one cell each, and sums with those of their products. A row
# is in several of `ClassRanks`' cells, which would have to be drawn together.
_BY_CELL = Histogram | AboveThresholds | ClassMatrix
_ONE_CELL = Moments | LogLoss | ClassLogLoss | Errors
_AT_ONCE = 25  # Replicates of 10,000 thresholds: 8 MB a matrix entry.


class Interval(NamedTuple):
    """The 95 % interval: the 2.5 and 97.5 percentiles of the replicates."""

    low: float
    high: float


def intervals(
    planned: Plan, partial: Partial, results: Mapping[SliceKey, Metrics]
) -> dict[SliceKey, dict[Any, Interval]]:
    """Computes an interval for each metric that a threshold is on.

    Args:
        planned: The plan by which the rows were summed.
        partial: The sums of all rows.
        results: The metrics of each slice; NaN where they are undefined.

    Returns:
        Intervals by slice and TFMA's metric key, for slices with a threshold. No
        entry for a metric without sums of ours or that is undefined, nor for counts
        and differences between models.
    """
    gated = _gated(planned)
    found: dict[SliceKey, dict[Any, Interval]] = {}
    for number, where in enumerate(partial.slices):
        for key, specs in gated.items():
            # Undefined, or an array such as a confusion matrix, which has no one
            # interval.
            if not np.isfinite(_value(results[where].get(key, np.nan))):
                continue
            if not any(_applies(spec, where) for spec in specs):
                continue
            values = _replicated(planned, partial, number, key)
            # With few rows many replicates lack a class; bounds from the rest would
            # describe slices that happen to have both.
            if values is not None and np.isfinite(values).mean() > 1 / 2:
                low, high = np.nanpercentile(values, _PERCENTILES)
                interval = Interval(float(low), float(high))
                found.setdefault(where, {})[key] = interval
    return found


def _gated(planned: Plan) -> dict[Any, list[Any]]:
    """Returns the slicing specs of the thresholds on each metric, None for any slice.

    A threshold on a difference gives both models' metrics an interval.
    """
    thresholds = metric_specs.metric_thresholds_from_metrics_specs(
        planned.config.metrics_specs, eval_config=planned.config
    )
    gated: dict[Any, list[Any]] = {}
    for key, each in thresholds.items():
        # The difference itself has no interval: sums of two models don't contain which
        # rows both got wrong.
        plain = key._replace(is_diff=False) if key.is_diff else key
        gated.setdefault(plain, []).extend(spec for spec, _ in each)
    return gated


def _applies(spec: Any, where: SliceKey) -> bool:
    if spec is None:
        return True
    return bool(slicer_lib.SingleSliceSpec(spec=spec).is_slice_applicable(where))


def _replicated(
    planned: Plan, partial: Partial, number: int, key: Any
) -> Floats | None:
    """Computes a metric of each replicate of a slice."""
    path = _path(planned, key)
    if path is None:
        return None
    cells, sums = partial.tables[path.table].of_slice(number, path.leaf.kind.width)
    # Not `hash`, which Python seeds per process. By slice and metric, so that one more
    # slice leaves the other intervals as they are.
    seed = zlib.crc32(repr((partial.slices[number], str(key))).encode())
    numbers = np.random.default_rng([SEED, seed])
    values: list[float] = []
    # In chunks: all at once would take eight times the memory, see _AT_ONCE.
    for count in _chunks(REPLICATES):
        replicates = _resampled(path.leaf.kind, sums, count, numbers)
        for value, drawn in zip(
            path.values(cells, replicates), replicates, strict=True
        ):
            # A replicate of few rows may lack a class: NaN then, rather than 0.
            held = support_of(path.leaf.kind, drawn)
            defined = is_defined(path.metric, held)
            values.append(_value(value) if defined else float("nan"))
    return np.array(values)


@dataclass(frozen=True)
class _Path:
    """The computations that lead from one kind of sum to a metric.

    Attributes:
        key: TFMA's key of the metric.
        table: The kind's number.
        leaf: The sums.
        derived: TFMA's computations between, in order.
        metric: TFMA's metric, if it is one.
    """

    key: Any
    table: int
    leaf: Leaf
    derived: Sequence[Any]
    metric: Any

    def values(self, cells: Integers, replicates: Floats) -> Iterator[Any]:
        """Computes the metric of each replicate [replicates, cells, quantities]."""
        first = self.derived[0] if self.derived else None
        # The common case, AUC: for all replicates at once on arrays, where TFMA's code
        # would run once per replicate.
        if isinstance(first, HistogramMatrices) and isinstance(
            self.metric, confusion_matrix_metrics.AUC
        ):
            yield from self._areas(first, cells, replicates)
            return
        for sums in replicates:
            found: Metrics = dict.fromkeys(
                self.leaf.keys, self.leaf.result(cells, sums)
            )
            for each in self.derived:
                found.update(each.result(found))
            yield found[self.key]

    def _areas(
        self, matrices: HistogramMatrices, cells: Integers, replicates: Floats
    ) -> Iterator[Any]:
        """Computes areas under curves from their distinct points."""
        # A slice of few rows has few distinct points among 10,000 thresholds, and the
        # area between equal points is 0.
        kept = matrices.distinct(cells)
        thresholds = [matrices.thresholds[at] for at in kept]
        weight = Histogram.WEIGHT
        entries = matrices.matrices(
            cells,
            replicates[:, :, Histogram.POSITIVE][:, :, weight],
            replicates[:, :, Histogram.NEGATIVE][:, :, weight],
        )
        for row in zip(*(entry[:, kept] for entry in entries), strict=True):
            found = {
                matrices.keys[0]: binary_confusion_matrices.Matrices(thresholds, *row)
            }
            for each in self.derived[1:]:
                found.update(each.result(found))
            yield found[self.key]


def _path(planned: Plan, key: Any) -> _Path | None:
    """Follows a metric back to the one kind of sum that it is made of."""
    needed: list[Any] = []
    wanted = key
    # Some of TFMA's computations give their result the key of what they read.
    while makers := [
        each
        for each in planned.derived
        if wanted in (each.keys or ()) and each not in needed
    ]:
        needed.insert(0, makers[0])
        reads = _reads(makers[0])
        # A metric of several sums would need their covariance; none of those that ours
        # knows is one.
        if len(reads) != 1:
            return None
        (wanted,) = reads
    at = _leaf_of(planned, wanted)
    if at is None:
        return None
    leaf = planned.leaves[at]
    if not isinstance(leaf.kind, _BY_CELL | _ONE_CELL):
        return None
    return _Path(key, at, leaf, needed, planned.instances.get(key))


def _leaf_of(planned: Plan, key: Any) -> int | None:
    for at, leaf in enumerate(planned.leaves):
        if key in leaf.keys:
            return at
    return None


class _WantedError(Exception):
    """Carries the key that a computation read first."""


class _Reads(Mapping[Any, Any]):
    """Stops a computation at the first result that it reads."""

    def __getitem__(self, key: Any) -> Any:
        raise _WantedError(key)

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _reads(computation: Any) -> list[Any]:
    """Returns the key that a computation reads; it is the only one in those we know."""
    try:
        # TFMA doesn't declare what a computation reads, so it is run on a mapping that
        # reports the first key.
        computation.result(_Reads())
    except _WantedError as wanted:
        return list(wanted.args)
    except (AttributeError, KeyError, TypeError):
        return []
    return []


def _chunks(total: int) -> Iterator[int]:
    for start in range(0, total, _AT_ONCE):
        yield min(_AT_ONCE, total - start)


def _resampled(
    kind: Sums, sums: Floats, count: int, numbers: np.random.Generator
) -> Floats:
    """Samples replicates [count, cells, quantities] of sums [cells, quantities]."""
    if isinstance(kind, _ONE_CELL):
        return _normal(sums, count, numbers)
    per_class = 3 if isinstance(kind, Histogram) else 2
    parts = np.split(sums, sums.shape[1] // per_class, axis=1)
    drawn = [
        part * times(part[:, 0], part[:, -1], count, numbers)[:, :, None]
        for part in parts
    ]
    return np.concatenate(drawn, axis=2)


def times(
    weights: Floats, squares: Floats, count: int, numbers: np.random.Generator
) -> Floats:
    """Samples the factors of each cell's sum.

    Args:
        weights: [cells] the sum of the rows' weights.
        squares: [cells] the sum of their squares.
        count: Number of replicates.
        numbers: The source of chance.

    Returns:
        [count, cells], 1 on average.
    """
    # Kish's effective number of rows: equal to the count if all weights are equal.
    rows = np.divide(weights**2, squares, out=np.zeros_like(weights), where=squares > 0)
    drawn = numbers.poisson(rows, (count, len(rows)))
    return np.divide(drawn, rows, out=np.zeros(drawn.shape), where=rows > 0)


def _normal(sums: Floats, count: int, numbers: np.random.Generator) -> Floats:
    """Samples sums of one cell from their means and covariances."""
    (row,) = sums
    # A row holds n means and n * n products; solved for n.
    size = int((np.sqrt(1 + 4 * len(row)) - 1) / 2)
    means, products = row[:size], row[size:].reshape(size, size)
    # eigh accepts the singular matrix of a slice whose rows are all alike; cholesky
    # fails there.
    drawn = numbers.multivariate_normal(means, products, count, method="eigh")
    return np.concatenate([drawn, np.tile(row[size:], (count, 1))], axis=1)[:, None, :]


def _value(value: Any) -> float:
    array = np.asarray(value, np.float64)
    return float(array) if array.size == 1 else float("nan")
