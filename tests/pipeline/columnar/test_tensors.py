"""Record batches as tensors: the tensors that TFX parses from tf.Examples, and back."""

import pyarrow as pa
import pytest
import tensorflow as tf

from pipeline.columnar import tensors
from pipeline.columnar.lists import wrap_batch

SPEC = {
    "fare": tf.io.FixedLenFeature([], tf.float32),
    "area": tf.io.FixedLenFeature([1], tf.int64, default_value=-1),
    "tags": tf.io.VarLenFeature(tf.string),
}


def _example(
    fare: float, area: int | None, tags: list[bytes] | None
) -> tf.train.Example:
    features = {"fare": tf.train.Feature(float_list=tf.train.FloatList(value=[fare]))}
    if area is not None:
        value = tf.train.Int64List(value=[area])
        features["area"] = tf.train.Feature(int64_list=value)
    features["tags"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=tags or []))
    return tf.train.Example(features=tf.train.Features(feature=features))


def test_columns_become_what_parsing_tf_examples_gives() -> None:
    """Dense, defaulted and sparse tensors are those of tf.io.parse_example."""
    rows = [(1.5, 7, [b"a", b"b"]), (2.5, None, None), (0.0, 9, [b"c"])]
    batch = pa.RecordBatch.from_pydict(
        {
            "tags": pa.array([r[2] for r in rows], pa.large_list(pa.large_binary())),
            "fare": [r[0] for r in rows],
            "area": [r[1] for r in rows],
        }
    )

    ours = tensors.to_tensors(wrap_batch(batch), SPEC)

    parsed = tf.io.parse_example([_example(*r).SerializeToString() for r in rows], SPEC)
    assert ours["fare"].numpy().tolist() == parsed["fare"].numpy().tolist()
    assert ours["area"].numpy().tolist() == parsed["area"].numpy().tolist()
    assert (
        ours["tags"].values.numpy().tolist() == parsed["tags"].values.numpy().tolist()
    )
    assert ours["tags"].indices.numpy().tolist() == [[0, 0], [0, 1], [2, 0]]
    assert ours["tags"].dense_shape.numpy().tolist() == [3, 2]


def test_missing_value_of_a_required_column_is_an_error() -> None:
    """A row without a value that the spec requires names the column."""
    batch = wrap_batch(
        pa.RecordBatch.from_pydict({"fare": pa.array([1.0, None], pa.float32())})
    )

    with pytest.raises(ValueError, match="fare"):
        tensors.to_tensors(batch, {"fare": SPEC["fare"]})


def test_tensors_come_back_as_lists() -> None:
    """Rows of a matrix and of a sparse tensor are lists of their values."""
    spec = {
        "point": tf.io.FixedLenFeature([2], tf.float32),
        "id": tf.io.FixedLenFeature([], tf.int64),
        "tags": tf.io.VarLenFeature(tf.string),
    }

    batch = tensors.from_tensors(
        {
            "point": tf.constant([[1.0, 2.0], [3.0, 4.0]]),
            "id": tf.constant([5, 6], tf.int64),
            "tags": tf.SparseTensor([[1, 0], [1, 1]], ["x", "y"], [2, 2]),
        },
        spec,
    )

    assert batch.to_pydict() == {
        "id": [[5], [6]],
        "point": [[1.0, 2.0], [3.0, 4.0]],
        "tags": [[], [b"x", b"y"]],
    }
    again = tensors.to_tensors(batch, spec)
    assert again["point"].numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]
