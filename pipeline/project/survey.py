"""Looks at all rows of data, in bounded memory, with ingestion's own readers."""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from models.declarations import AnyLabel
from pipeline.columnar import lists
from pipeline.columnar.engine import Workers, in_order
from pipeline.errors import DataRefusedError, nearest
from pipeline.ingestion import columns, plan, source, writing
from pipeline.ingestion.columns import Kinds
from pipeline.ingestion.source import Source
from pipeline.ingestion.spans import files_of
from pipeline.trust import labels, profile
from pipeline.trust.profile import POINTS, Ints, Profile

SHOWN_ROWS = 3
"""Rows that are kept as they are, for the project's tests."""

DATE = r"^\s*\d{4}[-/]\d{2}[-/]\d{2}([ T]\d{2}:\d{2}(:\d{2}.*)?)?\s*$"
"""What `models.times` reads."""

OTHER_DATE = r"^\s*\d{1,2}[./-]\d{1,2}[./-]\d{2}(\d{2})?\b.*$"
"""Dates that `models.times` doesn't read, since day and month can't be told apart."""

# An id such as T-1017 is one word, whatever its parts.
_WORD = re.compile(r"\S*[^\W\d_]\S*")
_MANY = 0.99


@dataclass(frozen=True)
class Column:
    """What was found of one column.

    Attributes:
        name: Its name.
        kind: INT, FLOAT or BYTES.
        rows: Number of rows.
        missing: Number of rows without a value.
        values: Distinct values, ascending, as far as they are counted apart.
        counts: Rows of each.
        complete: Whether all distinct values are there.
        is_list: Whether a row may hold several values.
        grows: Whether each value is larger than the one of the row before.
    """

    name: str
    kind: columns.Kind
    rows: int
    missing: int
    values: Sequence[Any]
    counts: Sequence[int]
    complete: bool
    is_list: bool
    grows: bool

    @property
    def present(self) -> int:
        """Number of rows with a value."""
        return self.rows - self.missing

    @property
    def share_missing(self) -> float:
        """Share of the rows without a value, 0 to 1."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return self.kind != "BYTES"

    @property
    def is_whole(self) -> bool:
        """Whether all its numbers are whole."""
        return self.is_number and all(float(v).is_integer() for v in self.values)

    @functools.cached_property
    def is_date(self) -> bool:
        """Whether practically all its texts are dates or times."""
        return self._share_like(DATE) >= _MANY

    @functools.cached_property
    def is_other_date(self) -> bool:
        """Whether practically all its texts are dates in a form that isn't read."""
        return self._share_like(OTHER_DATE) >= _MANY

    def _share_like(self, pattern: str) -> float:
        if self.is_number or not self.values:
            return 0.0
        found = [bool(re.match(pattern, str(value))) for value in self.values]
        return float(np.average(found, weights=self.counts))

    @functools.cached_property
    def words(self) -> float:
        """Mean number of words in a text."""
        found = [len(_WORD.findall(str(value))) for value in self.values]
        return float(np.average(found, weights=self.counts)) if found else 0.0

    def quantile(self, share: float) -> float:
        """Returns the number below which a share of the values is, 0 to 1."""
        totals = np.cumsum(self.counts)
        at = int(np.searchsorted(totals, share * totals[-1]))
        return float(self.values[min(at, len(self.values) - 1)])


@dataclass(frozen=True)
class Survey:
    """What was found of all files.

    Attributes:
        files: The files, with their columns.
        columns: What was found of each column, by name, in the files' order.
        rows: Number of rows that can be read.
        rejected: Number of rows that don't fit.
        first: The first rows, as they would be in a request; None where missing.
        profile: What the data gate keeps of the rows.
    """

    files: tuple[Source, ...]
    columns: Mapping[str, Column]
    rows: int
    rejected: int
    first: Sequence[Mapping[str, Any]]
    profile: Profile

    @property
    def kinds(self) -> Kinds:
        """Type of each column."""
        return {name: column.kind for name, column in self.columns.items()}

    def column(self, name: str, flag: str) -> Column:
        """Returns a column that a flag names.

        Raises:
            DataRefusedError: There is none; gives the nearest.
        """
        if name not in self.columns:
            raise DataRefusedError(
                f"{flag} is {name!r}, which is no column of {self.files[0].path}; "
                f"{nearest(name, list(self.columns))}"
            )
        return self.columns[name]


