"""Sums of two models' scores for the same rows, and their metrics with paired errors.

Rows are put into cells by the label and by both models' scores. A Poisson bootstrap of
the cells then counts each row as often for one model as for the other, so what both get
wrong alike doesn't make their difference uncertain. Only binary models are known here;
`group_pairs` has the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.quality.aggregates import Floats, Scored, Table
from pipeline.quality.intervals import times
from pipeline.quality.rules import METRICS
from pipeline.quality.slices import Integers

REPLICATES = 200
SEED = 20_261_129

Flags = npt.NDArray[np.bool_]

_AT_ONCE = 25  # Replicates.
_BUCKETS = 1024
_PER_UNIT = 32
"""Buckets per unit of the logit: most scores of a rare label are near 0."""


@dataclass(frozen=True)
class Pair:
    """The kind of sums: by the label, and each model's bucket and decision.

    Quantities: weight, weight squared, and for each model weight times score and weight
    times log loss.

    Attributes:
        thresholds: Of the candidate and of the other model: a row is decided as
            positive if its score is above.
    """

    thresholds: tuple[float, float]

    WEIGHT, SQUARE = 0, 1
    SCORES, LOSSES = (2, 4), (3, 5)

    width = _BUCKETS * _BUCKETS * 8

    def quantities(self, first: Scored, second: Scored) -> tuple[Integers, Floats]:
        """Returns each row's cell and quantities."""
        weights = first.weights
        cell = first.labels > 1 / 2
        columns = [weights, weights * weights]
        cells = cell.astype(np.int64)
        for scored, threshold in zip((first, second), self.thresholds, strict=True):
            score = scored.predictions
            cells = cells * 2 + (score > threshold)
            cells = cells * _BUCKETS + bucket_of(score, _BUCKETS, _PER_UNIT)
            likely = np.clip(np.where(cell, score, 1 - score), 1e-15, 1)
            columns += [weights * score, -weights * np.log(likely)]
        return cells, np.stack(columns, axis=1)


@dataclass(frozen=True)
class Estimates:
    """A slice's metrics of two models, each with its replicates.

    Attributes:
        rows: Effective number of rows: less than their number if weights are unequal.
        positives: The same of the positives; `None` if a label isn't yes or no.
        candidate: [1 + replicates] by metric; the first is the value itself.
        other: The same of the other model.
    """

    rows: float
    positives: float | None
    candidate: Mapping[str, Floats]
    other: Mapping[str, Floats]


def estimates(tables: Sequence[Table], number: int, seed: int) -> Estimates:
    """Computes the metrics of a slice, and those of bootstrap replicates.

    Args:
        tables: The sums of a `Pair`.
        number: The slice's number in the table.
        seed: Of the slice: the same gives the same replicates.
    """
    cells, sums = tables[0].of_slice(number, Pair.width)
    weight, square = sums[:, Pair.WEIGHT], sums[:, Pair.SQUARE]
    numbers = np.random.default_rng([SEED, seed])
    found = [_metrics(cells, sums, np.ones((1, len(cells))))]
    # A few at a time: 200 times 50,000 cells would be 80 MB for each array.
    for _ in range(0, REPLICATES, _AT_ONCE):
        factors = times(weight, square, _AT_ONCE, numbers)
        found.append(_metrics(cells, sums, factors))
    rows = np.divide(weight**2, square, out=np.zeros_like(weight), where=square > 0)
    return Estimates(
        float(rows.sum()),
        float(rows[_is_positive(cells)].sum()),
        *(
            {
                name: np.concatenate([each[at][name] for each in found])
                for name in METRICS["binary"]
            }
            for at in (0, 1)
        ),
    )


def _is_positive(cells: Integers) -> Flags:
    return cells >= Pair.width // 2


def _metrics(
    cells: Integers, sums: Floats, factors: Floats
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Computes both models' metrics for factors [N, cells] of the cells' sums."""
    rest, second = np.divmod(cells, _BUCKETS)
    rest, second_decided = np.divmod(rest, 2)
    rest, first = np.divmod(rest, _BUCKETS)
    first_decided = rest % 2
    counted = _Counted(factors * sums[:, Pair.WEIGHT], _is_positive(cells))
    candidate, other = (
        counted.metrics(
            bucket,
            decided.astype(bool),
            factors @ sums[:, Pair.SCORES[at]],
            factors @ sums[:, Pair.LOSSES[at]],
        )
        for at, (bucket, decided) in enumerate(
            ((first, first_decided), (second, second_decided))
        )
    )
    return candidate, other


@dataclass(frozen=True)
class _Counted:
    """Weights [1 + replicates, cells], and which cells are of positives."""

    weights: Floats
    positive: Flags

    def metrics(
        self, buckets: Integers, decided: Flags, scores: Floats, losses: Floats
    ) -> dict[str, Floats]:
        """Computes all metrics of one model; NaN where one is undefined."""
        positive, total = self.positive, self.weights.sum(axis=1)

        def sum_of(chosen: Flags) -> Floats:
            return self.weights[:, chosen].sum(axis=1)

        positives, hits = sum_of(positive), sum_of(positive & decided)
        negatives, alarms = sum_of(~positive), sum_of(~positive & decided)
        return {
            "auc": self._auc(buckets),
            "accuracy": ratio(hits + negatives - alarms, total),
            "precision": ratio(hits, hits + alarms),
            "recall": ratio(hits, positives),
            "log_loss": ratio(losses, total),
            "false_positive_rate": ratio(alarms, negatives),
            "false_negative_rate": ratio(positives - hits, positives),
            "selection_rate": ratio(hits + alarms, total),
            "calibration_error": ratio(scores - positives, total),
        }

    def _auc(self, buckets: Integers) -> Floats:
        order = np.argsort(buckets, kind="stable")
        starts = np.flatnonzero(np.diff(buckets[order], prepend=-1))
        if not len(starts):
            return np.full(len(self.weights), np.nan)
        ranked = self.weights[:, order]
        first = np.add.reduceat(ranked * self.positive[order], starts, axis=1)
        second = np.add.reduceat(ranked * ~self.positive[order], starts, axis=1)
        return area(first, second)


def area(positive: Floats, negative: Floats) -> Floats:
    """Computes areas under the ROC curve; NaN for rows of one class.

    Args:
        positive: [N, buckets] weight of the positives by rising bucket of the score.
        negative: [N, buckets] weight of the others.

    Returns:
        [N], the share of pairs in order, half for those in a tie.
    """
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return ratio((positive * below).sum(axis=1), pairs)


def standard_error(replicates: Floats) -> float:
    """Returns the standard deviation of replicates; NaN if most are undefined."""
    known = replicates[np.isfinite(replicates)]
    if len(known) <= len(replicates) / 2:
        return float("nan")
    return float(known.std(ddof=1))


def bucket_of(scores: Floats, buckets: int, per_unit: int) -> Integers:
    """Returns the bucket of each score's logit, of so many per unit around 0."""
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    logit = np.log(inside) - np.log1p(-inside)
    at = np.floor(logit * per_unit) + buckets // 2
    return np.clip(at, 0, buckets - 1).astype(np.int64)


def ratio(above: Floats, below: Floats) -> Floats:
    """Returns the quotients; NaN where the divisor isn't above 0."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
