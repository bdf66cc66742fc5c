"""Parses a section of a file into typed columns, and quarantines rows that don't fit.

Arrow parses a whole section at once. Only if that fails are its rows checked one by
one, with the same result, so valid data costs nothing extra.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from pipeline.ingestion import columns
from pipeline.ingestion.columns import PARSED, Kinds
from pipeline.ingestion.quarantine import Rejected
from pipeline.ingestion.records import Records

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """The rows of a section of a file.

    Attributes:
        file: Path of the file.
        batch: The rows that fit, as int64, float32 or binary columns.
        lines: Number of the line, or of the row of a Parquet file, of each of them.
        rejected: The rows that don't fit.
        raw: The unparsed rows of the batch, to quarantine more of them later.
    """

    file: str
    batch: pa.RecordBatch
    lines: npt.NDArray[np.int64]
    rejected: tuple[Rejected, ...]
    raw: "Records | pa.RecordBatch"

    def __len__(self) -> int:
        return len(self.lines)

    def without(self, wrong: dict[int, tuple[str | None, str]]) -> "Rows":
        """Returns a copy in which some rows of the batch are moved to `rejected`.

        Args:
            wrong: Column (`None` for the whole row) and reason, by row.
        """
        if not wrong:
            return self
        left_out = np.zeros(len(self), bool)
        left_out[list(wrong)] = True
        keep = pa.array(~left_out)
        more = (
            Rejected(self.file, int(self.lines[row]), *wrong[row], self._raw(row))
            for row in sorted(wrong)
        )
        raw = self.raw
        return Rows(
            self.file,
            self.batch.filter(keep),
            self.lines[~left_out],
            tuple(sorted([*self.rejected, *more], key=lambda r: r.line)),
            raw.without(left_out) if isinstance(raw, Records) else raw.filter(keep),
        )

    def _raw(self, row: int) -> bytes:
        if isinstance(self.raw, Records):
            return self.raw.text_of(row)
        return json_of(self.raw, row)


def read_text(
    file: str, records: Records, names: tuple[str, ...], kinds: Kinds, encoding: str
) -> Rows:
    """Parses records of a CSV file.

    Args:
        file: Path of the file, for messages.
        records: The records, in UTF-8.
        names: Names of the columns, in order.
        kinds: Types of the columns.
        encoding: Original encoding of the file, for messages.
    """
    # One bad value in a section costs its rows a second pass, and no other section.
    whole = _all_at_once(records, names, kinds)
    if whole is not None:
        return Rows(file, whole, records.lines, (), records)
    wrong = _wrong_forms(records, len(names), encoding)
    rejected = [
        Rejected(file, int(records.lines[row]), None, wrong[row], records.text_of(row))
        for row in sorted(wrong)
    ]
    left_out = np.zeros(len(records), bool)
    left_out[list(wrong)] = True
    good = records.without(left_out)
    texts = as_texts(good, names)
    rows = Rows(file, texts, good.lines, tuple(rejected), good)
    return _typed(rows, kinds)


def read_table(file: str, batch: pa.RecordBatch, first_row: int, kinds: Kinds) -> Rows:
    """Converts rows of a Parquet file.

    Args:
        file: Path of the file, for messages.
        batch: The rows.
        first_row: Number of the first row in the file, from 1.
        kinds: Types to convert the columns to.
    """
    numbers = np.arange(first_row, first_row + batch.num_rows, dtype=np.int64)
    flat = pa.RecordBatch.from_arrays(
        [columns.plain(column) for column in batch.columns], batch.schema.names
    )
    return _typed(Rows(file, flat, numbers, (), flat), kinds)


def as_texts(records: Records, names: tuple[str, ...]) -> pa.RecordBatch:
    """Parses well-formed records, with every column as text."""
    return _parse(records, dict.fromkeys(names, pa.string()), names)


def well_formed(records: Records, names: tuple[str, ...], encoding: str) -> Records:
    """Returns the records without those of the wrong form."""
    left_out = np.zeros(len(records), bool)
    left_out[list(_wrong_forms(records, len(names), encoding))] = True
    return records.without(left_out)


def json_of(batch: pa.RecordBatch, row: int) -> bytes:
    """Formats a row's values as JSON, in UTF-8."""
    values = {
        name: _value_of(column[row])
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    return json.dumps(values, default=str, ensure_ascii=False).encode()


def _value_of(scalar: pa.Scalar) -> object:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        # Arrow's range of dates is larger than Python's.
        return str(scalar.cast(pa.string()))


def _all_at_once(
    records: Records, names: tuple[str, ...], kinds: Kinds
) -> pa.RecordBatch | None:
    """Parses all records at once; `None` if any row doesn't fit."""
    data = records.data
    if records.broken or b"\0" in data or not _is_utf_8(data):
        return None
    types = {name: PARSED[kinds[name]] for name in names}
    if b"0x" in data or b"0X" in data:
        # Arrow would parse 0x10 as the integer 16.
        types |= {name: pa.string() for name in names if kinds[name] == "INT"}
    try:
        batch = _parse(records, types, names)
    except pa.ArrowInvalid:
        return None
    if batch.num_rows != len(records):
        return None
    arrays = []
    for name, column in zip(names, batch.columns, strict=True):
        array = column
        if kinds[name] == "INT" and pa.types.is_string(column.type):
            array, wrong = columns.converted(column, "INT")
            if wrong:
                return None
        elif pa.types.is_floating(column.type):
            array = column.cast(pa.float32())
        arrays.append(array)
    if not all(map(columns.is_finite, arrays)):
        return None
    return pa.RecordBatch.from_arrays(arrays, names)


def _parse(
    records: Records, types: dict[str, pa.DataType], names: tuple[str, ...]
) -> pa.RecordBatch:
    if not len(records):
        return pa.RecordBatch.from_pylist([], pa.schema(types.items()))
    # A block holds all of the data, or Arrow would type and cut it block by block.
    # Without threads: sections are parsed in parallel already.
    table = csv.read_csv(
        pa.py_buffer(records.data),
        read_options=csv.ReadOptions(
            column_names=names, block_size=len(records.data) + 1, use_threads=False
        ),
        parse_options=csv.ParseOptions(newlines_in_values=b'"' in records.data),
        convert_options=csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )
    (batch,) = table.combine_chunks().to_batches()
    return batch


def _is_utf_8(data: bytes) -> bool:
    offsets = pa.array([0, len(data)], pa.int64()).buffers()[1]
    text = pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(data))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _wrong_forms(records: Records, fields: int, encoding: str) -> dict[int, str]:
    """Returns the reasons for malformed records: quotes, encoding, number of fields."""
    wrong = dict(records.broken)
    for row, at in _undecodable(records):
        byte = records.text_of(row)[at]
        wrong.setdefault(
            row,
            f"the byte 0x{byte:02X} at offset {at:,} of the row is not "
            f"{encoding.upper()}; fix it, or give the file's --encoding",
        )
    if b"\0" in records.data:
        for row in _rows_with(records, b"\0"):
            wrong.setdefault(
                row, "a NUL byte, which no text has; export the file again"
            )
    left_out = np.zeros(len(records), bool)
    left_out[list(wrong)] = True
    places = np.flatnonzero(~left_out)
    # Commas can be counted only in records whose quotes are in pairs.
    counts = records.without(left_out).field_counts()
    for at in map(int, np.flatnonzero(counts != fields)):
        wrong[int(places[at])] = _wrong_count(int(counts[at]), fields)
    return wrong


