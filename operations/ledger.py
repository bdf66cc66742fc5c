"""The ledger of a model's labels: every outcome that was added, with its status.

One Parquet file per outcome file, `NNNNNN-<digest>.parquet`, in the order in which they
were added. A file begins as `.pending-…`, which has all that the training data gets;
once that is written, it is renamed. So a kill leaves either nothing or a pending file
that the next call completes, and rows reach the training data once.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from operations.joining import Status
from operations.requests import (
    PREDICTION,
    REQUEST_ID,
    ROW,
    SCORES,
    TIME_TYPE,
    VERSION,
)
from pipeline.columnar import files
from pipeline.errors import ThroughlineError, UsageError
from pipeline.store import durable, locks

STATUS = "status"
REQUEST_TIME = "request_time"
SPAN_ROW = "span_row"
"""Number of a joined row in the file of its span, from 0."""
CONTENT = "content"
DATA = "data."
"""Prefix of the columns that a joined row has in the training data."""
VALUE = "value."
"""Prefix of the columns of the outcome file."""

FIXED: Mapping[str, pa.DataType] = {
    STATUS: pa.string(),
    REQUEST_ID: pa.string(),
    ROW: pa.int32(),
    REQUEST_TIME: TIME_TYPE,
    VERSION: pa.int64(),
    PREDICTION: pa.float64(),
    SCORES: pa.list_(pa.float64()),
    "line": pa.int64(),
    "label_time": TIME_TYPE,
    "event_time": TIME_TYPE,
    SPAN_ROW: pa.int64(),
    CONTENT: pa.string(),
}
"""Columns that every ledger file has, with their types."""

ROWS = 50_000
"""Most rows of a batch and of a row group."""

_PENDING = ".pending-"
_ABOUT = b"throughline"
_NAME = re.compile(r"(?:\.pending-)?(?P<number>[0-9]{6,})-(?P<digest>[0-9a-f]{12})")


@dataclass(frozen=True)
class About:
    """What is known of an outcome file that was added.

    Attributes:
        source: Its path.
        digest: The first 12 digits of its SHA-256.
        added: When it was added, ISO 8601 in UTC.
        counts: Its rows, by status.
        data: The training data's directory, absolute.
        span: Number of the span that its joined rows became; 0 if none was joined.
        path: The span's file, relative to `data`; empty if none was joined.
        notes: What else there is to know, as sentences.
    """

    source: str
    digest: str
    added: str
    counts: Mapping[str, int]
    data: str = ""
    span: int = 0
    path: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def joined(self) -> int:
        """Number of rows that became training data."""
        return self.counts.get(Status.JOINED, 0)


@dataclass(frozen=True)
class Entry:
    """A file of the ledger.

    Attributes:
        path: The file.
        number: Its place in the order.
        about: What is known of it.
    """

    path: Path
    number: int
    about: About

    @property
    def is_pending(self) -> bool:
        """Whether its rows may not be in the training data yet."""
        return self.path.name.startswith(_PENDING)

    def read(self) -> pa.Table:
        """Reads it whole."""
        return parquet.read_table(self.path)

    def names(self) -> list[str]:
        """Returns the names of its columns."""
        return list(parquet.read_schema(self.path).names)


@dataclass(frozen=True)
class Ledger:
    """The labels of a model.

    Attributes:
        directory: Directory of its files.
    """

    directory: Path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from adding labels during the block.

        Raises:
            UsageError: Another process is adding some.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            with locks.exclusive(self.directory / ".lock"):
                yield
        except BlockingIOError:
            raise UsageError(
                f"another process is adding labels to {self.directory}; wait for it"
            ) from None

    def entries(self) -> list[Entry]:
        """Returns all files, oldest first; a pending one is the last.

        Raises:
            ThroughlineError: A file is damaged; the message names it.
        """
        found = [*self.directory.glob("[0-9]*.parquet")]
        found += self.directory.glob(f"{_PENDING}*.parquet")
        entries = [_entry(path) for path in found if _NAME.match(path.name)]
        return sorted(entries, key=lambda entry: entry.number)

    def find(self, digest: str) -> Entry | None:
        """Returns the entry of an outcome file, by its contents."""
        return next((e for e in self.entries() if e.about.digest == digest), None)

    def write_pending(self, table: pa.Table, about: About) -> Entry:
        """Writes a pending file, durably.

        Args:
            table: The outcomes, with `FIXED`, `VALUE` and `DATA` columns.
            about: What is known of them.
        """
        number = max((entry.number for entry in self.entries()), default=0) + 1
        name = f"{_PENDING}{number:06d}-{about.digest}.parquet"
        return self._write(self.directory / name, number, table, about)

    def replaced(self, entry: Entry, about: About) -> Entry:
        """Replaces what is known of a pending file, such as its span."""
        return self._write(entry.path, entry.number, entry.read(), about)

    def _write(self, path: Path, number: int, table: pa.Table, about: About) -> Entry:
        noted = table.replace_schema_metadata({_ABOUT: json.dumps(asdict(about))})
        with files.created(path) as stream:
            parquet.write_table(noted, stream, ROWS, compression="zstd")
        durable.force_to_disk(path)
        durable.force_to_disk(path.parent)
        return Entry(path, number, about)

    def commit(self, entry: Entry) -> Entry:
        """Renames a pending file once its rows are in the training data."""
        path = entry.path.with_name(entry.path.name.removeprefix(_PENDING))
        entry.path.rename(path)
        durable.force_to_disk(path.parent)
        return Entry(path, entry.number, entry.about)

    def rows(
        self, statuses: Collection[Status], names: Collection[str]
    ) -> Iterator[pa.RecordBatch]:
        """Reads the outcomes of some statuses in bounded batches, oldest file first.

        Args:
            statuses: The statuses.
            names: The columns; one that a file lacks is null.
        """
        for entry in self.entries():
            yield from self.rows_of(entry, statuses, names)

    def rows_of(
        self, entry: Entry, statuses: Collection[Status], names: Collection[str]
    ) -> Iterator[pa.RecordBatch]:
        """Reads the outcomes of one file; see `rows`."""
        wanted = pa.array([status.value for status in statuses])
        with parquet.ParquetFile(entry.path) as file:
            there = [n for n in names if n in file.schema_arrow.names]
            for batch in file.iter_batches(ROWS, columns=[STATUS, *there]):
                kept = batch.filter(pc.is_in(batch.column(STATUS), wanted))
                if kept.num_rows:
                    yield _completed(kept, names)


def _completed(batch: pa.RecordBatch, names: Collection[str]) -> pa.RecordBatch:
    there = batch.schema.names
    arrays = [
        batch.column(name)
        if name in there
        else pa.nulls(batch.num_rows, FIXED.get(name, pa.null()))
        for name in names
    ]
    return pa.RecordBatch.from_arrays(arrays, list(names))


def _entry(path: Path) -> Entry:
    try:
        values = json.loads(parquet.read_schema(path).metadata[_ABOUT])
        about = About(**{**values, "notes": tuple(values["notes"])})
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
        raise ThroughlineError(
            f"{path} is damaged: {str(error).splitlines()[0]}; restore it from a "
            "backup, or move it away: its labels would then be joined again"
        ) from error
    match = _NAME.match(path.name)
    assert match is not None  # noqa: S101 - the caller has matched it
    return Entry(path, int(match["number"]), about)
