"""Writes shards: a Parquet file per split, and the rejected rows next to them.

Reading and typing the next stretch goes on while the last one is compressed.
"""

import contextlib
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.columnar import files, progress
from pipeline.columnar.engine import Workers, in_order
from pipeline.columnar.files import Location
from pipeline.columnar.lists import wrap_batch
from pipeline.columnar.shards import SUFFIX, ShardWriter
from pipeline.errors import DataRefusedError
from pipeline.ingestion import columns, reading, source
from pipeline.ingestion.columns import Kind, Kinds
from pipeline.ingestion.plan import Piece, stretches
from pipeline.ingestion.quarantine import ROWS_PREFIX, Rejected, Tally
from pipeline.ingestion.reading import Rows
from pipeline.ingestion.records import Records
from pipeline.ingestion.splitting import SplitRule

_PARQUET_ROWS = 1 << 15


@dataclass(frozen=True)
class Job:
    """How rows are split, and where each shard's files are.

    Attributes:
        rule: Which split a row is in.
        directories: Where each split's files go.
        quarantine: Where rows that don't fit go.
        shards: How many shards there are.
    """

    rule: SplitRule
    directories: Mapping[str, Location]
    quarantine: Location
    shards: int

    def file_of(self, split: str, number: int) -> str:
        """Names the Parquet file of a shard in a split."""
        name = f"data-{number:05d}-of-{self.shards:05d}{SUFFIX}"
        return files.join(self.directories[split], name)

    def rejected_of(self, number: int) -> str:
        """Names the file of a shard's rejected rows."""
        name = f"{ROWS_PREFIX}{number:05d}-of-{self.shards:05d}.jsonl"
        return files.join(self.quarantine, name)

    def tally_of(self, number: int) -> str:
        """Names the file of a shard's counts, until all shards are summed."""
        return files.join(self.quarantine, f".counts-{number:05d}")

    def kinds_of(self, number: int) -> str:
        """Names the file of a shard's column types, until all shards are merged."""
        return files.join(self.quarantine, f".kinds-{number:05d}")

    def trouble_of(self, number: int) -> str:
        """Names the file with the error of a shard that can't be read."""
        return files.join(self.quarantine, f".trouble-{number:05d}")


@dataclass(frozen=True)
class _Ready:
    """A stretch of data, ready to be written."""

    read: int
    batches: Mapping[str, pa.RecordBatch]
    rejected: tuple[Rejected, ...]


def write_shard(numbered: tuple[int, Sequence[Piece]], kinds: Kinds, job: Job) -> None:
    """Writes a shard's rows, its rejected rows and its counts.

    A file that can't be read is told in a file too: an engine would wrap the error.

    Args:
        numbered: The shard's number, and its pieces.
        kinds: What each column is to be, in the order in which they are written.
        job: Where to.
    """
    number, pieces = numbered
    try:
        tally = _write(number, pieces, kinds, job)
    except DataRefusedError as error:
        files.write_text(job.trouble_of(number), str(error))
    else:
        files.write_text(job.tally_of(number), tally.to_json())


def note_kinds(numbered: tuple[int, Sequence[Piece]], job: Job) -> None:
    """Stores the narrowest type that holds a shard's values, by column.

    What can't be read at all is told when it is written.

    Args:
        numbered: The shard's number, and its pieces.
        job: Where to.
    """
    number, pieces = numbered
    found: list[Kinds] = []
    # Types are still needed for the rest; `write_shard` reports the same error.
    with contextlib.suppress(DataRefusedError):
        for piece in pieces:
            for count, kinds in in_order(kinds_in, sections(piece), Workers()):
                found.append(kinds)
                progress.advance(count)
    names = pieces[0].source.names
    widest = columns.widest([dict.fromkeys(names, columns.NARROWEST), *found])
    files.write_text(job.kinds_of(number), json.dumps(widest))


def noted_kinds(job: Job) -> dict[str, Kind]:
    """Merges the column types that shards have stored."""
    noted = [job.kinds_of(number) for number in range(job.shards)]
    kinds = columns.widest(json.loads(files.read_text(file)) for file in noted)
    for file in noted:
        files.remove(file)
    return kinds


