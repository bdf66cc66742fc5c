"""Divides files into pieces of bounded size, and groups the pieces into shards.

Text is divided between records, so that each piece can be read independently. The
division depends only on the data.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataRefusedError
from pipeline.ingestion import source
from pipeline.ingestion.records import EndlessLineError, Records, find_records
from pipeline.ingestion.source import UTF_8, Source

SHARDS = 16
"""As many shards at least, if they are large enough: each of a few workers, cores or
machines, has several to do, and none waits long for the last."""

SMALLEST_BYTES = 2 << 20
"""Size of the smallest shards in bytes of the files, but of text a whole block: some
ten thousand rows. Opening and closing the files of smaller ones would take too long."""

LARGEST_BYTES = 64 << 20
"""Size of the largest ones: a few hundred thousand rows."""

_MARK_BYTES = 3
# Typical compression ratio of text, to estimate the size of a gzip, which is one piece.
_UNPACKED = 5


@dataclass(frozen=True)
class Piece:
    """A part of a file that is read independently.

    Attributes:
        source: The file.
        start: Offset of its first byte; for Parquet, index of its first row group.
        end: Offset after its last byte; for Parquet, index after its last row group.
            `None` for a file that is not divisible, such as a gzip.
        first: Number of its first line; for Parquet, of its first row; from 1.
        rows: How many rows it has; `None` if only reading it would tell.
    """

    source: Source
    start: int
    end: int | None
    first: int
    rows: int | None = None


def divide(
    sources: Iterable[Source], shard_bytes: int | None = None
) -> list[list[Piece]]:
    """Divides files into shards, in the order of the files and their rows.

    Args:
        sources: The files.
        shard_bytes: Approximate size of a shard; by default there are `SHARDS`, within
            the bounds of their size.

    Returns:
        The pieces of each shard.

    Raises:
        DataRefusedError: A line is longer than `records.LONGEST_RECORD`.
    """
    # Reads every plain CSV file once: only its quotes tell where records end.
    pieces = [each for found in sources for each in _pieces_of(found)]
    if shard_bytes is None:
        even = sum(size for _, size in pieces) // SHARDS
        shard_bytes = max(SMALLEST_BYTES, min(LARGEST_BYTES, even))
    shards: list[list[Piece]] = []
    room = 0
    for piece, size in pieces:
        if not shards or room <= 0:
            shards.append([])
            room = shard_bytes
        shards[-1].append(piece)
        room -= size
    return shards


def count_rows(shards: Iterable[Iterable[Piece]]) -> int | None:
    """Returns how many rows shards have together; `None` if that isn't known yet."""
    counts = [piece.rows for shard in shards for piece in shard]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def whole(found: Source) -> Piece:
    """Returns a file as one piece, for reading it from its beginning to its end."""
    if found.kind == "parquet":
        return Piece(found, 0, None, 1)
    mark = _MARK_BYTES if found.has_mark else 0
    return Piece(found, found.start + mark, None, found.line)


def stretches(piece: Piece) -> Iterator[Records]:
    """Reads a piece of a CSV file in sections of bounded size.

    Yields:
        The records of a section; some may be broken.

    Raises:
        DataRefusedError: The file is truncated, damaged or not text.
    """
    found = piece.source
    with source.opened(found.path, found.kind, found.encoding) as text:
        if found.is_divisible:
            text.seek(piece.start)
        else:
            mark = _MARK_BYTES if found.has_mark else 0
            source.read_fully(text, found.start + mark)
        length = None if piece.end is None else piece.end - piece.start
        for records, _ in _stretches(text, found.path, piece.first, length):
            yield records


def _pieces_of(found: Source) -> Iterator[tuple[Piece, int]]:
    """Yields the pieces of a file, each with its size in bytes of text."""
    if found.kind == "parquet":
        file = source.opened_parquet(found.path)
        row = 1
        for group in range(file.num_row_groups):
            about = file.metadata.row_group(group)
            rows = about.num_rows
            piece = Piece(found, group, group + 1, row, rows)
            yield piece, about.total_byte_size
            row += rows
        return
    at = found.start + (_MARK_BYTES if found.has_mark else 0)
    if not found.is_divisible:
        size = source.size_of(found.path) * _UNPACKED
        yield Piece(found, at, None, found.line), size
        return
    # With line numbers, so that a worker in the middle of a file can name a line.
    with source.opened(found.path, found.kind, UTF_8) as text:
        text.seek(at)
        line = found.line
        for records, length in _stretches(text, found.path, line, None):
            end, rows = at + length, len(records)
            yield Piece(found, at, end, line, rows), length
            at, line = at + length, records.next_line


def _stretches(
    text: source.Stream, path: Path, line: int, length: int | None
) -> Iterator[tuple[Records, int]]:
    """Yields the records of a stream by section, each with its size in bytes."""
    rest = b""
    is_last = False
    while not is_last:
        wanted = source.BLOCK_BYTES if length is None else length
        block = source.read_fully(text, wanted)
        is_last = len(block) < wanted or length is not None
        try:
            records, consumed = find_records(rest + block, line, is_last=is_last)
        except EndlessLineError as error:
            raise DataRefusedError(f"{path}: {error}; is it a CSV file?") from error
        line = records.next_line
        rest = (rest + block)[consumed:]
        if consumed:
            yield records, consumed
