"""Shards: the Parquet files of a split, read and written in bounded batches.

Cells are lists (`pipeline.columnar.lists`). Pages carry checksums, so that a damaged
file is an error that names it and never other values.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from pipeline.columnar import files
from pipeline.columnar.files import Location
from pipeline.columnar.lists import item_type, wrap_batch
from pipeline.errors import ThroughlineError

ROWS = 50_000
"""Most rows of a batch and of a row group."""

BATCH_BYTES = 32 << 20
"""Most bytes of a batch and of a row group, in memory; a longer row is one by itself"""

SUFFIX = ".parquet"
_LEVEL = 1  # zstd's fastest: level 3 takes a third longer for 4 % fewer bytes.


class DamagedShardError(ThroughlineError, ValueError):
    """A shard can't be read, or has other columns than its neighbours."""

    def __init__(self, file: str, how: str) -> None:
        """Reports what is wrong with a shard, and how to have it written again."""
        super().__init__(
            f"{file} is damaged: {how}. `--no-cache` on the next run writes it again"
        )


@dataclass(frozen=True)
class Shard:
    """A Parquet file, or a run of its row groups: what one worker does at a time.

    Attributes:
        file: Its location.
        first: First row group.
        end: Row group after the last; None means to the file's end.
        rows: How many rows that is.
    """

    file: str
    first: int = 0
    end: int | None = None
    rows: int = 0

    def __str__(self) -> str:
        """Returns the file's location."""
        return self.file


def shards_of(directory: Location) -> list[Shard]:
    """Lists the shards of a split in the order of their names, one per file.

    Args:
        directory: The split's.

    Raises:
        DamagedShardError: A file is truncated, no Parquet file, or has other columns
            than the first; the message names it.
    """
    found: list[Shard] = []
    expected: pa.Schema | None = None
    # Footers only; a damaged page is found when it is read, by its checksum.
    for location in files.listed(directory):
        with _opened(location) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
        expected = schema if expected is None else expected
        if not schema.equals(expected):
            how = _difference(schema, expected, files.name_of(found[0].file))
            raise DamagedShardError(location, how)
        found.append(Shard(location, rows=rows))
    return found


def split_up(shards: Sequence[Shard], rows: int = ROWS) -> list[Shard]:
    """Cuts shards between row groups, so that workers have equal parts.

    The result depends on the files alone, so sums over it are the same everywhere.

    Args:
        shards: Files.
        rows: Cut after this many, at the next end of a row group.
    """
    return [piece for shard in shards for piece in _pieces(shard, rows)]


def count_rows(shards: Sequence[Shard]) -> int:
    """Returns how many rows shards have together."""
    return sum(shard.rows for shard in shards)


def schema_of(shards: Sequence[Shard]) -> pa.Schema:
    """Returns the columns of shards, which are the same in all; none if there are none.

    Raises:
        DamagedShardError: The first can't be read.
    """
    if not shards:
        return pa.schema([])
    with _opened(shards[0].file) as file:
        return file.schema_arrow


def read_batches(
    shard: Shard | Location,
    *,
    columns: Sequence[str] | None = None,
    rows: int = ROWS,
    max_bytes: int = BATCH_BYTES,
) -> Iterator[pa.RecordBatch]:
    """Reads a shard in batches of list columns, in the order of its rows.

    No batch crosses the end of a row group, so equal files give equal batches.

    Args:
        shard: A shard, or the location of a file.
        columns: Only these, in this order; all if not given.
        rows: Most rows of a batch.
        max_bytes: About how many bytes of a batch, by what the file says of its size.

    Raises:
        DamagedShardError: The file is not as it was written, or lacks a column.
    """
    piece = shard if isinstance(shard, Shard) else Shard(str(shard))
    wanted = list(columns) if columns is not None else None
    with _opened(piece.file) as file:
        _expect_columns(piece.file, file.schema_arrow, wanted or [])
        end = file.num_row_groups if piece.end is None else piece.end
        try:
            for group in range(piece.first, end):
                about = file.metadata.row_group(group)
                most = _rows_in(about, rows, max_bytes)
                # Workers read several shards at once; threads in each gain nothing.
                for batch in file.iter_batches(
                    most, [group], wanted, use_threads=False
                ):
                    yield batch.select(wanted) if wanted is not None else batch
        except (pa.ArrowException, OSError) as error:
            raise _damaged(piece.file, error) from error


def read_table(
    shards: Sequence[Shard], columns: Sequence[str] | None = None
) -> pa.Table:
    """Reads whole shards into memory; only for data that is known to be small."""
    schema = schema_of(shards)
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    batches = [b for shard in shards for b in read_batches(shard, columns=columns)]
    return pa.Table.from_batches(batches, schema)


