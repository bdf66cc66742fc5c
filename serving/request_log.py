"""The request log: its columns, its files, and reading them. Imports no TensorFlow.

    output/requests/<model>/journals/<time>-<writer>.jsonl         being written
    output/requests/<model>/segments/<date>/<time>-<writer>.parquet   complete
    output/requests/<model>/shadow/                                a shadow's answers

A server appends to a journal (`serving.journal`), which it holds locked. A journal
whose lock is free is complete, or its writer is dead: `close_journals` converts it to
a segment, which appears by a rename, and deletes the journal afterwards. A kill in
between leaves both, and the next call writes the same segment again, under the same
name.

`shadow/` has journals and segments of the same form, without features: what an earlier
version answered to requests of the log (`serving.shadow`), with the same request ids.
It is a log of its own, so that no reader of the log takes it for answers that clients
got.

A segment has one row per predicted example, and one row for a request that failed:
its `row`, features and prediction are null, and its `status` is not "OK".
"""

import fcntl
import itertools
import json
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset, parquet

from pipeline.errors import ThroughlineError
from pipeline.store import durable

_LOG = logging.getLogger(__name__)

FORMAT = 1
OK = "OK"
"""The status of an answered request; others are gRPC's names, such as UNAVAILABLE."""
FEATURE_PREFIX = "features."
JOURNALS = "journals"
SEGMENTS = "segments"
JOURNAL_SUFFIX = ".jsonl"
SHADOW = "shadow"
"""The directory, in that of a log, of the log of shadow answers."""

REQUEST_ID, ROW, TIME, VERSION = "request_id", "row", "time", "version"
SIGNATURE, PREDICTION, SCORES = "signature", "prediction", "scores"
THRESHOLD, LATENCY, STATUS = "threshold", "latency_ms", "status"

_BEFORE_FEATURES = pa.schema(
    [
        (REQUEST_ID, pa.string()),
        (ROW, pa.int32()),
        (TIME, pa.timestamp("us", tz="UTC")),
        (VERSION, pa.int64()),
        (SIGNATURE, pa.string()),
    ]
)
_AFTER_FEATURES = pa.schema(
    [
        (PREDICTION, pa.float64()),
        (SCORES, pa.list_(pa.float64())),
        (THRESHOLD, pa.float64()),
        (LATENCY, pa.float32()),
        (STATUS, pa.string()),
    ]
)
_TYPES = {"INT": pa.int64(), "FLOAT": pa.float64(), "BYTES": pa.string()}
LIST = "[]"
"""Ends the kind of a feature with several values per row, such as "FLOAT[]"."""

# Rows of a row group: what is in memory at once while a journal is converted.
_ROWS_AT_ONCE = 20_000
_NAME = re.compile(r"(?P<time>\d{8}T\d{6}\.\d{6}Z)-(?P<writer>[\w.-]+)")
_NAME_TIME = "%Y%m%dT%H%M%S.%fZ"
# A journal that spans midnight is in the directory of its first day.
_DAYS_AROUND = timedelta(days=1)
_ABANDONED_SECONDS = 60.0
# What Arrow raises for a value that its type doesn't hold.
_UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError)


@dataclass(frozen=True)
class Closed:
    """A journal that became a segment.

    Attributes:
        segment: The segment's file.
        rows: Number of its rows.
        damaged: Lines that could not be read, such as the torn last line of a writer
            that was killed, and rows with a value that their column can't hold.
    """

    segment: Path
    rows: int
    damaged: int


def schema(features: Mapping[str, str]) -> pa.Schema:
    """Returns the columns of a segment.

    Args:
        features: Kind of each raw feature by name: INT, FLOAT or BYTES, with `LIST`
            behind it if a row has several values.
    """
    kinds = [
        pa.field(f"{FEATURE_PREFIX}{name}", _type(kind))
        for name, kind in features.items()
    ]
    return pa.schema([*_BEFORE_FEATURES, *kinds, *_AFTER_FEATURES])


def _type(kind: str) -> pa.DataType:
    one = _TYPES[kind.removesuffix(LIST)]
    return pa.list_(one) if kind.endswith(LIST) else one


def directory_of(output: Path, model: str) -> Path:
    """Returns the directory of a model's request log, absolute."""
    return (output / "requests" / model).absolute()


def name_of(moment: datetime, writer: str) -> str:
    """Returns the name of a journal and of its segment, without an ending."""
    return f"{moment.astimezone(UTC).strftime(_NAME_TIME)}-{writer}"