def survey(data: Path, pattern: str, encoding: str) -> Survey:
    """Reads all files twice: for their types, and for their values.

    Args:
        data: Directory of the files.
        pattern: Which of its files.
        encoding: Of text files.

    Raises:
        DataRefusedError: There are no files or rows, a file can't be read, or headers
            differ.
    """
    if not data.is_dir():
        raise DataRefusedError(
            f"data is {data}, which is no directory; put the files into one"
        )
    files = [source.look_at(path, encoding) for path in files_of(data, pattern)]
    if not files:
        raise DataRefusedError(f"no file in {data} matches {pattern!r}")
    source.check_headers(files, None)
    kinds = columns.widest(kinds for _, kinds in _each(writing.kinds_in, files))
    found = _Found(kinds)
    parse = functools.partial(writing.parse, kinds=kinds)
    for count, rows in _each(parse, files):
        found.add(count, rows.batch)
    if not found.rows:
        raise DataRefusedError(f"{data} has no rows that can be read; it needs some")
    return found.survey(files, _list_columns(files))


def labelled(found: Survey, label: AnyLabel) -> Profile:
    """Profiles all rows once more, with their labels.

    Args:
        found: The survey.
        label: The declaration; its default policy decides which labels are known.
    """
    parse = functools.partial(writing.parse, kinds=found.kinds)
    parts: list[Profile] = []
    for _, rows in _each(parse, found.files):
        known, positive = labels.label_of("", rows.batch, label)
        parts.append(profile.of_batch(rows.batch, known, positive))
        parts = [profile.merged(parts)]
    return parts[0]


def _each(work: Callable[..., Any], files: Sequence[Source]) -> Iterator[Any]:
    """Yields what a function makes of each section of the files, in their order."""
    sections = (raw for file in files for raw in writing.sections(plan.whole(file)))
    yield from in_order(work, sections, Workers())


def _list_columns(files: Sequence[Source]) -> set[str]:
    return {
        field.name
        for file in files
        if file.kind == "parquet"
        for field in parquet.read_schema(file.path)
        if lists.is_list(field.type)
    }


class _Found:
    """Adds batches up."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self.rows = self.rejected = 0
        self._profiles: list[Profile] = []
        self._first: list[Mapping[str, Any]] = []
        self._growing: dict[str, Any] = dict.fromkeys(kinds)

    def add(self, read: int, batch: pa.RecordBatch) -> None:
        """Adds the rows of a section that fit, of so many that were read."""
        self.rejected += read - batch.num_rows
        if not batch.num_rows:
            return
        self.rows += batch.num_rows
        nothing: Ints = np.zeros(batch.num_rows, np.int64)
        self._profiles.append(profile.of_batch(batch, nothing, nothing))
        self._profiles = [profile.merged(self._profiles)]
        missing = SHOWN_ROWS - len(self._first)
        self._first += [_as_sent(row) for row in batch.slice(0, missing).to_pylist()]
        for name in list(self._growing):
            self._grow(name, lists.unwrap(batch.column(name)).drop_null())

    def _grow(self, name: str, values: pa.Array) -> None:
        """Forgets a column as growing at the first value that isn't larger."""
        if not len(values):
            return
        before = self._growing[name]
        rising = pc.all(pc.greater(values[1:], values[:-1])).as_py() is not False
        if not rising or (before is not None and values[0].as_py() <= before):
            del self._growing[name]
        else:
            self._growing[name] = values[-1].as_py()

    def survey(self, files: Sequence[Source], of_lists: set[str]) -> Survey:
        """Returns all that was found."""
        (total,) = self._profiles
        found = {
            name: Column(
                name,
                self.kinds[name],
                total.rows,
                column.missing,
                column.values.tolist(),
                column.counts[:, 0].tolist(),
                complete=not column.other.any() and len(column.values) < POINTS,
                is_list=name in of_lists,
                grows=name in self._growing,
            )
            for name, column in total.columns.items()
        }
        ordered = {name: found[name] for name in files[0].names}
        return Survey(
            tuple(files), ordered, total.rows, self.rejected, self._first, total
        )


def _as_sent(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    # The shortest text that is the same number of 32 bits.
    return float(str(np.float32(value))) if isinstance(value, float) else value
