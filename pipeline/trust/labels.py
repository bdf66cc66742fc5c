"""The label of raw rows, by the definition that training uses."""

import functools

import numpy as np
import pyarrow as pa
import tensorflow as tf

from models import preprocessing
from models.declarations import WEIGHT, AnyLabel, Classes, Regression
from models.declared import LABEL
from pipeline.columnar import lists
from pipeline.columnar.tensors import ToTensors
from pipeline.trust.profile import Ints


def label_of(
    policy: str, batch: pa.RecordBatch, label: AnyLabel = LABEL
) -> tuple[Ints, Ints]:
    """Computes the labels of a batch.

    Checks of the data know two kinds of rows, so labels that aren't binary are divided:
    numbers into those above `Regression.middle` and the others, classes into the first
    and the second half of those declared.

    Args:
        policy: Name of one of the label's policies; labels that it calls unknown don't
            count.
        batch: Raw rows, of scalar or list columns.
        label: The declaration.

    Returns:
        Whether each row has a label, and whether it is positive: int64 [rows]. No row
        has one if a column that the label is computed from is absent.
    """
    known, values = values_of(policy, batch, label)
    return known.astype(np.int64), _positive(label, values).astype(np.int64)


def values_of(
    policy: str, batch: pa.RecordBatch, label: AnyLabel = LABEL
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the labels of a batch as the model is trained on them.

    Args:
        policy: Name of one of the label's policies.
        batch: Raw rows, of scalar or list columns.
        label: The declaration.

    Returns:
        Whether each row has a label, bool [rows]; and its value, [rows]: 0 or 1, the
        number of a class, or a number. It means nothing where a row has none.
    """
    absent = [name for name in label.read if name not in batch.schema.names]
    if absent or not batch.num_rows:
        return np.zeros(batch.num_rows, bool), np.zeros(batch.num_rows)
    columns = {name: lists.wrap(batch.column(name)) for name in label.read}
    rows = pa.RecordBatch.from_pydict(columns)
    tensors = _reader(tuple((n, c.type.value_type) for n, c in columns.items()))(rows)
    found = preprocessing.label_and_weight(tensors, policy, label)
    return found[WEIGHT].numpy() > 0, found[label.name].numpy()


def _positive(label: AnyLabel, values: np.ndarray) -> np.ndarray:
    match label:
        case Classes(values=classes):
            return values >= len(classes) / 2
        case Regression(middle=None):
            # All alike: checks that compare two kinds of rows then find nothing.
            return np.zeros(len(values), bool)
        case Regression(middle=middle):
            return values > middle
        case _:
            return values > 0


@functools.cache
def _reader(kinds: tuple[tuple[str, pa.DataType], ...]) -> ToTensors:
    return ToTensors.of({n: tf.io.VarLenFeature(_dtype(k)) for n, k in kinds})


def _dtype(kind: pa.DataType) -> tf.DType:
    if pa.types.is_integer(kind):
        return tf.int64
    return tf.float32 if pa.types.is_floating(kind) else tf.string