def _wrong_count(found: int, expected: int) -> str:
    few = "add the missing commas"
    advice = few if found < expected else "put a field that holds a comma in quotes"
    said = "1 field" if found == 1 else f"{found} fields"
    return f"{said} where the header has {expected}; {advice}"


def _undecodable(records: Records) -> Iterator[tuple[int, int]]:
    """Yields each record that is not UTF-8, with the first offset in it that isn't."""
    if _is_utf_8(records.data):
        return
    for row in range(len(records)):
        try:
            records.text_of(row).decode("utf-8")
        except UnicodeDecodeError as error:
            yield row, error.start


def _rows_with(records: Records, byte: bytes) -> list[int]:
    places = np.flatnonzero(np.frombuffer(records.data, np.uint8) == ord(byte))
    owners = np.searchsorted(records.starts, places, side="right") - 1
    return sorted({int(owner) for owner in owners})


def _typed(rows: Rows, kinds: Kinds) -> Rows:
    arrays, wrong = [], dict[int, tuple[str | None, str]]()
    names = rows.batch.schema.names
    for name, column in zip(names, rows.batch.columns, strict=True):
        array, complaints = columns.converted(column, kinds[name])
        arrays.append(array)
        for row, reason in complaints.items():
            wrong.setdefault(row, (name, reason))
    typed = pa.RecordBatch.from_arrays(arrays, names)
    return Rows(rows.file, typed, rows.lines, rows.rejected, rows.raw).without(wrong)
