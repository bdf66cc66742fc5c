r"""Finds the boundaries of records in the bytes of a CSV file.

A record ends at the first line end outside quotes, provided that quotes only open at
the beginning of a field and close at its end. Elsewhere a quote is missing or
superfluous, and a parser would run on into valid rows. In that case only the first line
of the record is broken, and the next record begins with the next line. The result
doesn't depend on how much is read at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

LONGEST_RECORD = 1 << 20
"""In bytes; a quoted field that is longer is treated as one that is never closed."""

_QUOTE, _COMMA, _NEWLINE, _RETURN = b'",\n\r'
# Number of quotes that are checked together after a wrong one; it doubles while all are
# right, so that each error only costs a small window.
_FIRST_WINDOW = 64

STRAY_QUOTE = (
    "a quote in the middle of a field; put the whole field in quotes and double the "
    "quotes inside it"
)
OPEN_QUOTE = (
    "a quote is opened and never closed; close it, or double it if it belongs to the "
    "text"
)
STRAY_RETURN = "a carriage return in the middle of the line; put the field in quotes"

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class EndlessLineError(Exception):
    """A line is longer than the longest record allowed.

    Attributes:
        line: Its number, from 1.
    """

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line} is longer than {LONGEST_RECORD:,} bytes")
        self.line = line


@dataclass(frozen=True)
class Records:
    """The records of a section of a file, without blank lines.

    Attributes:
        data: The bytes of the section.
        starts: Offset of each record's first byte in the data; shape (records,).
        ends: Offset after each record's last byte, including the line end.
        lines: Number of the line in the file at which each record begins, from 1.
        broken: Error message of records with invalid quotes or line ends, by index.
        next_line: Number of the line after the section.
    """

    data: bytes
    starts: Positions
    ends: Positions
    lines: Positions
    broken: dict[int, str]
    next_line: int

    def __len__(self) -> int:
        return len(self.starts)

    def text_of(self, index: int) -> bytes:
        """Returns a record's bytes without the line end."""
        return self.data[self.starts[index] : self.ends[index]].rstrip(b"\r\n")

    def without(self, left_out: Mask) -> "Records":
        """Returns a copy without some records and their bytes.

        Args:
            left_out: One boolean per record; must be true for all broken records.
        """
        if not left_out.any():
            return self
        keep = ~left_out
        starts, ends = self.starts[keep], self.ends[keep]
        data = b"".join(self.data[start:end] for start, end in _joined(starts, ends))
        lengths = ends - starts
        new_ends = np.cumsum(lengths)
        return replace(
            self,
            data=data,
            starts=new_ends - lengths,
            ends=new_ends,
            lines=self.lines[keep],
            broken={},
        )

    def moved(self, before: bytes) -> "Records":
        """Returns a copy with bytes before the data that hold no records."""
        length = len(before)
        return replace(
            self,
            data=before + self.data,
            starts=self.starts + length,
            ends=self.ends + length,
        )

    def field_counts(self) -> Positions:
        """Returns the number of fields of each record; no record may be broken."""
        bytes_ = np.frombuffer(self.data, np.uint8)
        commas = np.flatnonzero(bytes_ == _COMMA)
        if b'"' in self.data:
            quotes = np.flatnonzero(bytes_ == _QUOTE)
            # Outside quotes: an even number of them is before. Doubled ones keep that.
            commas = commas[np.searchsorted(quotes, commas) % 2 == 0]
        before = np.searchsorted(commas, self.starts)
        return np.searchsorted(commas, self.ends) - before + 1


def find_records(data: bytes, first_line: int, *, is_last: bool) -> tuple[Records, int]:
    """Finds the complete records in a block of bytes.

    Args:
        data: Bytes that begin with a record.
        first_line: Number of the first line in the file.
        is_last: Whether the data ends at the end of the file.

    Returns:
        The records, and the number of bytes that they and blank lines take. The caller
        passes the remaining bytes again, with more data appended.

    Raises:
        EndlessLineError: A line is longer than `LONGEST_RECORD`.
    """
    skipped = _blank_beginning(data)
    if skipped:
        # A gzip of newlines unpacks to a thousand times its size; counting them takes a
        # hundredth of the time of the search for records.
        lines = data.count(b"\n", 0, skipped)
        found, consumed = _found(data[skipped:], first_line + lines, is_last=is_last)
        return found.moved(data[:skipped]), skipped + consumed
    return _found(data, first_line, is_last=is_last)


