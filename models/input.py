"""Reads transformed columns for training, as batches of tensors.

Nothing is parsed while training: a batch is gathered from columns. Up to `MEMORY_BYTES`
an epoch is a random permutation of all rows; beyond that, random groups of shards are
in memory one at a time, and the rows of each are permuted.
"""

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft

from models.declarations import WEIGHT
from models.declared import LABEL_NAME
from pipeline.columnar import shards
from pipeline.columnar.files import listed
from pipeline.columnar.shards import Shard

MEMORY_BYTES = 512 << 20
"""Most bytes of training columns that are in memory at once."""

_EVAL_BATCH = 8192  # Rows; evaluation has no gradient, so larger is only faster.
_CHUNK_ROWS = 16_384  # Gathered at once, so that Python costs little for each step.

Columns = dict[str, npt.NDArray[Any]]
Batch = tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class Table:
    """Labelled rows of some shards, read as dense columns.

    Attributes:
        pieces: Row groups.
        spec: Type and shape of each column, without the rows' dimension.
        memory_bytes: Maximum number of bytes in memory.
    """

    pieces: tuple[Shard, ...]
    spec: dict[str, tf.TensorSpec]
    memory_bytes: int = MEMORY_BYTES

    @classmethod
    def of(cls, patterns: Sequence[str], transform: tft.TFTransformOutput) -> "Table":
        """Opens the shards that globs match.

        Args:
            patterns: Globs of the form DIRECTORY/*, as Transform's outputs have them.
            transform: Has the columns' types.

        Raises:
            ValueError: No row has a known label; names the patterns.
            ThroughlineError: A shard is damaged; names it.
        """
        # Only the row's own part of the shape counts: the first is the batch's.
        spec = {
            name: tf.TensorSpec(feature.shape, feature.dtype)
            for name, feature in transform.transformed_feature_spec().items()
        }
        # Sorted, because the order of the rows is part of what a seed repeats.
        directories = sorted({p.rpartition("/")[0] for p in patterns})
        found = [s for d in directories if listed(d) for s in shards.shards_of(d)]
        table = cls(tuple(shards.split_up(found, rows=1)), spec)
        # Stops at the first batch with a label, so normally one row group is read.
        if not any(len(rows[LABEL_NAME]) for rows in table.batches()):
            msg = (
                f"no row with a known label in {list(patterns)}; the split is empty, "
                f"or all its rows have {WEIGHT} 0 under this label policy"
            )
            raise ValueError(msg)
        return table

    def of_columns(self, names: Collection[str]) -> "Table":
        """Returns the table with some of its columns only, in its own order."""
        spec = {name: each for name, each in self.spec.items() if name in names}
        return replace(self, spec=spec)

    def batches(
        self,
        pieces: Sequence[Shard] | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Columns]:
        """Reads labelled rows, in the order of the pieces, a row group at a time.

        Rows of weight 0 are dropped before they are batched, not weighed: a step then
        learns from as many labels under every policy, and steps are not spent on rows
        that teach nothing.

        Args:
            pieces: Row groups; all if not given.
            columns: Only these columns; all if not given.
        """
        names = list(self.spec if columns is None else columns)
        for piece in self.pieces if pieces is None else pieces:
            for batch in shards.read_batches(piece, columns=[*{*names, WEIGHT}]):
                labelled = batch.filter(pa.array(_dense(batch, self.spec, WEIGHT) > 0))
                yield {name: _dense(labelled, self.spec, name) for name in names}

    def load(self, pieces: Sequence[Shard] | None = None) -> Columns:
        """Reads labelled rows into memory, all of them if no pieces are given."""
        parts = list(self.batches(pieces))
        return {name: np.concatenate([p[name] for p in parts]) for name in self.spec}

    def first(self, count: int) -> Columns:
        """Reads the first rows, at most `count`, whether or not they have a label."""
        piece = next(piece for piece in self.pieces if piece.rows)
        batch = next(shards.read_batches(piece, rows=count, columns=list(self.spec)))
        return {name: _dense(batch, self.spec, name) for name in self.spec}

    @property
    def row_bytes(self) -> int:
        """Returns the bytes of a row in memory."""
        return sum(
            int(np.prod(spec.shape, dtype=int)) * spec.dtype.size
            for spec in self.spec.values()
        )

    def fits(self) -> bool:
        """Whether all rows may be in memory at once."""
        return shards.count_rows(self.pieces) * self.row_bytes <= self.memory_bytes

    def epoch(self, chance: np.random.Generator) -> Iterator[tuple[Shard, ...]]:
        """Divides the pieces at random into choices that fit into memory together."""
        order = chance.permutation(len(self.pieces))
        choice: list[Shard] = []
        held = 0
        for piece in (self.pieces[place] for place in order):
            size = piece.rows * self.row_bytes
            if choice and held + size > self.memory_bytes:
                yield tuple(choice)
                choice, held = [], 0
            choice.append(piece)
            held += size
        yield tuple(choice)


