"""Expected quality without labels, from calibrated scores.

If a score of 0.8 means that 80 % of such rows are positive, the numbers of true and
false answers can be expected from the scores alone, and so can metrics. NannyML calls
it confidence-based performance estimation. Scores are calibrated by the labels of the
test split first, by isotonic regression (pool adjacent violators). Of classes, the
score is the probability of the most probable class, calibrated by how often that is the
right one: it gives the accuracy, and no metric that ranks the other classes.

`CONDITION` states when the estimate is worth nothing. The interval has the chance of
the labels, of the rows, and of the calibration; not the condition.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.declarations import Task
from operations.live import Bucket
from operations.windows import Floats, Ints, Scores

CONDITION = (
    "The estimate holds only as long as the label depends on the features as it did in "
    "the test split. If that has changed, or if scores occur that the test split had "
    "not, it is worthless; only labels show the first."
)
NOT_OF_NUMBERS = (
    "What to expect without labels is not estimated for numbers: a predicted number "
    "doesn't tell how far off it is."
)
NO_CALIBRATION = (
    "What to expect without labels is unknown: the evaluation of this version has "
    "stored no calibration of its scores."
)
AUC = "auc"
BINARY_ACCURACY = "binary_accuracy"
ACCURACY = "accuracy"
LOG_LOSS = "binary_crossentropy"

_REPLICATES = 200
_PERCENTILES = (2.5, 97.5)
_SEED = 20_261_129
_TINY = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Expected:
    """The expected quality of a window.

    Attributes:
        metrics: Estimates by TFMA's names of the metrics; those that can't be
            estimated, such as the AUC of one class, are absent.
        outside: Share of the rows, 0 to 1, whose scores the test split doesn't have.
    """

    metrics: Mapping[str, Estimate]
    outside: float


def estimate(
    scores: Scores, calibration: Sequence[Bucket], task: Task
) -> Expected | None:
    """Estimates metrics of a window.

    Args:
        scores: The window's scores.
        calibration: Buckets of the test split.
        task: The kind of task, binary or classes.

    Returns:
        The estimates; `None` without scores or without labels of the test split.
    """
    known = [b for b in calibration if b["weight"] > 0]
    if not scores.counts.sum() or not known:
        return None
    held = np.flatnonzero(scores.counts)
    counts = scores.counts[held]
    mean = scores.sums[held] / counts
    table = _Calibration.of(known)
    shares = table.shares(mean)
    numbers = np.random.default_rng(_SEED)
    metrics_of = _METRICS[task]
    found = metrics_of(mean, counts[None].astype(float), shares[None])
    replicates = [
        metrics_of(mean, *_drawn(mean, counts, table, numbers))
        for _ in range(_REPLICATES)
    ]
    metrics = {}
    for name, (value,) in found.items():
        drawn = np.array([each[name][0] for each in replicates])
        if np.isfinite(value) and np.isfinite(drawn).mean() > 1 / 2:
            low, high = np.nanpercentile(drawn, _PERCENTILES)
            metrics[name] = Estimate(float(value), float(low), float(high))
    return Expected(metrics, table.outside(mean, counts))


@dataclass(frozen=True)
class _Calibration:
    """Labels of the test split by score, ascending.

    Attributes:
        scores: float64 [buckets], mean score.
        weights: float64 [buckets], rows.
        positives: float64 [buckets], positive rows.
    """

    scores: Floats
    weights: Floats
    positives: Floats

    @classmethod
    def of(cls, buckets: Sequence[Bucket]) -> "_Calibration":
        """Reads buckets of a calibration plot."""
        rows = sorted(
            (b["prediction"] / b["weight"], b["weight"], b["label"]) for b in buckets
        )
        return cls(*np.array(rows, np.float64).T)

    def shares(self, scores: Floats) -> Floats:
        """Returns the share of positives among rows of a score."""
        return np.interp(scores, self.scores, isotonic(self.positives, self.weights))

    def resampled(self, numbers: np.random.Generator) -> "_Calibration":
        """Samples as many rows, with other labels."""
        rows = numbers.poisson(self.weights).astype(np.float64)
        share = np.clip(self.positives / self.weights, 0, 1)
        positives = numbers.binomial(rows.astype(np.int64), share)
        kept = rows > 0
        if not kept.any():
            return self
        drawn = positives[kept].astype(np.float64)
        return _Calibration(self.scores[kept], rows[kept], drawn)

    def outside(self, scores: Floats, counts: Ints) -> float:
        """Returns the share of rows with scores beyond the lowest and the highest."""
        beyond = (scores < self.scores[0]) | (scores > self.scores[-1])
        return float(counts[beyond].sum() / counts.sum())


def isotonic(positives: Floats, weights: Floats) -> Floats:
    """Returns the rising shares that fit best: pools adjacent violators.

    Args:
        positives: float64 [n], in the order of the scores.
        weights: float64 [n], above 0.

    Returns:
        float64 [n], each at least the one before.
    """
    pooled: list[list[float]] = []
    for positive, weight in zip(positives.tolist(), weights.tolist(), strict=True):
        pooled.append([positive, weight, 1])
        while len(pooled) > 1 and _falls(pooled[-2], pooled[-1]):
            last = pooled.pop()
            pooled[-1] = [a + b for a, b in zip(pooled[-1], last, strict=True)]
    values = [positive / weight for positive, weight, _ in pooled]
    return np.repeat(values, [int(length) for _, _, length in pooled])


def _falls(before: Sequence[float], after: Sequence[float]) -> bool:
    return before[0] * after[1] >= after[0] * before[1]


def _drawn(
    scores: Floats, counts: Ints, table: _Calibration, numbers: np.random.Generator
) -> tuple[Floats, Floats]:
    """Samples rows and labels of a window: rows and shares of positives, [1, bins]."""
    shares = table.resampled(numbers).shares(scores)
    rows = numbers.poisson(counts)
    positives = numbers.binomial(rows, np.clip(shares, 0, 1))
    drawn = np.divide(positives, rows, out=np.zeros(len(rows)), where=rows > 0)
    return rows[None].astype(float), drawn[None]


def _of_classes(scores: Floats, rows: Floats, shares: Floats) -> Mapping[str, Floats]:
    """Computes the accuracy, see `_of_binary`; a positive row is one that is right."""
    del scores
    total = rows.sum(axis=1)
    right = (rows * shares).sum(axis=1)
    undefined = np.full(len(total), np.nan)
    return {ACCURACY: np.divide(right, total, out=undefined, where=total > 0)}


def _of_binary(scores: Floats, rows: Floats, shares: Floats) -> Mapping[str, Floats]:
    """Computes metrics of rows in bins of their score.

    Args:
        scores: float64 [bins], ascending.
        rows: float64 [replicates, bins].
        shares: float64 [replicates, bins], share of positives.

    Returns:
        float64 [replicates] by name; NaN where a metric is undefined.
    """
    positive, negative = rows * shares, rows * (1 - shares)
    total = rows.sum(axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    ranked = (positive * below).sum(axis=1)
    right = np.where(scores > 1 / 2, positive, negative).sum(axis=1)
    clipped = np.clip(scores, _TINY, 1 - _TINY)
    loss = -(positive * np.log(clipped) + negative * np.log1p(-clipped)).sum(axis=1)
    undefined = np.full(len(total), np.nan)
    return {
        AUC: np.divide(ranked, pairs, out=undefined.copy(), where=pairs > 0),
        BINARY_ACCURACY: np.divide(right, total, out=undefined.copy(), where=total > 0),
        LOG_LOSS: np.divide(loss, total, out=undefined.copy(), where=total > 0),
    }


_METRICS: Mapping[Task, Callable[[Floats, Floats, Floats], Mapping[str, Floats]]] = {
    "binary": _of_binary,
    "classes": _of_classes,
}