def _blank_beginning(data: bytes) -> int:
    """Returns the size of the blank lines at the beginning of data, in bytes."""
    end = data.rfind(b"\n", 0, len(data) - len(data.lstrip(b"\r\n"))) + 1
    # A carriage return that is not before a newline is an error; `_found` reports it.
    is_blank = data.count(b"\r", 0, end) == data.count(b"\r\n", 0, end)
    return end if is_blank else 0


def _found(data: bytes, first_line: int, *, is_last: bool) -> tuple[Records, int]:
    bytes_ = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(bytes_ == _NEWLINE)
    if is_last and data and not data.endswith(b"\n"):
        newlines = np.append(newlines, len(data) - 1)
    line_ends = newlines + 1
    if b'"' in data:
        ends, broken_ends = _ends_beside_quotes(bytes_, line_ends, is_last=is_last)
    else:
        ends, broken_ends = line_ends, {}
    consumed = int(ends[-1]) if len(ends) else 0
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(ends)]
    too_long = np.flatnonzero(ends - starts > LONGEST_RECORD)
    kept = ~_blank(bytes_, starts, ends)
    if ends is line_ends:
        # Without quotes each line is a record, so no search is needed.
        lines = np.arange(first_line, first_line + len(ends))
    else:
        lines = first_line + np.searchsorted(line_ends, starts, side="right")
    if len(too_long):
        raise EndlessLineError(int(lines[too_long[0]]))
    next_line = first_line + int(np.searchsorted(line_ends, consumed, side="right"))
    behind = _line_end_after(line_ends, consumed)
    open_for = (len(data) if behind is None else behind) - consumed
    if not is_last and open_for > LONGEST_RECORD:
        raise EndlessLineError(next_line)
    numbers = np.cumsum(kept) - 1 if broken_ends else np.empty(0, np.int64)
    broken = {
        int(numbers[np.searchsorted(ends, end)]): reason
        for end, reason in broken_ends.items()
    }
    found = Records(
        data[:consumed], starts[kept], ends[kept], lines[kept], broken, next_line
    )
    for index in _with_stray_returns(found):
        found.broken.setdefault(index, STRAY_RETURN)
    return found, consumed


def _joined(starts: Positions, ends: Positions) -> Iterator[tuple[int, int]]:
    """Merges adjacent ranges."""
    if not len(starts):
        return
    cuts = np.flatnonzero(starts[1:] != ends[:-1]) + 1
    firsts, lasts = np.concatenate([[0], cuts]), np.concatenate([cuts, [len(starts)]])
    for first, last in zip(firsts, lasts, strict=True):
        yield int(starts[first]), int(ends[last - 1])


def _blank(bytes_: npt.NDArray[np.uint8], starts: Positions, ends: Positions) -> Mask:
    """Returns which records consist of a line end only."""
    lengths = ends - starts
    blank = np.zeros(len(starts), bool)
    ones = np.flatnonzero(lengths == 1)
    blank[ones] = bytes_[starts[ones]] == _NEWLINE
    twos = np.flatnonzero(lengths == 2)  # noqa: PLR2004
    firsts, seconds = bytes_[starts[twos]], bytes_[starts[twos] + 1]
    blank[twos] = (firsts == _RETURN) & (seconds == _NEWLINE)
    return blank


