"""Partial sums by slice: all that is kept of the rows of an evaluation.

Each kind of sum puts a row into a cell (a bucket of its score, say) and adds a few
quantities there. A table holds those sums for all slices at once and only for cells
that have rows, so memory is bounded by slices and cells, whatever the number of rows.
Tables of batches, shards and workers are merged by adding them up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.quality.slices import Integers, Members, SliceKey

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """The labels of N rows, and one model's predictions for them.

    Attributes:
        labels: [N]; of classes their numbers.
        predictions: [N], or [N, classes].
        weights: [N]; ones if rows have no weight.
    """

    labels: Floats
    predictions: Floats
    weights: Floats

    def weighted(self, *, by_weight: bool) -> Floats:
        """Returns each row's weight; 1 each if weights don't count."""
        return self.weights if by_weight else np.ones_like(self.weights)


class Cells(Protocol):
    """The cells that rows are counted in."""

    @property
    def width(self) -> int:
        """Returns the number of cells."""


class Sums(Cells, Protocol):
    """A kind of partial sum.

    Attributes:
        model: Name of the model, a key of the scored batch.
        by_weight: Whether rows count by their weight.
        width: Number of cells.
    """

    @property
    def model(self) -> str:
        """Returns the model's name."""

    @property
    def by_weight(self) -> bool:
        """Returns whether weights count."""

    def quantities(self, scored: Scored) -> tuple[Integers, Floats]:
        """Returns each row's cell [N] and what to add there [N, quantities].

        If a row is in several cells: [N, cells] and [N, cells, quantities].
        """


MOST_CLASSES = 1000
"""Classes from this number on would be counted as others."""


@dataclass(frozen=True)
class Histogram:
    """Sums by bucket of the score, with the buckets of TFMA's calibration histogram.

    Quantities, each for negatives and then for positives: weight, weight times score,
    weight squared. A label between 0 and 1 is part negative and part positive.
    """

    model: str
    by_weight: bool
    buckets: int
    left: float
    right: float

    NEGATIVE = slice(0, 3)
    POSITIVE = slice(3, 6)
    WEIGHT, SCORE, SQUARE = 0, 1, 2

    @property
    def width(self) -> int:
        """Returns the number of buckets, with one below and one above the range."""
        return self.buckets + 2

    def quantities(self, scored: Scored) -> tuple[Integers, Floats]:
        """Returns each row's bucket and quantities."""
        # TFMA's formula, so that a row is in the same bucket; one earlier rounding
        # would move a few rows and every digit that is compared.
        scaled = (scored.predictions - self.left) / (self.right - self.left)
        bucket = np.clip(scaled * self.buckets + 1, 0, self.buckets + 1)
        weights = scored.weighted(by_weight=self.by_weight)
        parts = []
        for weight in (weights * (1 - scored.labels), weights * scored.labels):
            parts += [weight, weight * scored.predictions, weight * weight]
        return bucket.astype(np.int64), np.stack(parts, axis=1)


@dataclass(frozen=True)
class AboveThresholds:
    """Sums by the number of thresholds below the score; exact, unlike a histogram.

    Quantities, each for negatives and then for positives: weight, weight squared.
    """

    model: str
    by_weight: bool
    thresholds: tuple[float, ...]

    @property
    def width(self) -> int:
        """Returns the number of cells."""
        return len(self.thresholds) + 1

    @property
    def rising(self) -> Floats:
        """Returns the distinct thresholds in rising order."""
        return np.unique(np.asarray(self.thresholds, np.float64))

    def quantities(self, scored: Scored) -> tuple[Integers, Floats]:
        """Returns how many thresholds each row is above, and its quantities."""
        # left: a score equal to a threshold is not above it, as in TFMA.
        above = np.searchsorted(self.rising, scored.predictions, side="left")
        weights = scored.weighted(by_weight=self.by_weight)
        negative, positive = weights * (1 - scored.labels), weights * scored.labels
        parts = [negative, negative**2, positive, positive**2]
        return above.astype(np.int64), np.stack(parts, axis=1)


@dataclass(frozen=True)
class Moments:
    """Sums over a slice's rows, and sums of products, from which variances follow.

    Quantities: x, and then x x' row by row, for x = (weight times label, weight times
    score, weight).
    """

    model: str
    by_weight: bool

    width = 1

    def quantities(self, scored: Scored) -> tuple[Integers, Floats]:
        """Returns each row's quantities."""
        weights = scored.weighted(by_weight=self.by_weight)
        return _with_products(
            [weights * scored.labels, weights * scored.predictions, weights]
        )


