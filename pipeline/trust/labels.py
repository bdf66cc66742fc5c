"""The label of raw rows, by the definition that training uses."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from models import features, preprocessing
from pipeline.columnar import lists
from pipeline.trust.profile import Ints

_COLUMNS = (*features.LABEL_COLUMNS, features.PAYMENT_TYPE)


def label_of(policy: str, batch: pa.RecordBatch) -> tuple[Ints, Ints]:
    """Computes the labels of a batch.

    Args:
        policy: A `features.LabelPolicy`; labels that it calls unknown don't count.
        batch: Raw rows, of scalar or list columns.

    Returns:
        Whether each row has a label, and whether it is positive: int64 [rows]. No row
        has one if a column that the label is computed from is absent.
    """
    absent = [name for name in _COLUMNS if name not in batch.schema.names]
    if absent or not batch.num_rows:
        nothing = np.zeros(batch.num_rows, np.int64)
        return nothing, nothing
    tensors = {
        name: tf.constant(_dense(lists.unwrap(batch.column(name)))) for name in _COLUMNS
    }
    found = preprocessing.label_and_weight(tensors, policy)
    known = found[features.WEIGHT].numpy() > 0
    return known.astype(np.int64), found[features.LABEL].numpy().astype(np.int64)


def _dense(column: pa.Array) -> np.ndarray:
    """Returns a column's values, the model's sentinel where there is none."""
    kind = lists.item_type(column.type)
    if pa.types.is_large_binary(kind):
        filled = pc.fill_null(column.cast(kind), features.MISSING_TEXT.encode())
        return np.array(filled.to_pylist(), object)
    if pa.types.is_integer(kind):
        return np.asarray(pc.fill_null(column.cast(kind), features.MISSING_INTEGER))
    return np.asarray(pc.fill_null(column.cast(kind), features.MISSING_FLOAT))
