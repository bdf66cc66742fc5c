"""Paired sums of two models of classes or of numbers, by groups of the rows.

A row of such models is in a cell for each class, or in none, so replicates can't be
sampled by cell as those of `pipeline.quality.pairs`. Instead, rows are divided into
`GROUPS` by a hash of their labels and scores, sums are kept for each group, and the
Poisson bootstrap counts groups: all rows of a group equally often, for both models and
for all classes. With 200 groups the standard error itself is 5 % off.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.quality.aggregates import MOST_CLASSES, Floats, Scored, Table
from pipeline.quality.pairs import (
    REPLICATES,
    SEED,
    Estimates,
    area,
    bucket_of,
    ratio,
)
from pipeline.quality.rules import MOST_RANKED
from pipeline.quality.slices import Integers

GROUPS = 200
_BUCKETS = 512
_PER_UNIT = 16
_MODELS = 2
_HASH = np.uint64(0x9E3779B97F4A7C15)


def group_of(first: Scored, second: Scored) -> Integers:
    """Returns the group of each row, 0 to `GROUPS` - 1.

    The same rows are in the same groups in any order and batch, except for equal ones:
    those of a batch are counted, or the rows of a constant model would be in one group.
    """
    rows = len(first.labels)
    parts = (first.labels, first.predictions, second.predictions)
    values = np.concatenate([part.reshape(rows, -1) for part in parts], axis=1)
    bits = np.ascontiguousarray(values + 0.0).view(np.uint64)
    # Odd factors, and one more round, since most bits of rounded numbers are 0.
    factors = np.random.default_rng(SEED).integers(
        0, 2**63, bits.shape[1], dtype=np.uint64
    )
    hashes = _mixed((bits * (2 * factors + 1)).sum(axis=1, dtype=np.uint64))
    order = np.argsort(hashes, kind="stable")
    starts = np.flatnonzero(np.diff(hashes[order], prepend=~hashes[order[:1]]) != 0)
    counted = np.zeros(rows, np.uint64)
    counted[order] = np.arange(rows) - np.repeat(starts, np.diff(starts, append=rows))
    return (_mixed(hashes + counted * _HASH) % GROUPS).astype(np.int64)


def _mixed(hashes: np.ndarray) -> np.ndarray:
    for _ in range(2):
        hashes = (hashes ^ (hashes >> np.uint64(32))) * _HASH
    return hashes >> np.uint64(33)


@dataclass(frozen=True)
class NumberPair:
    """Sums of the errors of two models of numbers, by group.

    Quantities: weight, its square, weight times label and squared label; and for each
    model weight times squared error, absolute error and error.
    """

    WEIGHT, SQUARE, LABEL, SQUARED_LABEL = 0, 1, 2, 3
    OF_MODEL = (slice(4, 7), slice(7, 10))

    width = GROUPS

    def quantities(self, first: Scored, second: Scored) -> tuple[Integers, Floats]:
        """Returns each row's group and quantities."""
        weights, labels = first.weights, first.labels
        columns = [weights, weights**2, weights * labels, weights * labels**2]
        for scored in (first, second):
            error = scored.predictions.reshape(-1) - labels
            columns += [weights * error**2, weights * np.abs(error), weights * error]
        return group_of(first, second), np.stack(columns, axis=1)


@dataclass(frozen=True)
class ClassPair:
    """Sums by group, actual class, and the class that each model predicts.

    Quantities: weight, its square, and for each model weight times log loss.
    """

    WEIGHT, SQUARE, LOSSES = 0, 1, (2, 3)

    width = GROUPS * MOST_CLASSES**3

    def quantities(self, first: Scored, second: Scored) -> tuple[Integers, Floats]:
        """Returns each row's cell and quantities."""
        rows, weights = len(first.labels), first.weights
        actual = first.labels.astype(np.int64)
        cells = group_of(first, second) * MOST_CLASSES + actual
        columns = [weights, weights**2]
        for scored in (first, second):
            scores = scored.predictions.reshape(rows, -1)
            cells = cells * MOST_CLASSES + scores.argmax(axis=1)
            right = scores[np.arange(rows), actual] / scores.sum(axis=1)
            columns.append(-weights * np.log(np.maximum(right, np.finfo(float).eps)))
        return cells, np.stack(columns, axis=1)


