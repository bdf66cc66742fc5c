"""Rows that don't fit: what is kept of them, counted, and said.

They are neither dropped nor learned from. Each is a line of JSON beside the examples,
in an artifact of its own.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COUNTS_FILE = "counts.json"
ROWS_PATTERN = "rows-*.jsonl"
_SHOWN = 5


@dataclass(frozen=True)
class Rejected:
    """A row that doesn't fit.

    Attributes:
        file: The file it stands in.
        line: The line that it begins in, from 1; in a Parquet file, the row.
        column: The column whose value is wrong; none if it is the whole row.
        reason: What is wrong and what to do, in a sentence without its full stop.
        raw: Its bytes, without the line end; of a Parquet row its values as JSON.
    """

    file: str
    line: int
    column: str | None
    reason: str
    raw: bytes

    @property
    def place(self) -> str:
        """Says where it stands, as errors do."""
        column = "" if self.column is None else f", column {self.column!r}"
        what = "row" if self.file.endswith(".parquet") else "line"
        return f"{self.file}, {what} {self.line}{column}"

    def to_json(self) -> str:
        """Writes it in one line; what is not UTF-8 is there in base64 too."""
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
    """How many rows went where, of one shard or of all.

    Attributes:
        read: Rows of each file, counted before anything is done with them.
        written: Rows in each split.
        quarantined: Rows of each file that don't fit.
        reasons: How often each kind of trouble was met: the column, if it is one
            column's, and the reason without the value.
        first: The first few rejected rows, as `place: reason`.
    """

    read: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)

    def note(self, rejected: Iterable[Rejected]) -> None:
        """Counts rows that don't fit."""
        for row in rejected:
            self.quarantined[row.file] += 1
            self.reasons[kind_of(row)] += 1
            if len(self.first) < _SHOWN:
                self.first.append(f"{row.place}: {row.reason}")

    def add(self, other: "Tally") -> None:
        """Adds what another one has counted later in the data."""
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
        """All rows read."""
        return self.read.total()

    @property
    def share(self) -> float:
        """How much of what was read doesn't fit, from 0 to 1."""
        return self.quarantined.total() / self.rows if self.rows else 0.0

    def to_json(self) -> str:
        """Writes it as the artifact's file of counts."""
        return json.dumps(vars(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Tally":
        """Reads what `to_json` wrote."""
        found = json.loads(text)
        first = found.pop("first")
        return cls(
            **{name: Counter(value) for name, value in found.items()}, first=first
        )


def kind_of(row: Rejected) -> str:
    """Names what is wrong without the value, so that like things count as one.

    Returns:
        Such as `fare: not a number` or `too few fields`.
    """
    said = row.reason.partition(";")[0]
    for kind in _KINDS:
        if kind in said:
            said = _KINDS[kind]
            break
    return said if row.column is None else f"{row.column}: {said}"


# What a reason holds, and what to call it.
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


def read_rows(directory: Path) -> Iterator[dict[str, Any]]:
    """Yields the rows of a quarantine, in the order of the data.

    Args:
        directory: That of the artifact.

    Yields:
        `file`, `line`, `column`, `reason`, `text`, and `base64` if it is not UTF-8.
    """
    for path in sorted(directory.glob(ROWS_PATTERN)):
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def read_tally(directory: Path) -> Tally:
    """Reads how many rows went where, from the artifact's directory."""
    return Tally.from_json((directory / COUNTS_FILE).read_text("utf-8"))


def refusal(tally: Tally, most: float) -> str:
    """Says that too many rows don't fit, which, and what to do.

    Args:
        tally: What was counted.
        most: The share that was allowed, from 0 to 1.
    """
    count = tally.quarantined.total()
    allowed = f"at most {most:.4g} of them may" if most else "none may"
    return "\n".join(
        [
            f"{count:,} of {tally.rows:,} rows don't fit, and {allowed}:",
            *(f"  {line}" for line in tally.first),
            *_more(count - len(tally.first), tally.reasons),
            "Mend the data, or let more rows go to quarantine: --gate.max-quarantined.",
        ]
    )


def _more(count: int, reasons: Mapping[str, int]) -> list[str]:
    if count <= 0:
        return []
    shown = Counter(reasons).most_common(_SHOWN)
    listed = ", ".join(f"{reason} ({times:,})" for reason, times in shown)
    return [f"  … and {count:,} more. In all: {listed}"]
