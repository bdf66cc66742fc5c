"""Checks CSV files before they are ingested, so that trouble is named where it is.

Ingestion would take some damage without a word (an empty file, a quote never closed)
and answer the rest with a worker's traceback. This check reads the bytes once and
parses the numbers once with Arrow; only when that fails does it look for the exact line
with Python's csv module.
"""

import codecs
import csv
import difflib
import functools
import math
import re
import shlex
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.errors import DataRefusedError

# Arrow reads up to 32 blocks ahead, so this is also what keeps memory flat.
_BLOCK_BYTES = 1 << 20
_LONGEST_SHOWN_VALUE = 40
_NAMES_SHOWN = 5
_ENVIRONMENT = "TRAINING"

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_ARROW_TYPES = {schema_pb2.FLOAT: pa.float32(), schema_pb2.INT: pa.int64()}
_ACTIVE_STAGES = (
    schema_pb2.UNKNOWN_STAGE,
    schema_pb2.BETA,
    schema_pb2.PRODUCTION,
)

# A quote between two characters that are neither quote, comma nor line end can neither
# open nor close a field, and inside a quoted field it would have to be doubled.
_STRAY_QUOTE = re.compile(rb'[^",\r\n]"[^",\r\n]')
_INTEGER = re.compile(r"-?[0-9]{1,99}")
_WHOLE_FLOAT = re.compile(r"-?[0-9]+\.0*")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)


def check_csv_files(
    files: Sequence[Path], schema: schema_pb2.Schema | None = None
) -> None:
    """Refuses CSV files that could not be ingested as they are meant.

    Every file must be UTF-8 without a byte order mark, have the same header as the
    first, every column that the schema expects in training, at least one row, as many
    fields in each row as the header, and numbers where the schema has numbers. A FLOAT
    column takes whole numbers but neither "nan" nor "inf": an empty field is how a
    missing value is written. Columns that the schema does not know are none of this
    check's business.

    Args:
        files: The files that would be ingested together.
        schema: The reviewed schema; without it only the form is checked.

    Raises:
        DataRefusedError: For the first thing that is wrong, in one sentence with the
            file and, where there is one, the line and the column.
    """
    if not files:
        raise DataRefusedError(
            "there is no CSV file to read; put at least one, with a header line, there"
        )
    first_header: list[str] | None = None
    for path in files:
        try:
            header = _check_file(path, schema)
        except OSError as error:
            raise DataRefusedError(
                f"{path} cannot be read: {error.strerror or error}"
            ) from error
        if first_header is None:
            first_header = header
        elif header != first_header:
            _refuse_other_header(path, header, files[0], first_header)


def _check_file(path: Path, schema: schema_pb2.Schema | None) -> list[str]:
    has_quotes = _check_bytes(path)
    header = _read_header(path)
    if schema is not None:
        _check_expected_columns(path, header, schema)
    _check_names(path, header)
    types = _number_types(header, schema)
    trouble = _find_trouble(path, header, types, may_span_lines=has_quotes)
    if trouble is not None:
        _refuse_rows(path, header, types, trouble)
    return header


