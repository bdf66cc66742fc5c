"""Reads a file of outcomes: one label per row, for predicted examples.

A row names its prediction by `request_id` (and `row`, 0 if absent), or by key columns
and a time. Its other columns are columns of the training data.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import declared
from operations.requests import REQUEST_ID, ROW, TIME_TYPE
from pipeline.errors import DataRefusedError, UsageError
from pipeline.ingestion import plan, source, writing
from pipeline.ingestion.columns import Kind, Kinds

LABEL_TIME = "label_time"
"""When an outcome became known; null where the file has no such column."""
EVENT_TIME = "event_time"
"""When the predicted event happened, in files that are joined by key."""
LINE = "line"

_NUMBER = r"^[+-]?[0-9]+(\.[0-9]*)?$"
_DAY = "^([0-9]{4}-[0-9]{2}-[0-9]{2})"
_EXPECTED = "seconds since 1970 or a time such as 2026-01-31T08:00:00Z"


@dataclass(frozen=True)
class Roles:
    """Which columns of an outcome file are no values of the training data.

    Attributes:
        keys: Features that name the prediction, with `time`; `request_id` if empty.
        time: Column with the time of the predicted event, needed with keys.
        label_time: Column with the time at which the outcome became known.
    """

    keys: tuple[str, ...] = ()
    time: str = ""
    label_time: str = ""

    def __post_init__(self) -> None:
        """Rejects keys without a time, and keys that no request has."""
        if bool(self.keys) != bool(self.time):
            raise UsageError(
                f"key is {', '.join(self.keys) or 'empty'} and time is "
                f"{self.time or 'empty'}; to join by columns give both, to join by "
                "request_id neither"
            )
        if unknown := sorted(set(self.keys) - set(declared.RAW_COLUMNS)):
            raise UsageError(
                f"key names {', '.join(unknown)}, which no request has; keys are among "
                f"{', '.join(declared.RAW_COLUMNS)}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that a file must have for its rows to be joined."""
        times = filter(None, (self.time, self.label_time))
        return (*(self.keys or (REQUEST_ID,)), *times)


def read(path: Path, kinds: Kinds, roles: Roles, encoding: str) -> pa.Table:
    """Reads an outcome file into memory, about a hundred bytes per row.

    Args:
        path: A .csv, .csv.gz or .parquet file.
        kinds: Types of the training data's columns, by name.
        roles: What the other columns are.
        encoding: Encoding of text files, by Python's name.

    Returns:
        `LINE`, `REQUEST_ID` and `ROW` (or the keys and `EVENT_TIME`), `LABEL_TIME`, and
        each column of the training data that the file has, typed.

    Raises:
        UsageError: A column is missing from the file.
        DataRefusedError: The file can't be read, or a row doesn't fit; the message
            names line, column and value. Nothing of the file is used then.
    """
    found = source.look_at(path, encoding)
    _check_columns(found, roles)
    typed: dict[str, Kind] = {name: kinds.get(name, "BYTES") for name in found.names}
    typed |= {ROW: "INT"} if ROW in found.names and not roles.keys else {}
    typed |= dict.fromkeys(filter(None, (roles.time, roles.label_time)), "BYTES")
    parts = [_parsed(raw, typed) for raw in writing.sections(plan.whole(found))]
    if not parts or not sum(part.num_rows for part in parts):
        raise DataRefusedError(f"{path} has no rows; there is nothing to join")
    table = pa.concat_tables(parts).combine_chunks()
    return _as_outcomes(str(path), table, roles, kinds)


def _check_columns(found: source.Source, roles: Roles) -> None:
    needed = [*roles.names, *label_columns()]
    if missing := [name for name in needed if name not in found.names]:
        raise UsageError(
            f"{found.path} has no column {', '.join(missing)}; it has "
            f"{', '.join(found.names)}. Outcomes have {REQUEST_ID} (or --key and "
            f"--time), and the label's {', '.join(label_columns())}"
        )


def label_columns() -> tuple[str, ...]:
    """Returns the columns of the label that requests don't have."""
    known = declared.RAW_COLUMNS
    return tuple(name for name in declared.LABEL_COLUMNS if name not in known)