@dataclass(frozen=True)
class RankPair:
    """Sums by group, model, class, and bucket of the class' score.

    Quantities: weight of the rows of other classes, and of the class.
    """

    width = GROUPS * _MODELS * MOST_CLASSES * _BUCKETS

    def quantities(self, first: Scored, second: Scored) -> tuple[Integers, Floats]:
        """Returns each row's cells [N, models * classes], and quantities of each."""
        rows = len(first.labels)
        group = group_of(first, second)[:, None]
        classes = np.arange(first.predictions.reshape(rows, -1).shape[1])
        if len(classes) > MOST_RANKED:
            # A row would be in thousands of cells.
            return np.zeros((rows, 0), np.int64), np.zeros((rows, 0, 2))
        weights = first.weights[:, None]
        is_class = first.labels[:, None] == classes
        sums = np.stack([weights * ~is_class, weights * is_class], axis=2)
        cells = [
            ((group * _MODELS + at) * MOST_CLASSES + classes) * _BUCKETS
            + bucket_of(scored.predictions.reshape(rows, -1), _BUCKETS, _PER_UNIT)
            for at, scored in enumerate((first, second))
        ]
        return np.concatenate(cells, axis=1), np.concatenate([sums, sums], axis=1)


@dataclass(frozen=True)
class TopScore:
    """Sums of the first model's rows by bucket of the highest probability.

    Quantities: weight, weight times that probability, weight of the rows whose most
    probable class is the right one.
    """

    width = 1000

    def quantities(self, first: Scored, second: Scored) -> tuple[Integers, Floats]:
        """Returns each row's bucket and quantities."""
        del second
        weights, top = first.weights, first.predictions.max(axis=1)
        right = first.predictions.argmax(axis=1) == first.labels
        bucket = np.clip(top * self.width, 0, self.width - 1).astype(np.int64)
        return bucket, np.stack([weights, weights * top, weights * right], axis=1)


def class_calibration(tables: Sequence[Table], number: int) -> list[dict[str, float]]:
    """Returns how often a slice's most probable class is right, by its probability.

    Args:
        tables: The sums of `ClassPair`, `RankPair` and `TopScore`.
        number: The slice's number in the tables.

    Returns:
        Buckets, lowest probability first: the sums of "weight", "prediction" and, of
        the rows that are right, "label", as of `results.read_calibration`.
    """
    _, sums = tables[2].of_slice(number, TopScore.width)
    names = ("weight", "prediction", "label")
    known = sums[sums[:, 0] > 0].tolist()
    return [dict(zip(names, row, strict=True)) for row in known]


def _times(seed: int) -> Floats:
    """Samples how often each group counts [1 + replicates, groups]; first, once."""
    numbers = np.random.default_rng([SEED, seed])
    drawn = numbers.poisson(1.0, (REPLICATES, GROUPS)).astype(np.float64)
    return np.concatenate([np.ones((1, GROUPS)), drawn])


def _effective(weights: Floats, squares: Floats) -> float:
    """Returns Kish's effective number of rows."""
    total = squares.sum()
    return float(weights.sum() ** 2 / total) if total else 0.0


def number_estimates(tables: Sequence[Table], number: int, seed: int) -> Estimates:
    """Computes the metrics of a slice, and those of bootstrap replicates.

    Args:
        tables: The sums of `NumberPair`.
        number: The slice's number in the table.
        seed: Of the slice: the same gives the same replicates.
    """
    groups, sums = tables[0].of_slice(number, NumberPair.width)
    found = _times(seed)[:, groups] @ sums
    weight = found[:, NumberPair.WEIGHT]
    mean = ratio(found[:, NumberPair.LABEL], weight)
    square = ratio(found[:, NumberPair.SQUARED_LABEL], weight)
    # Rounding leaves less than this of equal labels, of which nothing is explained.
    least = 1e-12 * np.maximum(np.nan_to_num(square), 1e-300)
    variance = np.where(square - mean**2 > least, square - mean**2, 0.0)

    def metrics(of_model: slice) -> Mapping[str, Floats]:
        squared, absolute, error = (ratio(c, weight) for c in found[:, of_model].T)
        return {
            "r2": 1 - ratio(squared, variance),
            "rmse": np.sqrt(squared),
            "mae": absolute,
            "mean_error": error,
        }

    rows = _effective(sums[:, NumberPair.WEIGHT], sums[:, NumberPair.SQUARE])
    return Estimates(rows, None, *map(metrics, NumberPair.OF_MODEL))