def time_of(path: Path) -> datetime:
    """Returns when a journal or the journal of a segment was begun, by its name.

    Raises:
        ThroughlineError: The name is not one of a request log's file.
    """
    if found := _NAME.match(path.name):
        return datetime.strptime(found["time"], _NAME_TIME).replace(tzinfo=UTC)
    raise ThroughlineError(
        f"{path} is in a request log and its name has no time, such as "
        f"{name_of(datetime(2026, 1, 2, tzinfo=UTC), 'writer')}; move it elsewhere"
    )


def segments(
    directory: Path, since: datetime | None = None, until: datetime | None = None
) -> list[Path]:
    """Lists the segments that may have rows of a period, oldest first.

    Args:
        directory: The directory of the log, see `directory_of`.
        since: Begin of the period; `None` for the first row.
        until: End of the period; `None` for the last row.
    """
    found = (directory / SEGMENTS).glob("*/*.parquet")
    # A segment is written under a hidden name first.
    visible = (path for path in found if not path.name.startswith("."))
    return sorted(
        (path for path in visible if _may_overlap(path, since, until)),
        key=lambda path: path.name,
    )


def _may_overlap(path: Path, since: datetime | None, until: datetime | None) -> bool:
    # By days only: the exact times are in the files, and a clock may be set back.
    day = date.fromisoformat(path.parent.name)
    too_early = since and day < (since - _DAYS_AROUND).astimezone(UTC).date()
    too_late = until and day > (until + _DAYS_AROUND).astimezone(UTC).date()
    return not (too_early or too_late)