def _parsed(raw: writing.Raw, kinds: Kinds) -> pa.Table:
    _, rows = writing.parse(raw, kinds)
    if rows.rejected:
        first = rows.rejected[0]
        raise DataRefusedError(
            f"{first.place}: {first.reason}; nothing of the file was used"
        )
    table = pa.Table.from_batches([rows.batch])
    return table.append_column(LINE, pa.array(rows.lines, pa.int64()))


def _as_outcomes(path: str, table: pa.Table, roles: Roles, kinds: Kinds) -> pa.Table:
    made: dict[str, pa.ChunkedArray | pa.Array] = {LINE: table[LINE]}
    if roles.keys:
        made[EVENT_TIME] = _times(path, table, roles.time)
    else:
        made[REQUEST_ID] = table[REQUEST_ID].cast(pa.string())
        made[ROW] = _row_numbers(table)
    for name in (*(roles.keys or (REQUEST_ID,)), *label_columns()):
        _refuse_empty(path, table, name)
    known = roles.label_time
    rows = table.num_rows
    made[LABEL_TIME] = (
        _times(path, table, known) if known else pa.nulls(rows, TIME_TYPE)
    )
    # A column may be both: the time of the event is often one of the training data's.
    made |= {
        name: table[name]
        for name in table.column_names
        if name in kinds and name not in made
    }
    return pa.table({name: _one_chunk(column) for name, column in made.items()})


def _one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _row_numbers(table: pa.Table) -> pa.ChunkedArray | pa.Array:
    if ROW not in table.column_names:
        return pa.array(np.zeros(table.num_rows, np.int32))
    return pc.fill_null(table[ROW], 0).cast(pa.int32())


def _refuse_empty(path: str, table: pa.Table, name: str) -> None:
    empty = pc.is_null(table[name])
    if pa.types.is_binary(table[name].type):
        empty = pc.or_kleene(empty, pc.equal(pc.binary_length(table[name]), 0))
    _refuse(path, table, name, empty, "a value in each row")


def _times(path: str, table: pa.Table, name: str) -> pa.Array:
    """Converts texts, numbers or ISO 8601 in UTC unless they have an offset."""
    texts = _one_chunk(table[name].cast(pa.string()))
    numeric = pc.fill_null(pc.match_substring_regex(texts, _NUMBER), fill_value=False)
    seconds = pc.if_else(numeric, texts, None).cast(pa.float64())
    micros = pc.round(pc.multiply(seconds, 1e6)).cast(pa.int64()).cast(TIME_TYPE)
    rest = pc.if_else(numeric, None, texts)
    rest = pc.replace_substring_regex(rest, f"{_DAY}$", r"\1T00:00:00Z")
    # Arrow parses a time without an offset only as one of no zone, so UTC is added.
    zoned = pc.replace_substring_regex(rest, f"{_DAY}([T ][0-9:.]+)$", r"\1\2Z")
    try:
        parsed = zoned.cast(TIME_TYPE)
    except pa.ArrowInvalid:
        bad = pa.array([_is_no_time(text) for text in zoned.to_pylist()])
        _refuse(path, table, name, bad, _EXPECTED)
        raise
    times = pc.coalesce(micros, parsed)
    _refuse(path, table, name, pc.is_null(times), _EXPECTED)
    return times


def _is_no_time(text: str | None) -> bool:
    try:
        pa.array([text], pa.string()).cast(TIME_TYPE)
    except pa.ArrowInvalid:
        return True
    return False


def _refuse(
    path: str,
    table: pa.Table,
    name: str,
    wrong: pa.Array | pa.ChunkedArray,
    expected: str,
) -> None:
    """Raises an error about the first of the rows that are wrong, if any are."""
    rows = np.flatnonzero(np.asarray(wrong))
    if not len(rows):
        return
    value = table[name][int(rows[0])].as_py()
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    line = table[LINE][int(rows[0])].as_py()
    raise DataRefusedError(
        f"{path}, line {line}, column {name!r}: {text!r}, expected {expected}; "
        f"{len(rows):,} rows are so, and nothing of the file was used"
    )


def contents(table: pa.Table) -> pa.Array:
    """Returns each row's label as a text, by which repeated labels are found.

    Args:
        table: Outcomes.
    """
    texts = [_one_chunk(table[name].cast(pa.string())) for name in label_columns()]
    if not texts:
        return pa.array([""] * table.num_rows)
    return pc.binary_join_element_wise(*texts, "\x1f", null_handling="replace")
