"""A version of the model, called with batches of raw columns.

It uses the signature `serving_raw`, which REST clients use too: one value per row and
column (or a list, where the model reads one), and a value that means "missing". Batches
become tensors without a loop over rows.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from models import decision
from models.declarations import MISSING_FLOAT, MISSING_INTEGER, MISSING_TEXT
from models.names import CLASS, PREDICTION, PROBABILITY, SERVING_RAW
from pipeline.columnar import lists
from pipeline.errors import DataRefusedError, UsageError
from pipeline.ingestion.columns import Kind

_ANSWERS = (CLASS, PROBABILITY, PREDICTION)
_ARROW: dict[Kind, pa.DataType] = {
    "FLOAT": pa.float32(),
    "INT": pa.int64(),
    "BYTES": pa.large_binary(),
}
_MISSING: dict[Kind, Any] = {
    "FLOAT": MISSING_FLOAT,
    "INT": MISSING_INTEGER,
    "BYTES": MISSING_TEXT.encode(),
}


class RawModel:
    """A SavedModel behind its signature for raw values.

    Attributes:
        kinds: Type of each column that it reads, by name.
        answers: Names and types of the answers for each row, in their order: the most
            probable class, its probability or that of the label, a predicted number.
        threshold: Rows with a score above are decided as positive; `None` if the model
            has none of its own.
    """

    def __init__(self, directory: Path) -> None:
        """Loads a SavedModel.

        Raises:
            UsageError: It has no signature for raw values.
        """
        self._model = tf.saved_model.load(str(directory))
        if SERVING_RAW not in self._model.signatures:
            known = ", ".join(sorted(self._model.signatures)) or "none"
            raise UsageError(
                f"the model in {directory} has no signature {SERVING_RAW}; it has "
                f"{known}. Predict with a version that this project has pushed"
            )
        self._answer = self._model.signatures[SERVING_RAW]
        described = decision.read(directory)
        self.threshold: float | None = described.get("threshold")
        specs: dict[str, Any] = self._answer.structured_input_signature[1]
        named = described.get("inputs", {})
        # By input, whose name is the column's own if that is an identifier.
        self._columns = {name: named.get(name, name) for name in specs}
        self._specs = specs
        self.kinds: dict[str, Kind] = {
            self._columns[name]: _kind(spec.dtype) for name, spec in specs.items()
        }
        outputs = self._answer.structured_outputs
        self.answers = pa.schema(
            [(n, _arrow(outputs[n].dtype)) for n in _ANSWERS if n in outputs]
        )

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Answers a batch.

        Args:
            batch: At least the columns of `kinds`, as int64, float32 and binary.

        Returns:
            The columns of `answers`.

        Raises:
            DataRefusedError: A column holds lists, and the model reads one value.
        """
        tensors = {
            name: _tensor(batch.column(column), column, self._specs[name])
            for name, column in self._columns.items()
        }
        found = self._answer(**tensors)
        arrays = [_array(found[f.name], f.type) for f in self.answers]
        return pa.RecordBatch.from_arrays(arrays, schema=self.answers)

    def of_lists(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Answers a batch of list columns, as the shards of Examples have them.

        Args:
            batch: Any columns; one that the model reads and that is absent is missing
                in each row. Of a list, the first value counts where it reads one.

        Returns:
            The columns of `answers`.

        Raises:
            ArrowException: A column's values aren't of the type that the model reads.
        """
        several = {self._columns[n] for n, s in self._specs.items() if s.shape.rank > 1}
        columns = {}
        for name, kind in self.kinds.items():
            if name not in batch.schema.names:
                columns[name] = pa.nulls(batch.num_rows, _ARROW[kind])
            elif name in several:
                columns[name] = batch.column(name)
            else:
                columns[name] = lists.unwrap(batch.column(name)).cast(_ARROW[kind])
        return self(pa.RecordBatch.from_pydict(columns))


def _kind(dtype: tf.DType) -> Kind:
    if dtype == tf.string:
        return "BYTES"
    return "FLOAT" if dtype.is_floating else "INT"


def _arrow(dtype: tf.DType) -> pa.DataType:
    if dtype == tf.string:
        return pa.string()
    return pa.float32() if dtype.is_floating else pa.int64()


def _array(answer: tf.Tensor, kind: pa.DataType) -> pa.Array:
    values = answer.numpy()
    if kind == pa.string():
        return pa.array([value.decode() for value in values.tolist()], kind)
    return pa.array(values, kind)


def _tensor(column: pa.Array, name: str, spec: Any) -> tf.Tensor:
    kind = _kind(spec.dtype)
    if spec.shape.rank > 1:
        return _padded(lists.wrap(column), kind)
    if lists.is_list(column.type):
        raise DataRefusedError(
            f"column {name!r} holds lists, and the model reads one value per row; give "
            "it one value per row"
        )
    return _filled(column, kind)


def _padded(column: pa.LargeListArray, kind: Kind) -> tf.Tensor:
    """Returns lists as [N, longest], filled up with what means "missing"."""
    lengths = lists.lengths_of(column)
    longest = int(lengths.max(initial=0))
    places = np.full((len(column), longest), -1, np.int64)
    places[np.arange(longest) < lengths[:, None]] = np.arange(lengths.sum())
    flat = column.flatten().take(pa.array(places.ravel(), mask=places.ravel() < 0))
    return tf.reshape(_filled(flat, kind), [len(column), longest])


def _filled(column: pa.Array, kind: Kind) -> tf.Tensor:
    if kind == "FLOAT":
        filled = pc.fill_null(column, _MISSING[kind])
        return tf.constant(filled.to_numpy(zero_copy_only=False), tf.float32)
    if kind == "INT":
        return tf.constant(pc.fill_null(column, _MISSING[kind]).to_numpy(), tf.int64)
    # Few texts are distinct: only these become Python objects, 20 times as fast.
    coded = pc.fill_null(column, _MISSING[kind]).dictionary_encode()
    texts = tf.constant(coded.dictionary.to_pylist(), tf.string)
    return tf.gather(texts, coded.indices.to_numpy())