def added_up(job: Job) -> Tally:
    """Sums the counts of all shards.

    Raises:
        DataRefusedError: What the first of them said that couldn't be read.
    """
    for number in range(job.shards):
        trouble = job.trouble_of(number)
        if files.exists(trouble):
            raise DataRefusedError(files.read_text(trouble))
    total = Tally()
    for number in range(job.shards):
        file = job.tally_of(number)
        total.add(Tally.from_json(files.read_text(file)))
        files.remove(file)
    return total


def _write(number: int, pieces: Sequence[Piece], kinds: Kinds, job: Job) -> Tally:
    tally = Tally()
    there = pieces[0].source.names
    # A schema may describe columns that the data needn't have.
    written = {name: kinds[name] for name in kinds if name in there}
    schema = pa.schema([(n, columns.WRITTEN[kind]) for n, kind in written.items()])
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(ShardWriter(job.file_of(split, number), schema))
            for split in job.directories
        }
        refuge = Lines(job.rejected_of(number), stack)
        for piece in pieces:
            divide = functools.partial(_divided, kinds=written, rule=job.rule)
            name = str(piece.source.path)
            for ready in in_order(divide, sections(piece), Workers()):
                tally.read[name] += ready.read
                for split, batch in ready.batches.items():
                    writers[split].write(batch)
                    tally.written[split] += batch.num_rows
                tally.note(ready.rejected)
                # At once: a file may hold more bad rows than memory does.
                refuge.write(row.to_json() for row in ready.rejected)
                progress.advance(ready.read)
            tally.read.setdefault(name, 0)
    return tally


Raw = tuple[Piece, Records | tuple[pa.RecordBatch, int]]


def sections(piece: Piece) -> Iterator[Raw]:
    """Reads a piece in sections of bounded size, with row numbers for Parquet."""
    if piece.source.kind != "parquet":
        for records in stretches(piece):
            yield piece, records
        return
    row = piece.first
    try:
        file = source.opened_parquet(piece.source.path)
        groups = list(range(piece.start, piece.end or file.num_row_groups))
        for batch in file.iter_batches(
            _PARQUET_ROWS, groups, list(piece.source.names), use_threads=False
        ):
            yield piece, (batch, row)
            row += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        said = source.unread_parquet(piece.source.path, error)
        raise DataRefusedError(said) from error


def parse(raw: Raw, kinds: Kinds) -> tuple[int, Rows]:
    """Parses a section; returns its number of rows and the rows that fit."""
    piece, found = raw
    name = str(piece.source.path)
    if isinstance(found, Records):
        return len(found), reading.read_text(
            name, found, piece.source.names, kinds, piece.source.encoding
        )
    batch, row = found
    return batch.num_rows, reading.read_table(name, batch, row, kinds)


def kinds_in(raw: Raw) -> tuple[int, dict[str, Kind]]:
    """Returns how many rows a stretch has, and the narrowest type of each column."""
    piece, found = raw
    if isinstance(found, Records):
        names = piece.source.names
        good = reading.well_formed(found, names, piece.source.encoding)
        count, batch = len(found), reading.as_texts(good, names)
    else:
        batch = found[0]
        count = batch.num_rows
    return count, {
        name: columns.narrowest(columns.plain(column))
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }


def _divided(raw: Raw, kinds: Kinds, rule: SplitRule) -> _Ready:
    count, rows = parse(raw, kinds)
    # After the types: a split is decided by values, not by how they are written.
    splits, wrong = rule.split_of(rows.batch)
    splits = np.delete(splits, list(wrong))
    rows = rows.without(wrong)
    batch = wrap_batch(rows.batch.select(list(kinds)))
    batches = {
        name: batch.filter(pa.array(splits == index))
        for index, name in enumerate(rule.names)
    }
    return _Ready(count, batches, rows.rejected)


class Lines:
    """A text file that is created with its first line."""

    def __init__(self, location: str, stack: ExitStack) -> None:
        files.remove(location)
        self._location, self._stack = location, stack
        self._file: pa.NativeFile | None = None

    def write(self, lines: Iterable[str]) -> None:
        """Appends lines."""
        for line in lines:
            if self._file is None:
                opening = files.created(self._location)
                self._file = self._stack.enter_context(opening)
            self._file.write(f"{line}\n".encode())
