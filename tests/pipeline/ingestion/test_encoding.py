"""tf.Examples in TFRecords: what TensorFlow and tfx_bsl make of the same columns."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from pipeline.ingestion.encoding import to_tfrecords, varint

LIMITS = [0, 1, -1, 127, 128, 2**14, 2**31, 2**63 - 1, -(2**63), None]

NUMBERS = [None, 0.0, -0.0, 1e-45, 3.4e38, *[0.1] * 5]
TEXTS = [b"", None, b"a" * 127, b"b" * 128, b"c" * 20_000, *[b"\0\xff"] * 5]


def as_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Makes each value a list of one, and each missing one no list, for tfx_bsl."""
    lists = {
        name: pa.array(
            [None if value is None else [value] for value in column.to_pylist()],
            pa.list_(column.type),
        )
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    return pa.RecordBatch.from_pydict(lists)


@pytest.mark.parametrize("name", ["n", "é" * 40, "long" * 5000])
def test_as_the_libraries_encode(tmp_path: Path, name: str) -> None:
    """TensorFlow reads the records, and finds what tfx_bsl's encoder makes."""
    batch = pa.RecordBatch.from_pydict(
        {
            name: pa.array(LIMITS, pa.int64()),
            "x": pa.array(NUMBERS, pa.float32()),
            "t": pa.array(TEXTS, pa.binary()),
            "none": pa.nulls(len(LIMITS), pa.binary()),
        }
    )
    expected = RecordBatchToExamplesEncoder().encode(as_lists(batch))
    file = tmp_path / "rows"

    file.write_bytes(b"".join(to_tfrecords(batch).to_pylist()))

    found = [r.numpy() for r in tf.data.TFRecordDataset(str(file))]
    parse = tf.train.Example.FromString
    assert list(map(parse, found)) == list(map(parse, expected))


def test_many_rows_of_random_numbers(tmp_path: Path) -> None:
    """Numbers of every length come out as they went in."""
    chance = np.random.default_rng(1)
    bits = chance.integers(0, 2**63, size=5000) >> chance.integers(0, 63, size=5000)
    batch = pa.RecordBatch.from_pydict({"n": pa.array(bits)})
    file = tmp_path / "rows"

    file.write_bytes(b"".join(to_tfrecords(batch).to_pylist()))

    records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    examples = map(tf.train.Example.FromString, records)
    assert [e.features.feature["n"].int64_list.value[0] for e in examples] == list(bits)


def test_lists_as_the_library_encodes_them() -> None:
    """Rows of any number of values are what tfx_bsl's encoder makes of them."""
    batch = pa.RecordBatch.from_pydict(
        {
            "n": pa.array([[1, -1], None, [], [2**40]], pa.large_list(pa.int64())),
            "x": pa.array([[0.5], [1, 2, 3], None, []], pa.large_list(pa.float32())),
            "t": pa.array(
                [[b"", b"a" * 200], [], [b"b"], None], pa.large_list(pa.large_binary())
            ),
            "one": pa.array([[1], None, [3], [4]], pa.large_list(pa.int64())),
        }
    )
    expected = RecordBatchToExamplesEncoder().encode(batch)

    records = to_tfrecords(batch).to_pylist()

    parse = tf.train.Example.FromString
    found = [parse(record[12:-4]) for record in records]
    assert found == list(map(parse, expected))


def test_no_rows() -> None:
    """A batch without rows gives no records."""
    batch = pa.RecordBatch.from_pydict({"n": pa.array([], pa.int64())})

    assert to_tfrecords(batch).to_pylist() == []


@pytest.mark.parametrize(
    ("number", "expected"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01")]
)
def test_varint(number: int, expected: bytes) -> None:
    """Seven bits a byte, the lowest first, the eighth says that more follow."""
    assert varint(number) == expected