def _check_bytes(path: Path) -> bool:
    """Checks encoding and quotes; returns whether the file has quotes at all."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, quotes, tail = 0, 0, b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            if offset == 0:
                _check_beginning(path, block)
            if (at := block.find(b"\0")) >= 0:
                _refuse_nul(path, offset + at)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                _refuse_encoding(path, offset - pending + error.start)
            if b'"' in block:
                quotes += block.count(b'"')
                _check_stray_quotes(path, tail + block, offset - len(tail))
            offset += len(block)
            tail = block[-2:]
    if pending := len(decoder.getstate()[0]) if offset else 0:
        _refuse_encoding(path, offset - pending)
    if offset == 0:
        raise DataRefusedError(
            f"{path} is empty; write a header and rows into it, or remove it"
        )
    if quotes % 2:
        _refuse_unbalanced(path)
    return quotes > 0


def _check_beginning(path: Path, block: bytes) -> None:
    if block.startswith(codecs.BOM_UTF8):
        raise DataRefusedError(
            f"{path} begins with a byte order mark, which readers take for a part of "
            "the first column's name; strip it with: "
            f"sed -i '1s/^\\xEF\\xBB\\xBF//' {shlex.quote(str(path))}"
        )
    for mark, name in _OTHER_ENCODINGS.items():
        if block.startswith(mark):
            _refuse_utf16(path, name)
    if b"\0" in block[:2]:
        _refuse_utf16(path, "UTF-16")


def _refuse_utf16(path: Path, encoding: str) -> NoReturn:
    raise DataRefusedError(
        f"{path} is {encoding}, and only UTF-8 is read; "
        f"convert it with: iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))}"
    )


def _refuse_nul(path: Path, offset: int) -> NoReturn:
    raise DataRefusedError(
        f"{path}, line {_line_at(path, offset)}: a NUL byte at offset {offset:,}, "
        "which no text has; export the file again"
    )


def _refuse_encoding(path: Path, offset: int) -> NoReturn:
    raise DataRefusedError(
        f"{path}, line {_line_at(path, offset)}: the byte at offset {offset:,} is not "
        "UTF-8; save the file as UTF-8"
    )


def _check_stray_quotes(path: Path, window: bytes, offset: int) -> None:
    if stray := _STRAY_QUOTE.search(window):
        line = _line_at(path, offset + stray.start() + 1)
        raise DataRefusedError(
            f"{path}, line {line}: a quote in the middle of a field; put the whole "
            "field in quotes and double the quotes inside it"
        )


def _refuse_unbalanced(path: Path) -> NoReturn:
    """Names the first record that a missing quote makes impossible.

    The missing quote makes the reader run on into the next lines, so that record has
    the wrong number of fields, or never ends.
    """
    line, fields = 1, 0
    try:
        for start, record in _records(path):
            line, fields = start, fields or len(record)
            if len(record) != fields:
                break
    except _BrokenRecordError as error:
        line = error.line
    raise DataRefusedError(
        f"{path}, line {line}: a quote is opened and never closed; close it, or double "
        "it if it belongs to the text"
    )


def _line_at(path: Path, offset: int) -> int:
    line = 1
    with path.open("rb") as file:
        while offset > 0 and (block := file.read(min(offset, _BLOCK_BYTES))):
            line += block.count(b"\n")
            offset -= len(block)
    return line


def _read_header(path: Path) -> list[str]:
    try:
        line, header = next(_records(path), (1, []))
    except _BrokenRecordError as error:
        raise DataRefusedError(
            f"{path}, line 1: not CSV ({error}); correct the header"
        ) from error
    if line != 1 or not any(header) or not "".join(header).strip():
        raise DataRefusedError(
            f"{path}, line 1: nothing, where the column names belong; add the header"
        )
    return header


def _check_expected_columns(
    path: Path, header: list[str], schema: schema_pb2.Schema
) -> None:
    expected = [f.name for f in schema.feature if _in_training(f, schema)]
    missing = [name for name in expected if name not in header]
    if expected and missing == expected:
        raise DataRefusedError(
            f"{path}, line 1: none of the schema's columns; it must hold the column "
            f"names: {_shown_names(expected)}"
        )
    if missing:
        close = difflib.get_close_matches(missing[0], set(header) - set(expected), 1)
        hint = f" (the header has {close[0]!r})" if close else ""
        raise DataRefusedError(
            f"{path}, line 1: {_columns(missing)} missing, which the schema "
            f"expects{hint}; add what is missing, or change the schema"
        )


def _in_training(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> bool:
    if feature.deprecated or feature.lifecycle_stage not in _ACTIVE_STAGES:
        return False
    if _ENVIRONMENT in feature.not_in_environment:
        return False
    environments = [*schema.default_environment, *feature.in_environment]
    return not environments or _ENVIRONMENT in environments


def _check_names(path: Path, header: list[str]) -> None:
    unnamed = [n for n, name in enumerate(header, start=1) if not name.strip()]
    if unnamed:
        raise DataRefusedError(
            f"{path}, line 1: column {unnamed[0]} of {len(header)} has no name; name "
            "it, or remove it (pandas writes its index so, unless told index=False)"
        )
    name, count = Counter(header).most_common(1)[0]
    if count > 1:
        raise DataRefusedError(
            f"{path}, line 1: column {name!r} is there {count} times; rename or remove"
        )


def _refuse_other_header(
    path: Path, header: list[str], first: Path, first_header: list[str]
) -> NoReturn:
    lacking = [name for name in first_header if name not in header]
    extra = [name for name in header if name not in first_header]
    if lacking:
        difference = f"{_columns(lacking)} missing"
    elif extra:
        difference = f"{_columns(extra)} additional"
    else:
        difference = "the same columns in another order"
    raise DataRefusedError(
        f"{path}, line 1: not the header of {first}: {difference}; "
        "give all files the same header"
    )


def _number_types(
    header: list[str], schema: schema_pb2.Schema | None
) -> dict[str, pa.DataType]:
    if schema is None:
        return {}
    types = {f.name: _ARROW_TYPES.get(f.type) for f in schema.feature}
    return {name: kind for name in header if (kind := types.get(name)) is not None}


def _find_trouble(
    path: Path,
    header: list[str],
    types: Mapping[str, pa.DataType],
    *,
    may_span_lines: bool,
) -> str | None:
    """Parses every row and converts the numbers; returns what Arrow has against it."""
    converted = types or {header[0]: pa.binary()}
    rows = 0
    try:
        with pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=may_span_lines),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=converted,
                include_columns=list(converted),
                null_values=[""],
                check_utf8=False,
            ),
        ) as reader:
            for batch in reader:
                rows += batch.num_rows
                if not all(map(_is_finite, batch.columns)):
                    return "a number is not finite"
    except pa.ArrowInvalid as error:
        return str(error)
    return None if rows else "it has no rows"


def _is_finite(column: pa.Array) -> bool:
    if not pa.types.is_floating(column.type):
        return True
    return pyarrow.compute.all(pyarrow.compute.is_finite(column)).as_py() is not False


def _refuse_rows(
    path: Path, header: list[str], types: Mapping[str, pa.DataType], trouble: str
) -> NoReturn:
    numbers = [
        (header.index(name), name, pa.types.is_floating(kind))
        for name, kind in types.items()
    ]
    rows = 0
    try:
        for line, record in _records(path):
            if line == 1:
                continue
            rows += 1
            if len(record) != len(header):
                _refuse_field_count(path, line, len(record), len(header))
            for position, name, is_float in numbers:
                complaint = _complaint(record[position], is_float=is_float)
                if complaint:
                    raise DataRefusedError(
                        f"{path}, line {line}, column {name!r}: {complaint}"
                    )
    except _BrokenRecordError as error:
        raise DataRefusedError(
            f"{path}, line {error.line}: not CSV ({error}); correct that row"
        ) from error
    if not rows:
        raise DataRefusedError(
            f"{path} has a header and no rows; add rows, or remove the file"
        )
    raise DataRefusedError(f"{path} cannot be read as CSV: {trouble}; export it again")


def _refuse_field_count(path: Path, line: int, found: int, expected: int) -> NoReturn:
    if found < expected:
        advice = "add the missing commas"
    else:
        advice = "put a field that holds a comma in quotes"
    fields = "1 field" if found == 1 else f"{found} fields"
    raise DataRefusedError(
        f"{path}, line {line}: {fields} where the header has {expected}; {advice}"
    )


# Values repeat a great deal: with the bad row last of a million, 17 s became 6 s.
@functools.lru_cache(maxsize=1 << 16)
def _complaint(text: str, *, is_float: bool) -> str | None:
    """Says why a field is not of its type, or None; an empty field is always right."""
    if not text:
        return None
    shown = repr(
        text
        if len(text) <= _LONGEST_SHOWN_VALUE
        else text[: _LONGEST_SHOWN_VALUE - 1] + "…"
    )
    number = text.strip(" \t")
    if is_float:
        if _NOT_FINITE.fullmatch(number) or (
            _DECIMAL.fullmatch(number) and not _fits_float(number)
        ):
            return f"{shown} is not finite; correct it, or leave the field empty"
        if not _DECIMAL.fullmatch(number):
            return f"{shown} is not a number; correct it, or leave the field empty"
    elif _WHOLE_FLOAT.fullmatch(number):
        return (
            f"{shown} is not written as a whole number; write "
            f"{number.split('.')[0]} (pandas: astype('Int64') before to_csv)"
        )
    elif not (_INTEGER.fullmatch(number) and -(2**63) <= int(number) < 2**63):
        return f"{shown} is not a whole number; correct it, or leave the field empty"
    return None


def _fits_float(number: str) -> bool:
    try:
        return math.isfinite(struct.unpack("f", struct.pack("f", float(number)))[0])
    except OverflowError:
        return False


class _BrokenRecordError(Exception):
    """A record that the csv module cannot read.

    Attributes:
        line: The line that the record begins in.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields every record that is not blank with the line it begins in, from 1."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, strict=True)
        start = 1
        try:
            for record in reader:
                if record:
                    yield start, record
                start = reader.line_num + 1
        except csv.Error as error:
            raise _BrokenRecordError(start, str(error)) from error


def _columns(names: list[str]) -> str:
    return f"{'column' if len(names) == 1 else 'columns'} {_shown_names(names)}"


def _shown_names(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
