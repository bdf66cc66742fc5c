"""TFRecord files: the frame around a record, and how to read them without TensorFlow.

A record stands between its length (8 bytes), the length's checksum (4) and its own (4),
all little-endian; a checksum is a masked CRC-32C:
https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

import functools
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from pipeline.columnar import files
from pipeline.columnar.files import Location
from pipeline.errors import ThroughlineError

CHECKSUM_BYTES = 4
_LENGTH_BYTES = 8
_HEAD_BYTES = _LENGTH_BYTES + CHECKSUM_BYTES
_LENGTHS_KNOWN = 4096  # Records of a data set have few different ones.
_MASK_DELTA = 0xA282EAD8
_LOW_BITS = 0xFFFFFFFF
_GZIP_MAGIC = b"\x1f\x8b"


class DamagedFileError(ThroughlineError, ValueError):
    """A TFRecord file is damaged; the message names the file and the record."""

    def __init__(self, file: Location, how: str) -> None:
        """Formats the message: what is damaged, and how to rewrite the file."""
        super().__init__(
            f"{file} is damaged: {how}. `--no-cache` on the next run writes it anew"
        )


def checksum(piece: bytes) -> bytes:
    """Computes the masked CRC-32C that TFRecord stores after a piece."""
    return _masked(google_crc32c.value(piece)).to_bytes(CHECKSUM_BYTES, "little")


def checksums(pieces: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """Returns the checksums of many pieces, as little-endian numbers."""
    values = map(google_crc32c.value, pieces)
    return _masked(np.fromiter(values, np.uint64, len(pieces))).astype("<u4")


@functools.lru_cache(_LENGTHS_KNOWN)
def head(length: int) -> bytes:
    """Encodes the header of a record: its length and the length's checksum."""
    packed = length.to_bytes(_LENGTH_BYTES, "little")
    return packed + checksum(packed)


def read_records(file: Location) -> Iterator[bytes]:
    """Yields the records of a file, gzipped or not, and checks every byte of it.

    Raises:
        DamagedFileError: The file is not as it was written.
    """
    with files.opened(file) as plain:
        zipped = plain.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    number = 0
    try:
        with ExitStack() as stack:
            stream: Any = stack.enter_context(files.opened(file))
            if zipped:
                stream = stack.enter_context(gzip.open(stream))
            while start := stream.read(_HEAD_BYTES):
                number += 1
                length = int.from_bytes(start[:_LENGTH_BYTES], "little")
                if start != head(length):
                    raise DamagedFileError(
                        file, f"the length of record {number} is not as written"
                    )
                record = stream.read(length)
                if stream.read(CHECKSUM_BYTES) != checksum(record):
                    raise DamagedFileError(file, f"record {number} is not as written")
                yield record
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DamagedFileError(file, f"{error} after record {number}") from error


def _masked(values: Any) -> Any:
    """Masks checksums: a number, or an array of uint64."""
    rotated = values >> 15 | values << 17
    return (rotated + _MASK_DELTA) & _LOW_BITS
