"""TFRecord files: the frame around a record, and files small enough to read at once.

A record stands between its length (8 bytes), the length's checksum (4) and its own (4),
all little-endian; a checksum is a masked CRC-32C:
https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

import functools
import gzip
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt

from pipeline.errors import ThroughlineError

CHECKSUM_BYTES = 4
_LENGTH = struct.Struct("<Q")
_HEAD_BYTES = _LENGTH.size + CHECKSUM_BYTES
_LENGTHS_KNOWN = 4096  # Records of a data set have few different ones.
_ROTATION = np.uint32(15)
_MASK_DELTA = np.uint32(0xA282EAD8)


def checksums(pieces: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """Returns what TFRecord writes behind each of some pieces to tell it is whole."""
    values = np.fromiter(map(google_crc32c.value, pieces), np.uint32, len(pieces))
    rotated = values >> _ROTATION | values << (np.uint32(32) - _ROTATION)
    return (rotated + _MASK_DELTA).astype("<u4")


@functools.lru_cache(_LENGTHS_KNOWN)
def head(length: int) -> bytes:
    """Returns what stands before a record of so many bytes."""
    packed = _LENGTH.pack(length)
    return packed + checksums([packed]).tobytes()


def read_records(file: Path) -> list[bytes]:
    """Reads a gzipped file as a whole, and checks every byte of it.

    Raises:
        ThroughlineError: The file is damaged; names it, and the record.
    """
    try:
        data = gzip.decompress(file.read_bytes())
    except (EOFError, OSError, zlib.error) as error:
        raise _damaged(file, str(error)) from error
    records: list[bytes] = []
    written: list[bytes] = []
    position = 0
    while position < len(data):
        number = len(records) + 1
        start = position + _HEAD_BYTES
        length = int.from_bytes(data[position : position + _LENGTH.size], "little")
        if data[position:start] != head(length):
            raise _damaged(file, f"the length of record {number} is not as written")
        end, position = start + length, start + length + CHECKSUM_BYTES
        if position > len(data):
            raise _damaged(file, f"it ends within record {number}")
        records.append(data[start:end])
        written.append(data[end:position])
    wrong = checksums(records) != np.frombuffer(b"".join(written), "<u4")
    if wrong.any():
        raise _damaged(file, f"record {wrong.argmax() + 1} is not as written")
    return records


def _damaged(file: Path, how: str) -> ThroughlineError:
    return ThroughlineError(
        f"{file} is damaged: {how}. `--no-cache` on the next run writes it anew"
    )
