"""TFRecord files are read whole or refused."""

import gzip
from pathlib import Path

import pytest
import tensorflow as tf

from pipeline.errors import ThroughlineError
from pipeline.ingestion import tfrecord

RECORDS = [b"", b"one", bytes(range(256)) * 40, b"last"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Four records of 0 to 10,240 bytes, written by TensorFlow."""
    path = tmp_path / "some.gz"
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in RECORDS:
            writer.write(record)
    return path


def test_reads_what_tensorflow_wrote(file: Path) -> None:
    """Records come back in order, an empty one among them."""
    assert tfrecord.read_records(file) == RECORDS


def test_reads_no_records(tmp_path: Path) -> None:
    """A file without records is not damaged."""
    tf.io.TFRecordWriter(str(tmp_path / "none.gz"), "GZIP").close()

    assert tfrecord.read_records(tmp_path / "none.gz") == []


# The first record is 16 bytes with its frame; so the second's length stands at 16.
@pytest.mark.parametrize(
    ("position", "record"),
    [(0, 1), (9, 1), (13, 1), (16, 2), (25, 2), (28, 2), (32, 2)],
)
def test_a_changed_byte_is_told(position: int, record: int, file: Path) -> None:
    """A flip in a length, a checksum or a record names file and record."""
    data = bytearray(gzip.decompress(file.read_bytes()))
    data[position] ^= 1
    file.write_bytes(gzip.compress(bytes(data)))

    with pytest.raises(
        ThroughlineError, match=rf"some.gz is damaged.* record {record}"
    ):
        tfrecord.read_records(file)


@pytest.mark.parametrize("left", [-1, -4, -5, 40])
def test_a_record_cut_short_is_told(left: int, file: Path) -> None:
    """A file that ends within a record is refused, not read up to there."""
    data = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(data[:left]))

    with pytest.raises(ThroughlineError, match=r"some.gz is damaged: .* record [34]"):
        tfrecord.read_records(file)


@pytest.mark.parametrize("damage", ["cut", "no gzip", "flip"])
def test_a_broken_gzip_is_told(damage: str, file: Path) -> None:
    """What can't be unpacked is named, with how to have it written anew."""
    data = file.read_bytes()
    broken = {
        "cut": data[:-9],
        "no gzip": b"text",
        "flip": data[:30] + bytes([data[30] ^ 255]) + data[31:],
    }
    file.write_bytes(broken[damage])

    with pytest.raises(ThroughlineError, match=r"some.gz is damaged: .*--no-cache"):
        tfrecord.read_records(file)