def _ends_beside_quotes(
    bytes_: npt.NDArray[np.uint8], line_ends: Positions, *, is_last: bool
) -> tuple[Positions, dict[int, str]]:
    """Finds the ends of records in data with quotes.

    Returns:
        The ends; and an error message for each end of a broken line.
    """
    quotes = np.flatnonzero(bytes_ == _QUOTE)
    ends: list[Positions] = []
    broken: dict[int, str] = {}
    at = 0  # Offset of the beginning of the current record.
    window = _FIRST_WINDOW
    while at < len(bytes_):
        first = int(np.searchsorted(quotes, at))
        some = quotes[first : first + window]
        whole = first + window >= len(quotes)
        wrong = _first_wrong(bytes_, some)
        # All quotes before the horizon are valid.
        if wrong is not None:
            horizon = int(some[wrong])
        elif whole:
            horizon = len(bytes_)
        else:
            horizon = int(some[-1])
        lines = line_ends[
            np.searchsorted(line_ends, at, side="right") : np.searchsorted(
                line_ends, horizon, side="right"
            )
        ]
        # A line ends a record if an even number of quotes is before it.
        outside = lines[np.searchsorted(some, lines) % 2 == 0]
        start = int(outside[-1]) if len(outside) else at
        too_long = _first_too_long(at, outside)
        if too_long is not None:
            # The record that ends there is too long, so its opening quote is an error.
            start = int(outside[too_long - 1]) if too_long else at
            outside = outside[:too_long]
        ends.append(outside)
        open_for = horizon - start
        if too_long is not None or open_for > LONGEST_RECORD:
            reason = OPEN_QUOTE
        elif wrong is not None:
            reason = _reason(line_ends, start, horizon)
        elif not whole:
            # All right so far: look at more quotes, from the last record's beginning.
            at, window = start, window * 2
            continue
        elif is_last and start < len(bytes_):
            reason = OPEN_QUOTE
        else:
            break
        end = _line_end_after(line_ends, start)
        if end is None:
            break
        ends.append(np.array([end]))
        broken[end] = reason
        at, window = end, _FIRST_WINDOW
    return np.concatenate(ends) if ends else np.empty(0, np.int64), broken


def _reason(line_ends: Positions, start: int, wrong: int) -> str:
    """Returns the error message of a broken record.

    An invalid quote in a later line is the consequence of an open one in the first.
    """
    first_end = _line_end_after(line_ends, start)
    same_line = first_end is None or wrong < first_end
    return STRAY_QUOTE if same_line else OPEN_QUOTE


def _line_end_after(line_ends: Positions, at: int) -> int | None:
    """Returns the end of the line at an offset; `None` if it is not in the data."""
    place = int(np.searchsorted(line_ends, at, side="right"))
    return int(line_ends[place]) if place < len(line_ends) else None


def _first_too_long(start: int, ends: Positions) -> int | None:
    lengths = np.diff(ends, prepend=start)
    long = np.flatnonzero(lengths > LONGEST_RECORD)
    return int(long[0]) if len(long) else None


def _first_wrong(bytes_: npt.NDArray[np.uint8], quotes: Positions) -> int | None:
    """Returns the index of the first invalid quote, from the beginning of a record.

    Quotes alternately open and close. An opening quote follows a comma, a line end or,
    if doubled, another quote; a closing quote is followed by one of them.
    """
    opening, closing = quotes[::2], quotes[1::2]
    before = np.where(opening > 0, bytes_[opening - 1], _NEWLINE)
    opens = (before == _COMMA) | (before == _NEWLINE) | (before == _QUOTE)
    behind = np.minimum(closing + 1, len(bytes_) - 1)
    after = np.where(closing + 1 < len(bytes_), bytes_[behind], _NEWLINE)
    closes = (
        (after == _COMMA) | (after == _NEWLINE) | (after == _RETURN) | (after == _QUOTE)
    )
    wrong = np.concatenate(
        [np.flatnonzero(~opens) * 2, np.flatnonzero(~closes) * 2 + 1]
    )
    return int(wrong.min()) if len(wrong) else None


def _with_stray_returns(records: Records) -> list[int]:
    """Returns the records with a carriage return outside quotes and line ends."""
    if b"\r" not in records.data:
        return []
    bytes_ = np.frombuffer(records.data, np.uint8)
    returns = np.flatnonzero(bytes_ == _RETURN)
    followed = bytes_[np.minimum(returns + 1, len(bytes_) - 1)] == _NEWLINE
    alone = returns[~followed]
    if not len(alone):
        return []
    quotes = np.flatnonzero(bytes_ == _QUOTE)
    owner = np.searchsorted(records.starts, alone, side="right") - 1
    before = np.searchsorted(quotes, alone) - np.searchsorted(
        quotes, records.starts[owner]
    )
    return sorted({int(index) for index in owner[before % 2 == 0]})
