"""A version of the model, called with batches of raw columns.

It uses the signature `serving_raw`, which REST clients use too: one value per row and
column, and a value that means "missing". Batches become tensors without a loop over
rows.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from models import decision
from models.declarations import MISSING_FLOAT, MISSING_INTEGER, MISSING_TEXT
from models.signatures import PROBABILITY, SERVING_RAW
from pipeline.columnar.lists import is_list
from pipeline.errors import DataRefusedError, UsageError
from pipeline.ingestion.columns import Kind

Scores = npt.NDArray[np.float32]


class RawModel:
    """A SavedModel behind its signature for raw values.

    Attributes:
        kinds: Type of each column that it reads, by name.
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
        self.threshold: float | None = decision.read(directory).get("threshold")
        specs: dict[str, Any] = self._answer.structured_input_signature[1]
        self.kinds: dict[str, Kind] = {n: _kind(s.dtype) for n, s in specs.items()}

    def __call__(self, batch: pa.RecordBatch) -> Scores:
        """Scores a batch.

        Args:
            batch: At least the columns of `kinds`, as int64, float32 and binary.

        Returns:
            A probability per row, shape [N].

        Raises:
            DataRefusedError: A column holds lists.
        """
        tensors = {name: _tensor(batch.column(name), name) for name in self.kinds}
        scores: Scores = self._answer(**tensors)[PROBABILITY].numpy()
        return scores


def _kind(dtype: tf.DType) -> Kind:
    if dtype == tf.string:
        return "BYTES"
    return "FLOAT" if dtype.is_floating else "INT"


def _tensor(column: pa.Array, name: str) -> tf.Tensor:
    if is_list(column.type):
        raise DataRefusedError(
            f"column {name!r} holds lists, and the model reads one value per row; give "
            "it one value per row"
        )
    if pa.types.is_floating(column.type):
        filled = pc.fill_null(column, MISSING_FLOAT)
        return tf.constant(filled.to_numpy(zero_copy_only=False), tf.float32)
    if pa.types.is_integer(column.type):
        return tf.constant(pc.fill_null(column, MISSING_INTEGER).to_numpy(), tf.int64)
    # Few texts are distinct: only these become Python objects, 20 times as fast.
    coded = pc.fill_null(column, MISSING_TEXT.encode()).dictionary_encode()
    texts = tf.constant(coded.dictionary.to_pylist(), tf.string)
    return tf.gather(texts, coded.indices.to_numpy())
