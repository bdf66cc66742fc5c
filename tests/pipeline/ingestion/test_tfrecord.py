"""TFRecord files are read as they were written, or refused."""

import gzip
from pathlib import Path

import pytest
import tensorflow as tf

from pipeline.ingestion.tfrecord import (
    DamagedFileError,
    checksum,
    checksums,
    head,
    read_records,
)

RECORDS = [b"", b"one", bytes(range(256)) * 40, b"last"]
# Each with its frame: 16, 19, 10256 and 20 bytes.


@pytest.fixture(params=["", "GZIP"], ids=["plain", "gzipped"])
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Four records of 0 to 10,240 bytes, written by TensorFlow."""
    path = tmp_path / "some"
    with tf.io.TFRecordWriter(str(path), request.param) as writer:
        for record in RECORDS:
            writer.write(record)
    return path


def write(file: Path, data: bytes) -> None:
    """Writes over a file, gzipped if it was."""
    zipped = file.read_bytes()[:2] == b"\x1f\x8b"
    file.write_bytes(gzip.compress(data) if zipped else data)


def content(file: Path) -> bytes:
    """Returns what is in a file, unpacked."""
    data = file.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def test_reads_what_tensorflow_wrote(file: Path) -> None:
    """Records come back in order, an empty one among them."""
    assert list(read_records(file)) == RECORDS


def test_writes_what_tensorflow_reads(file: Path) -> None:
    """The frame around a record is TensorFlow's, byte for byte."""
    framed = [head(len(record)) + record + checksum(record) for record in RECORDS]

    assert b"".join(framed) == content(file)


def test_many_checksums_are_those_of_each() -> None:
    """Checksums of many pieces are the same as one at a time."""
    assert checksums(RECORDS).tobytes() == b"".join(map(checksum, RECORDS))


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_reads_no_records(compression: str, tmp_path: Path) -> None:
    """A file without records is not damaged."""
    tf.io.TFRecordWriter(str(tmp_path / "none"), compression).close()

    assert list(read_records(tmp_path / "none")) == []


@pytest.mark.parametrize(
    ("position", "where"),
    [
        (0, "the length of record 1"),
        (9, "the length of record 1"),
        (13, "record 1"),
        (16, "the length of record 2"),
        (25, "the length of record 2"),
        (28, "record 2"),
        (32, "record 2"),
        (10_304, "record 4"),
    ],
)
def test_a_changed_byte_is_told(position: int, where: str, file: Path) -> None:
    """A flip in a length, a checksum or a record names file and record."""
    data = bytearray(content(file))
    data[position] ^= 1
    write(file, bytes(data))

    with pytest.raises(DamagedFileError, match=rf"some is damaged: {where} is not"):
        list(read_records(file))


@pytest.mark.parametrize(("left", "record"), [(-1, 4), (-4, 4), (-5, 4), (40, 3)])
def test_a_file_cut_short_is_told(left: int, record: int, file: Path) -> None:
    """A file that ends within a record is refused, not read up to there."""
    write(file, content(file)[:left])

    with pytest.raises(DamagedFileError, match=rf"some is damaged: .*record {record}"):
        list(read_records(file))


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_broken_gzip_is_told(damage: str, tmp_path: Path) -> None:
    """What can't be unpacked is named, with how to have it written anew."""
    data = gzip.compress(head(3) + b"one" + checksum(b"one"))
    broken = {"cut": data[:-9], "flip": data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]}
    (tmp_path / "some.gz").write_bytes(broken[damage])

    with pytest.raises(DamagedFileError, match=r"some.gz is damaged: .*--no-cache"):
        list(read_records(tmp_path / "some.gz"))