def class_estimates(
    tables: Sequence[Table], number: int, seed: int, classes: Sequence[object]
) -> Estimates:
    """Computes the metrics of a slice, and those of bootstrap replicates.

    Args:
        tables: The sums of `ClassPair`, `RankPair` and `TopScore`.
        number: The slice's number in the tables.
        seed: Of the slice: the same gives the same replicates.
        classes: The classes, in the order of their numbers.
    """
    counted, ranked, _ = tables
    cells, sums = counted.of_slice(number, ClassPair.width)
    rest, second = np.divmod(cells, MOST_CLASSES)
    rest, first = np.divmod(rest, MOST_CLASSES)
    groups, actual = np.divmod(rest, MOST_CLASSES)
    times, weight = _times(seed), sums[:, ClassPair.WEIGHT]

    def counts(chosen: Integers) -> Floats:
        """Sums weights by class [1 + replicates, classes]."""
        shape = GROUPS, len(classes)
        by_group = np.bincount(groups * shape[1] + chosen, weight, shape[0] * shape[1])
        return times @ by_group.reshape(shape)

    def total(values: Floats) -> Floats:
        return times @ np.bincount(groups, values, GROUPS)

    labels, whole = counts(actual), total(weight)
    ranks = _Ranks.of_slice(ranked, number, times, len(classes))

    def metrics(model: int, predicted: Integers) -> Mapping[str, Floats]:
        accuracy = ratio(total(weight * (actual == predicted)), whole)
        found = {
            "accuracy": accuracy,
            "accuracy_gain": accuracy - ratio(labels.max(axis=1), whole),
            "log_loss": ratio(total(sums[:, ClassPair.LOSSES[model]]), whole),
        }
        if len(classes) > MOST_RANKED:
            return found
        found["auc"] = ranks.macro_area(model)
        weight_right = np.bincount(
            groups * len(classes) + actual,
            weight * (actual == predicted),
            GROUPS * len(classes),
        ).reshape(GROUPS, -1)
        hits, chosen = times @ weight_right, counts(predicted)
        for at, name in enumerate(classes):
            found[f"recall of {name}"] = ratio(hits[:, at], labels[:, at])
            found[f"precision of {name}"] = ratio(hits[:, at], chosen[:, at])
            found[f"selection_rate of {name}"] = ratio(chosen[:, at], whole)
        return found

    rows = _effective(weight, sums[:, ClassPair.SQUARE])
    return Estimates(rows, None, metrics(0, first), metrics(1, second))


@dataclass(frozen=True)
class _Ranks:
    """Sums of a slice by group, model, class and bucket."""

    cells: Integers
    sums: Floats
    times: Floats
    classes: int

    @classmethod
    def of_slice(
        cls, table: Table, number: int, times: Floats, classes: int
    ) -> "_Ranks":
        return cls(*table.of_slice(number, RankPair.width), times, classes)

    def macro_area(self, model: int) -> Floats:
        """Returns the mean area of the classes that all rows have [1 + replicates]."""
        areas = [each for each in self._areas(model) if np.isfinite(each[0])]
        if not areas:
            return np.full(len(self.times), np.nan)
        # A replicate may lack a rare class: the mean is of the others then.
        known = np.isfinite(areas)
        return ratio(np.nansum(areas, axis=0), known.sum(axis=0).astype(float))

    def _areas(self, model: int) -> Iterator[Floats]:
        rest, buckets = np.divmod(self.cells, _BUCKETS)
        rest, number = np.divmod(rest, MOST_CLASSES)
        groups, which = np.divmod(rest, _MODELS)
        for each in range(self.classes):
            own = np.flatnonzero((number == each) & (which == model))
            held, place = np.unique(buckets[own], return_inverse=True)
            at = groups[own] * len(held) + place
            shape = GROUPS, len(held)
            negative, positive = (
                self.times @ np.bincount(at, values, shape[0] * shape[1]).reshape(shape)
                for values in self.sums[own].T
            )
            yield area(positive, negative)