@dataclass(frozen=True)
class LogLoss:
    """Sums of the log loss.

    Quantities as of `Moments`, for x = (weight times loss, weight). A score of 0 or 1
    is moved by the machine epsilon of 64-bit numbers, as scikit-learn does: the loss of
    a wrong score of 0 or 1 is 36, not infinity.
    """

    model: str
    by_weight: bool

    width = 1

    def quantities(self, scored: Scored) -> tuple[Integers, Floats]:
        """Returns each row's quantities."""
        # scikit-learn's choice; Keras clips at 1e-7, by which a sure and wrong score
        # costs only 16.
        smallest = np.finfo(np.float64).eps
        score = np.clip(scored.predictions, smallest, 1 - smallest)
        labels = scored.labels
        loss = -(labels * np.log(score) + (1 - labels) * np.log1p(-score))
        weights = scored.weighted(by_weight=self.by_weight)
        return _with_products([weights * loss, weights])


@dataclass(frozen=True)
class ClassMatrix:
    """Sums by actual and most probable class; quantities: weight, weight squared."""

    model: str
    by_weight: bool

    width = MOST_CLASSES * MOST_CLASSES

    def quantities(self, scored: Scored) -> tuple[Integers, Floats]:
        """Returns each row's pair of classes and quantities."""
        weights = scored.weighted(by_weight=self.by_weight)
        actual = scored.labels.astype(np.int64)
        # A batch without rows has no second dimension.
        predicted = scored.predictions.argmax(axis=1) if len(actual) else actual
        cells = actual * MOST_CLASSES + predicted
        return cells, np.stack([weights, weights**2], axis=1)

    @staticmethod
    def classes_of(cells: Integers) -> tuple[Integers, Integers]:
        """Returns the actual and the predicted class of cells."""
        return cells // MOST_CLASSES, cells % MOST_CLASSES


@dataclass(frozen=True)
class ClassRanks:
    """Sums by class and bucket of its score; a row is in a bucket of each class.

    Quantities: weight of the rows of other classes, and of the class.
    """

    model: str
    by_weight: bool

    BUCKETS = 10_000
    width = MOST_CLASSES * (BUCKETS + 1)

    def quantities(self, scored: Scored) -> tuple[Integers, Floats]:
        """Returns each row's buckets [N, classes] and quantities [N, classes, 2]."""
        rows = len(scored.labels)
        scores = scored.predictions.reshape(rows, -1) if rows else np.zeros((0, 1))
        classes = np.arange(scores.shape[1])
        buckets = np.clip(scores * self.BUCKETS, 0, self.BUCKETS).astype(np.int64)
        weights = scored.weighted(by_weight=self.by_weight)[:, None]
        is_class = scored.labels[:, None] == classes
        sums = np.stack([weights * ~is_class, weights * is_class], axis=2)
        return classes * (self.BUCKETS + 1) + buckets, sums

    @classmethod
    def places_of(cls, cells: Integers) -> tuple[Integers, Integers]:
        """Returns the class and the bucket of cells."""
        return cells // (cls.BUCKETS + 1), cells % (cls.BUCKETS + 1)


@dataclass(frozen=True)
class ClassLogLoss:
    """Sums of the log loss of the right class; quantities as of `LogLoss`."""

    model: str
    by_weight: bool

    width = 1

    def quantities(self, scored: Scored) -> tuple[Integers, Floats]:
        """Returns each row's quantities."""
        rows = len(scored.labels)
        scores = scored.predictions.reshape(rows, -1) if rows else np.ones((0, 1))
        right = scores[np.arange(rows), scored.labels.astype(np.int64)]
        # Probabilities of 32 bits don't add up to 1, and scikit-learn divides too.
        loss = -np.log(np.maximum(right / scores.sum(axis=1), np.finfo(float).eps))
        weights = scored.weighted(by_weight=self.by_weight)
        return _with_products([weights * loss, weights])


class Means(NamedTuple):
    """Weighted means over rows; NaN without any weight."""

    squared: float
    absolute: float
    label: float
    squared_label: float


@dataclass(frozen=True)
class Errors:
    """Sums of a regression's errors.

    Quantities as of `Moments`, for x = weight times (squared error, absolute error,
    label, squared label, 1).
    """

    model: str
    by_weight: bool

    width = 1

    def quantities(self, scored: Scored) -> tuple[Integers, Floats]:
        """Returns each row's quantities."""
        labels = scored.labels
        error = scored.predictions.reshape(-1) - labels
        weights = scored.weighted(by_weight=self.by_weight)
        ones = np.ones_like(weights)
        parts = (error**2, np.abs(error), labels, labels**2, ones)
        return _with_products([weights * part for part in parts])

    @staticmethod
    def means(cells: Integers, sums: Floats) -> Means:
        """Returns the means that the sums of a slice make."""
        del cells
        *found, weight = sums[:, :5].sum(axis=0).tolist()
        return Means(*(each / weight if weight else float("nan") for each in found))


@dataclass(frozen=True)
class Count:
    """Counts rows, or sums their weights; one quantity."""

    model: str
    by_weight: bool

    width = 1

    def quantities(self, scored: Scored) -> tuple[Integers, Floats]:
        """Returns each row's count."""
        weights = scored.weighted(by_weight=self.by_weight)
        return np.zeros(len(weights), np.int64), weights[:, None]