def read(
    directory: Path,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    columns: Sequence[str] | None = None,
    failed: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Reads the rows of a period, in batches.

    What is still in a journal isn't read; it is in a segment after at most the log's
    segment time, or after the next `close_journals` if the server is dead.

    Args:
        directory: The directory of the log, see `directory_of`.
        since: Begin of the period, inclusive; `None` for the first row.
        until: End of the period, exclusive; `None` for the last row.
        columns: The columns to read; all if not given. A feature that a segment's
            model didn't have is null in its rows.
        failed: Whether to include the rows of requests that failed.

    Raises:
        ThroughlineError: A column has types in two segments that don't fit together.
    """
    paths = segments(directory, since, until)
    if not paths:
        return
    source = dataset.dataset(
        [str(path) for path in paths], format="parquet", schema=_united(paths)
    )
    # Batches of whole row groups would be all columns of 20,000 rows, a few of them
    # at once: that is the bound on the memory, however long the period.
    yield from source.to_batches(
        columns=columns, filter=_wanted(since, until, failed=failed), batch_readahead=2
    )


def _united(paths: Iterable[Path]) -> pa.Schema:
    found: list[pa.Schema] = []
    for path in paths:
        one = parquet.read_schema(path).remove_metadata()
        if one not in found:
            found.append(one)
    try:
        return pa.unify_schemas(found, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ThroughlineError(
            "the versions of the period have features of one name and of different "
            f"types: {error}; read a shorter period"
        ) from None


def _wanted(
    since: datetime | None, until: datetime | None, *, failed: bool
) -> pc.Expression | None:
    conditions = [
        since and pc.field(TIME) >= pa.scalar(since, _BEFORE_FEATURES.field(TIME).type),
        until and pc.field(TIME) < pa.scalar(until, _BEFORE_FEATURES.field(TIME).type),
        None if failed else pc.field(STATUS) == OK,
    ]
    found = [each for each in conditions if each is not None]
    both = itertools.accumulate(found, lambda one, other: one & other)
    return list(both)[-1] if found else None


def close_journals(directory: Path) -> list[Closed]:
    """Converts the journals that nobody writes to any more, and deletes them.

    May be called by several processes at once, and by any: a journal is converted by
    the one that gets its lock.

    Args:
        directory: The directory of the log, see `directory_of`.

    Returns:
        The segments, oldest first; a journal without a row makes none.

    Raises:
        OSError: A segment can't be written, as on a full disk; its journal stays.
    """
    closed = []
    for path in sorted((directory / JOURNALS).glob(f"*{JOURNAL_SUFFIX}")):
        if path.name.startswith("."):
            _remove_abandoned(path)
        elif found := _close(directory, path):
            closed.append(found)
    return closed


def _close(directory: Path, path: Path) -> Closed | None:
    try:
        journal = path.open("rb")
    except FileNotFoundError:
        return None  # Another process has converted it since it was listed.
    with journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        if not os.fstat(journal.fileno()).st_nlink:
            return None
        found = _convert(directory, path, journal)
        path.unlink()
    return found


def _convert(directory: Path, path: Path, journal: IO[bytes]) -> Closed | None:
    """Writes the segment of a journal; returns `None` if the journal has no row."""
    lines = _Lines(journal)
    features = lines.header()
    day = time_of(path).date().isoformat()
    segment = directory / SEGMENTS / day / f"{path.stem}.parquet"
    part = segment.with_name(f".{segment.name}")
    segment.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    columns = schema(features)
    try:
        with parquet.ParquetWriter(part, columns, compression="zstd") as writer:
            for batch in _batches(lines, columns):
                writer.write_batch(batch)
                rows += batch.num_rows
        if rows:
            durable.force_to_disk(part)
            part.rename(segment)
            # Before the journal goes: the rename must reach the disk too.
            durable.force_to_disk(segment.parent)
    finally:
        part.unlink(missing_ok=True)
    if lines.damaged:
        _LOG.warning(
            "%s: %d lines or rows can't be read and are left out", path, lines.damaged
        )
    return Closed(segment, rows, lines.damaged) if rows else None


class _Lines:
    """The lines of a journal, and how many of them could not be read."""

    def __init__(self, journal: IO[bytes]) -> None:
        self._journal = journal
        self.damaged = 0

    def header(self) -> Mapping[str, str]:
        """Reads the first line; returns the kinds of the features."""
        found = self._parsed(self._journal.readline())
        features: Mapping[str, str] = found["features"] if found else {}
        return features

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self._journal:
            if found := self._parsed(line):
                yield found

    def _parsed(self, line: bytes) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(line)
        except ValueError:
            self.damaged += 1
            return None
        return found


_Row = tuple[Any, ...]


def _batches(lines: _Lines, columns: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows = itertools.chain.from_iterable(map(_rows_of, lines))
    while chunk := list(itertools.islice(rows, _ROWS_AT_ONCE)):
        try:
            batch = _batch(chunk, columns)
        except _UNFIT:
            # One value that no column holds must not keep the others out for ever.
            fitting = [row for row in chunk if _fits(row, columns)]
            lines.damaged += len(chunk) - len(fitting)
            batch = _batch(fitting, columns)
        yield batch


def _batch(rows: Sequence[_Row], columns: pa.Schema) -> pa.RecordBatch:
    arrays = [
        pa.array([row[position] for row in rows], field.type)
        for position, field in enumerate(columns)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def _fits(row: _Row, columns: pa.Schema) -> bool:
    try:
        _batch([row], columns)
    except _UNFIT:
        return False
    return True


def _rows_of(line: Mapping[str, Any]) -> Iterator[_Row]:
    """Yields the rows of a request, in the order of a segment's columns."""
    begin = (line[TIME], line[VERSION], line[SIGNATURE])
    end = (line[THRESHOLD], line[LATENCY], line[STATUS])
    if not line["rows"]:
        nothing = [None] * line["width"]
        yield (line[REQUEST_ID], None, *begin, *nothing, None, None, *end)
    for number, values in enumerate(line["rows"]):
        answer = line["answers"][number] if line["answers"] else None
        several = isinstance(answer, list)
        scores = (None, answer) if several else (answer, None)
        yield (line[REQUEST_ID], number, *begin, *values, *scores, *end)


def _remove_abandoned(part: Path) -> None:
    """Deletes a journal whose writer died before it had a first line."""
    try:
        if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
            part.unlink()
    except FileNotFoundError:
        pass  # It has got its name in the meantime.


def remove_old(
    directory: Path, now: datetime, days: float | None, megabytes: float | None
) -> list[Path]:
    """Deletes the oldest segments beyond an age or a total size.

    Args:
        directory: The directory of the log, see `directory_of`.
        now: The time to count the age from.
        days: Segments begun earlier than this are deleted; `None` keeps all.
        megabytes: Total size in 10^6 bytes that may stay; `None` is no limit. Journals
            don't count.

    Returns:
        The files that were deleted.
    """
    removed, size = [], 0
    oldest = now - timedelta(days=days) if days is not None else None
    most = megabytes * 1e6 if megabytes is not None else float("inf")
    for path in reversed(segments(directory)):
        size += path.stat().st_size
        if size > most or (oldest and time_of(path) < oldest):
            path.unlink()
            removed.append(path)
    for day in {path.parent for path in removed}:
        if not any(day.iterdir()):
            day.rmdir()
    return removed