def training_dataset(table: Table, batch_size: int, seed: int) -> tf.data.Dataset:
    """Returns endless batches of shuffled rows.

    Args:
        table: The rows.
        batch_size: Rows in each batch; an epoch's last rows and the next one's first
            are in one batch.
        seed: The same gives the same batches.

    Returns:
        (columns, label, weight) in batches of exactly `batch_size` rows.
    """
    steps = max(1, _CHUNK_ROWS // batch_size)

    def chunks() -> Iterator[Columns]:
        for rows in _rebatched(_shuffled(table, seed), steps * batch_size):
            yield {
                n: v.reshape(steps, batch_size, *v.shape[1:]) for n, v in rows.items()
            }

    return (
        # Several steps per call of Python: a generator that yields single batches is
        # what tf.data would wait for.
        _generated(chunks, table, (steps, batch_size))
        .flat_map(tf.data.Dataset.from_tensor_slices)
        .map(_split_label)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_dataset(table: Table, row_count: int) -> tf.data.Dataset:
    """Returns each row once, in order.

    Args:
        table: The rows.
        row_count: Maximum number of rows to return, -1 for all.

    Returns:
        (columns, label, weight) in batches of thousands of rows; from memory if they
        fit, and read again for each evaluation if they don't.
    """

    def batches() -> Iterator[Columns]:
        left = row_count if row_count >= 0 else shards.count_rows(table.pieces)
        for rows in _rebatched(table.batches(), _EVAL_BATCH, keep_rest=True):
            some = {name: values[:left] for name, values in rows.items()}
            left -= len(some[LABEL_NAME])
            if len(some[LABEL_NAME]):
                yield some
            if left <= 0:
                return

    dataset = _generated(batches, table, (None,)).map(_split_label)
    # Every evaluation reads the same rows; cached, they are converted once.
    return dataset.cache() if table.fits() else dataset


def _shuffled(table: Table, seed: int) -> Iterator[Columns]:
    """Yields the rows of endless epochs, a part of an epoch at a time."""
    whole = table.load() if table.fits() else None
    for epoch in itertools.count():
        # A generator per epoch: an epoch's order doesn't depend on how the ones before
        # it were read.
        chance = np.random.default_rng([seed, epoch])
        choices = [()] if whole is not None else table.epoch(chance)
        for choice in choices:
            rows = whole if whole is not None else table.load(choice)
            order = chance.permutation(len(rows[LABEL_NAME]))
            for start in range(0, len(order), _CHUNK_ROWS):
                places = order[start : start + _CHUNK_ROWS]
                yield {name: values[places] for name, values in rows.items()}


def _rebatched(
    parts: Iterator[Columns], rows: int, *, keep_rest: bool = False
) -> Iterator[Columns]:
    """Re-batches a stream of rows into parts of equal size."""
    waiting: list[Columns] = []
    held = 0
    for part in parts:
        waiting.append(part)
        held += len(part[LABEL_NAME])
        while held >= rows:
            joined = {n: np.concatenate([w[n] for w in waiting]) for n in part}
            yield {name: values[:rows] for name, values in joined.items()}
            waiting = [{name: values[rows:] for name, values in joined.items()}]
            held -= rows
    if keep_rest and held:
        yield {n: np.concatenate([w[n] for w in waiting]) for n in waiting[0]}


def _generated(
    generate: Callable[[], Iterator[Columns]],
    table: Table,
    outer: tuple[int | None, ...],
) -> tf.data.Dataset:
    signature = {
        name: tf.TensorSpec([*outer, *spec.shape], spec.dtype)
        for name, spec in table.spec.items()
    }
    return tf.data.Dataset.from_generator(generate, output_signature=signature)


# Autograph would only read its source: a quarter of a second.
@tf.autograph.experimental.do_not_convert
def _split_label(columns: dict[str, tf.Tensor]) -> Batch:
    columns = dict(columns)
    return columns, columns.pop(LABEL_NAME), columns.pop(WEIGHT)


def _dense(
    batch: pa.RecordBatch, spec: dict[str, tf.TensorSpec], name: str
) -> npt.NDArray[Any]:
    """Returns a column as an array [rows, *shape]; each row has its values."""
    values = batch.column(name).flatten()
    if spec[name].dtype == tf.string:
        # NumPy's own texts are padded to the longest; tf.data accepts objects.
        array = np.array(values.to_pylist(), dtype=object)
    else:
        array = values.to_numpy(zero_copy_only=False)
    return array.reshape(batch.num_rows, *spec[name].shape)