def sample(
    shards: Sequence[Shard], rows: int, *, seed: int = 1, max_pieces: int = 20
) -> pa.RecordBatch:
    """Reads a random sample of rows, of few row groups.

    Args:
        shards: Files with the same columns.
        rows: Most rows.
        seed: The same gives the same rows.
        max_pieces: Row groups that are read if there are more rows than wanted.

    Returns:
        The rows in the order of the shards, all of them if there are no more.
    """
    chance = np.random.default_rng(seed)
    pieces = [piece for piece in split_up(shards, rows=1) if piece.rows]
    if count_rows(pieces) > rows and len(pieces) > max_pieces:
        chosen = chance.choice(len(pieces), max_pieces, replace=False)
        pieces = [pieces[place] for place in sorted(chosen)]
    table = read_table(pieces) if pieces else schema_of(shards).empty_table()
    if table.num_rows > rows:
        places = np.sort(chance.choice(table.num_rows, rows, replace=False))
        table = table.take(places)
    (batch,) = table.combine_chunks().to_batches() or [
        pa.RecordBatch.from_pylist([], table.schema)
    ]
    return batch


class ShardWriter(AbstractContextManager["ShardWriter"]):
    """Writes a shard, which appears under its name when it is complete.

    Rows wait in memory until they fill a row group, so row groups don't depend on how
    many rows come at a time.
    """

    def __init__(
        self,
        location: Location,
        schema: pa.Schema,
        *,
        rows: int = ROWS,
        max_bytes: int = BATCH_BYTES,
    ) -> None:
        """Opens it.

        Args:
            location: Name of the file.
            schema: Its columns; scalars become lists.
            rows: Most rows of a row group.
            max_bytes: Most bytes of a row group, in memory.
        """
        self._schema = wrap_batch(pa.RecordBatch.from_pylist([], schema)).schema
        self._rows, self._bytes = rows, max_bytes
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._created = files.created(location)
        self._stream = self._created.__enter__()
        # Lists of "item", as TFX reads them; Parquet's own name would be "element".
        self._file = parquet.ParquetWriter(
            self._stream,
            self._schema,
            compression="zstd",
            compression_level=_LEVEL,
            use_compliant_nested_type=False,
            write_page_checksum=True,
        )
        self.written = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows; scalar columns become lists."""
        batch = wrap_batch(batch)
        self.written += batch.num_rows
        while batch.num_rows:
            # One row at least, even if it alone is larger than a row group may be.
            room = max(self._fitting(batch), 0 if self._waiting else 1)
            if not room:
                self._flush()
                continue
            self._take(batch.slice(0, room))
            batch = batch.slice(room)

    def _fitting(self, batch: pa.RecordBatch) -> int:
        """Returns how many rows of a batch the row group still has room for."""
        each = max(1, batch.nbytes // batch.num_rows)
        by_bytes = (self._bytes - self._waiting_bytes) // each
        return int(min(batch.num_rows, self._rows - self._waiting_rows, by_bytes))

    def _take(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += batch.nbytes
        if self._waiting_rows >= self._rows or self._waiting_bytes >= self._bytes:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._file.write_table(table, row_group_size=max(1, self._waiting_rows))
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Completes the file, or removes it after an error."""
        try:
            if error is None:
                self._flush()
            self._file.close()
        finally:
            self._created.__exit__(kind, error, traceback)

    def __enter__(self) -> Self:
        """Returns the writer."""
        return self


def _opened(location: str) -> parquet.ParquetFile:
    system, path = files.resolve(location)
    try:
        source = system.open_input_file(path)
        return parquet.ParquetFile(source, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(location, error) from error


def _damaged(location: str, error: Exception) -> DamagedShardError:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return DamagedShardError(location, said.rstrip("."))


def _expect_columns(location: str, schema: pa.Schema, wanted: Sequence[str]) -> None:
    absent = [name for name in wanted if name not in schema.names]
    if absent:
        how = f"it has no column {', '.join(absent)}; it has {', '.join(schema.names)}"
        raise DamagedShardError(location, how)


def _difference(schema: pa.Schema, expected: pa.Schema, first: str) -> str:
    ours, theirs = _described(schema), _described(expected)
    if ours == theirs:
        return f"its columns are in another order than those of {first}"
    more, less = sorted(ours - theirs), sorted(theirs - ours)
    parts = [
        f"it has {', '.join(more)}" if more else "",
        f"it lacks {', '.join(less)}" if less else "",
    ]
    return f"{' and '.join(filter(None, parts))}, unlike {first}"


def _described(schema: pa.Schema) -> set[str]:
    return {f"{field.name} ({item_type(field.type)})" for field in schema}


def _pieces(shard: Shard, rows: int) -> Iterator[Shard]:
    with _opened(shard.file) as file:
        groups = [
            file.metadata.row_group(group).num_rows
            for group in range(file.num_row_groups)
        ]
    end = len(groups) if shard.end is None else shard.end
    start, held = shard.first, 0
    for group in range(shard.first, end):
        held += groups[group]
        if held >= rows or group == end - 1:
            yield Shard(shard.file, start, group + 1, held)
            start, held = group + 1, 0


def _rows_in(about: parquet.RowGroupMetaData, rows: int, max_bytes: int) -> int:
    # By the file's uncompressed size; Arrow can't tell before it has decoded them.
    each = max(1, about.total_byte_size // max(1, about.num_rows))
    return int(max(1, min(rows, max_bytes // each)))