@dataclass(frozen=True)
class Table:
    """Sums by slice and cell.

    Attributes:
        keys: [K] slice number times `width` plus cell; rising, each once.
        sums: [K, quantities].
    """

    keys: Integers
    sums: Floats

    def of_slice(self, number: int, width: int) -> tuple[Integers, Floats]:
        """Returns the cells of one slice that have rows, rising, and their sums."""
        start, end = np.searchsorted(self.keys, [number * width, (number + 1) * width])
        return self.keys[start:end] - number * width, self.sums[start:end]


@dataclass(frozen=True)
class Partial:
    """The sums of some rows.

    Attributes:
        slices: The slices that the rows are in.
        tables: For each kind of sum a table that numbers slices as `slices` does.
        others: For each slice, accumulators of other combiners; see `merged`.
        rows: Number of rows.
        gated: Sums for the gates, with slices of their own; see `gates`.
    """

    slices: tuple[SliceKey, ...]
    tables: tuple[Table, ...]
    others: Mapping[SliceKey, Any] = field(default_factory=dict)
    rows: int = 0
    gated: "Partial | None" = None


def summed(
    kinds: Sequence[Sums], scored: Mapping[str, Scored], members: Members
) -> tuple[Table, ...]:
    """Sums a batch.

    Args:
        kinds: The kinds of sums to compute.
        scored: Labels, predictions and weights of the rows, by model.
        members: The slices of the rows.

    Returns:
        A table per kind, with slices numbered as in `members`.
    """
    return tuple(
        tabled(kind.width, kind.quantities(scored[kind.model]), members)
        for kind in kinds
    )


def tabled(width: int, found: tuple[Integers, Floats], members: Members) -> Table:
    """Adds up what rows have in cells, by slice and cell.

    Args:
        width: Number of cells.
        found: The cells of rows and what to add there, as of `Sums.quantities`.
        members: The slices of the rows.
    """
    cells, quantities = found
    slices, rows = members.slices, members.rows
    if cells.ndim > 1:
        # A row of several cells counts as that many rows of one.
        each = cells.shape[1]
        slices = np.repeat(slices, each)
        rows = (rows[:, None] * each + np.arange(each)).reshape(-1)
        cells = cells.reshape(-1)
        quantities = quantities.reshape(-1, quantities.shape[2])
    # Slice and cell in one number, so that one pass groups by both.
    return table_of(slices * width + cells[rows], quantities, rows)


def merged(
    kinds: Sequence[Cells],
    partials: Sequence[Partial],
    merge_others: Any = None,
) -> Partial:
    """Merges partial sums.

    Args:
        kinds: The kinds of sums, as for `summed`.
        partials: Sums of disjoint sets of rows, at least one.
        merge_others: Merges two values of `Partial.others`.
    """
    numbers: dict[SliceKey, int] = {}
    renumbered = [
        np.array([numbers.setdefault(k, len(numbers)) for k in p.slices], np.int64)
        for p in partials
    ]
    tables = tuple(
        _added(kind.width, [p.tables[at] for p in partials], renumbered)
        for at, kind in enumerate(kinds)
    )
    others: dict[SliceKey, Any] = {}
    for partial in partials:
        for key, value in partial.others.items():
            others[key] = merge_others(others[key], value) if key in others else value
    return Partial(tuple(numbers), tables, others, sum(p.rows for p in partials))


def _added(
    width: int, tables: Sequence[Table], renumbered: Sequence[Integers]
) -> Table:
    keys = [
        # Each partial has numbered its slices itself: by first occurrence in its rows.
        numbers[table.keys // width] * width + table.keys % width
        for table, numbers in zip(tables, renumbered, strict=True)
        if len(table.keys)
    ]
    if not keys:
        # All are empty, and an empty table has the right number of columns.
        return tables[0]
    sums = np.concatenate([table.sums for table in tables if len(table.keys)])
    return table_of(np.concatenate(keys), sums, np.arange(len(sums)))


def table_of(keys: Integers, quantities: Floats, rows: Integers) -> Table:
    """Adds up the quantities of rows by key.

    Args:
        keys: [P] slice and cell of each pair of a slice and a row.
        quantities: [N, quantities] of each row.
        rows: [P] row numbers.
    """
    found, places = np.unique(keys, return_inverse=True)
    columns = [
        np.bincount(places, weights=column[rows], minlength=len(found))
        for column in quantities.T
    ]
    return Table(found, np.stack(columns, axis=1))


def _with_products(columns: Sequence[Floats]) -> tuple[Integers, Floats]:
    """Appends the products of all pairs of columns; all rows are in one cell."""
    # Sums of products per row are what a covariance of the sums needs, and they can be
    # merged like the sums themselves.
    products = [one * other for one in columns for other in columns]
    stacked = np.stack([*columns, *products], axis=1)
    return np.zeros(len(stacked), np.int64), stacked
