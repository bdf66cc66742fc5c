"""Rows that don't fit: their records, counts and messages.

They are neither dropped nor used for training: each becomes a line of JSON in an
artifact of its own, next to the examples.
"""

import base64
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.columnar import files
from pipeline.columnar.files import Location

COUNTS_FILE = "counts.json"
ROWS_PREFIX = "rows-"
_SHOWN = 5


@dataclass(frozen=True)
class Rejected:
    """A row that doesn't fit.

    Attributes:
        file: Path of its file.
        line: Number of its first line, from 1; in a Parquet file, of the row.
        column: The column with the invalid value; `None` if the whole row is malformed.
        reason: What is wrong and what to do; a sentence without the full stop.
        raw: Its bytes without the line end; for Parquet, its values as JSON.
    """

    file: str
    line: int
    column: str | None
    reason: str
    raw: bytes

    @property
    def place(self) -> str:
        """File, line and column in the form of error messages."""
        column = "" if self.column is None else f", column {self.column!r}"
        what = "row" if self.file.endswith(".parquet") else "line"
        return f"{self.file}, {what} {self.line}{column}"

    def to_json(self) -> str:
        """Formats it as one line of JSON, with base64 if the text is not UTF-8."""
        entry: dict[str, Any] = {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "reason": self.reason,
            "text": self.raw.decode("utf-8", "backslashreplace"),
        }
        try:
            self.raw.decode("utf-8")
        except UnicodeDecodeError:
            entry["base64"] = base64.b64encode(self.raw).decode()
        return json.dumps(entry, ensure_ascii=False)


@dataclass
class Tally:
    """Counts of rows, of one shard or of all.

    Attributes:
        read: Rows read by file, counted before any processing.
        written: Rows written by split.
        quarantined: Rows that don't fit, by file.
        reasons: Rows that don't fit, by kind; see `kind_of`.
        first: The first few rejected rows, as `place: reason`.
    """

    read: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)

    def note(self, rejected: Iterable[Rejected]) -> None:
        """Adds rows that don't fit."""
        for row in rejected:
            self.quarantined[row.file] += 1
            self.reasons[kind_of(row)] += 1
            if len(self.first) < _SHOWN:
                self.first.append(f"{row.place}: {row.reason}")

    def add(self, other: "Tally") -> None:
        """Adds the counts of a later part of the data."""
        for mine, theirs in (
            (self.read, other.read),
            (self.written, other.written),
            (self.quarantined, other.quarantined),
            (self.reasons, other.reasons),
        ):
            mine.update(theirs)
        self.first = [*self.first, *other.first][:_SHOWN]

    @property
    def rows(self) -> int:
        """Number of all rows read."""
        return self.read.total()

    @property
    def share(self) -> float:
        """Share of the rows that don't fit, 0 to 1."""
        return self.quarantined.total() / self.rows if self.rows else 0.0

    def to_json(self) -> str:
        """Formats it as the artifact's counts.json."""
        return json.dumps(vars(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Tally":
        """Parses the JSON of `to_json`."""
        found = json.loads(text)
        first = found.pop("first")
        return cls(
            **{name: Counter(value) for name, value in found.items()}, first=first
        )


def kind_of(row: Rejected) -> str:
    """Classifies a rejected row by column and reason, without the value.

    Returns:
        A kind such as `fare: not a number` or `wrong number of fields`.
    """
    said = row.reason.partition(";")[0]
    for kind in _KINDS:
        if kind in said:
            said = _KINDS[kind]
            break
    return said if row.column is None else f"{row.column}: {said}"


# Substrings of reasons, and the kind that each stands for.
_KINDS: Mapping[str, str] = {
    "is not written as a whole number": "not written as a whole number",
    "is not a whole number": "not a whole number",
    "is not finite": "not finite",
    "is not a number": "not a number",
    "is not a date": "not a date",
    "where the header has": "wrong number of fields",
    "NUL byte": "a NUL byte",
    "the byte 0x": "not of the encoding",
}


def read_rows(directory: Location) -> Iterator[dict[str, Any]]:
    """Yields the rows of a Quarantine artifact, in the order of the data.

    Args:
        directory: Directory of the artifact.

    Yields:
        `file`, `line`, `column`, `reason`, `text`, and `base64` if it is not UTF-8.
    """
    for file in files.listed(directory):
        if files.name_of(file).startswith(ROWS_PREFIX):
            with io.TextIOWrapper(files.opened(file), encoding="utf-8") as lines:
                yield from map(json.loads, lines)


def read_tally(directory: Location) -> Tally:
    """Reads the counts of a Quarantine artifact from its directory."""
    return Tally.from_json(files.read_text(files.join(directory, COUNTS_FILE)))


def refusal(tally: Tally, most: float) -> str:
    """Formats the error that too many rows don't fit: examples, counts, advice.

    Args:
        tally: The counts.
        most: The allowed share, 0 to 1.
    """
    count = tally.quarantined.total()
    allowed = f"at most {most:.4g} of them may" if most else "none may"
    return "\n".join(
        [
            f"{count:,} of {tally.rows:,} rows don't fit, and {allowed}:",
            *(f"  {line}" for line in tally.first),
            *_more(count - len(tally.first), tally.reasons),
            (
                "Fix the data, or let more rows go to quarantine with "
                "--gate.max-quarantined."
            ),
        ]
    )


def _more(count: int, reasons: Mapping[str, int]) -> list[str]:
    if count <= 0:
        return []
    shown = Counter(reasons).most_common(_SHOWN)
    listed = ", ".join(f"{reason} ({times:,})" for reason, times in shown)
    return [f"  … and {count:,} more. In all: {listed}"]
