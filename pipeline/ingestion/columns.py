"""Types of columns: inference, conversion, and values that can't be converted.

TFX knows whole numbers of 64 bits, numbers of 32 bits, and bytes. A column is one of
these by the reviewed schema, or by what all its values fit. In a column of lists it is
the type of the items.
"""

import functools
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.columnar.lists import is_list, lengths_of

Kind = Literal["INT", "FLOAT", "BYTES"]
Kinds = Mapping[str, Kind]

NARROWEST: Kind = "INT"
# From the narrowest to the one that fits every value.
_ORDER: tuple[Kind, ...] = ("INT", "FLOAT", "BYTES")
_OF_SCHEMA: Mapping[int, Kind] = {
    schema_pb2.INT: "INT",
    schema_pb2.FLOAT: "FLOAT",
    schema_pb2.BYTES: "BYTES",
}
PARSED: Mapping[Kind, pa.DataType] = {
    "INT": pa.int64(),
    "FLOAT": pa.float64(),
    "BYTES": pa.binary(),
}
"""Arrow types that text is parsed as. A FLOAT is parsed with 64 bits, and then rounded
to 32 like Python does."""

WRITTEN: Mapping[Kind, pa.DataType] = {
    "INT": pa.int64(),
    "FLOAT": pa.float32(),
    "BYTES": pa.large_binary(),
}
"""What the items of a column's lists are in a shard."""

_LONGEST_SHOWN_VALUE = 40
_SPACES = " \t"
_TOO_LONG = 2.0**63
_HALF_WORD = 32
_LEAST = -(2**63)
_SECONDS_IN_DAY = 24 * 60 * 60
# The years that ISO 8601 and Python support: 1 to 9999.
_FIRST_SECOND = (date.min - date(1970, 1, 1)).days * _SECONDS_IN_DAY
_LAST_SECOND = ((date.max - date(1970, 1, 1)).days + 1) * _SECONDS_IN_DAY - 1
_TICKS: Mapping[str, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_NO_DATE = "is not a date of the years 1 to 9999; correct it, or leave the field empty"
_NO_TIME_OF_DAY = "is not a time of a day; correct it, or leave the field empty"
_OFFSET = re.compile(r"[+-][0-9]{2}:?[0-9]{2}")
_NO_ITEM = "a list with an item that is missing; give it a value, or leave it out"
_NOT_SO: Mapping[Kind, str] = {
    "INT": "is not a whole number; correct it, or leave the field empty",
    "FLOAT": "is not a number; correct it, or leave the field empty",
}
_WHOLE_FLOAT = re.compile(r"-?[0-9]+\.0*")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)


def kinds_of_schema(schema: schema_pb2.Schema | None) -> dict[str, Kind]:
    """Returns the types of the columns that a schema declares."""
    described = schema.feature if schema else ()
    return {f.name: _OF_SCHEMA[f.type] for f in described if f.type in _OF_SCHEMA}


def narrowest(column: pa.Array) -> Kind:
    """Returns the narrowest type that fits every value of a column.

    Args:
        column: Texts, or a column of a Parquet file.

    Returns:
        The type; INT if all values are missing.
    """
    kind = column.type
    if is_list(kind):
        return narrowest(plain(column.flatten()))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "INT"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "FLOAT"
    if not (is_text(kind) or pa.types.is_null(kind)):
        return "BYTES"
    texts = _texts(column)
    return next(kind for kind in _ORDER if _fits(texts, kind))


def widest(kinds: Iterable[Kinds]) -> dict[str, Kind]:
    """Merges the types that were inferred from parts of the data.

    Args:
        kinds: The narrowest types of each part, all with the same columns.

    Returns:
        For each column, the narrowest type that fits the values of all parts.
    """
    joined: dict[str, Kind] = {}
    for part in kinds:
        for name, kind in part.items():
            joined[name] = max(joined.get(name, kind), kind, key=_ORDER.index)
    return joined


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is text or bytes, as every column of a CSV file is."""
    return (
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def is_supported(kind: pa.DataType) -> bool:
    """Whether a type of a Parquet column is text, number, date or time, one per row.

    Durations are not supported: they would become numbers whose unit is that of the
    file, and is recorded nowhere. Time zones must be in Arrow's database.
    """
    if pa.types.is_dictionary(kind):
        return is_supported(kind.value_type)
    if pa.types.is_timestamp(kind):
        return kind.tz is None or _is_known_zone(kind)
    return (
        _is_number(kind)
        or is_text(kind)
        or pa.types.is_null(kind)
        or pa.types.is_date(kind)
        or pa.types.is_time(kind)
    )


def plain(column: pa.Array) -> pa.Array:
    """Converts the less common Parquet types to ones that `converted` accepts.

    Decodes dictionaries, widens 16-bit floats, replaces time zones that are offsets by
    UTC, and makes bytes of texts that are not UTF-8.

    Args:
        column: A column of a supported type.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if pa.types.is_timestamp(kind) and kind.tz and _OFFSET.fullmatch(kind.tz):
        # Arrow can only format times of named zones.
        return column.cast(pa.timestamp(kind.unit, "UTC"))
    if (pa.types.is_string(kind) or pa.types.is_large_string(kind)) and not _is_valid(
        column
    ):
        return column.cast(pa.binary() if kind == pa.string() else pa.large_binary())
    return column


def converted(column: pa.Array, kind: Kind) -> tuple[pa.Array, dict[int, str]]:
    """Turns a column into what a shard holds.

    Args:
        column: Texts in UTF-8, or what a Parquet file holds; lists of them too.
        kind: What it is to be.

    Returns:
        Whole numbers of 64 bits, numbers of 32 bits or bytes, or lists of them; and for
        each value that is none, by row, why. What is in its place means nothing.
    """
    if is_list(column.type):
        return _converted_lists(column, kind)
    if pa.types.is_temporal(column.type):
        texts, out_of_range = _texts_of_times(column)
        array, wrong = converted(texts, kind)
        return array, {**wrong, **out_of_range}
    if kind == "BYTES":
        # Numbers of Parquet files are formatted as they would be in CSV.
        texts = column if is_text(column.type) else column.cast(pa.string())
        return texts.cast(pa.binary()), {}
    array, wrong = (
        _numbers_of_texts(column, kind)
        if not _is_number(column.type)
        else _numbers_of_numbers(column, kind)
    )
    if kind == "INT":
        return array, wrong
    array = array.cast(pa.float32())
    endless = pc.fill_null(pc.invert(pc.is_finite(array)), fill_value=False)
    for row in np.flatnonzero(np.asarray(endless)):
        wrong[int(row)] = str(complaint(str(column[int(row)].as_py()), kind))
    return array, wrong


def _converted_lists(column: pa.Array, kind: Kind) -> tuple[pa.Array, dict[int, str]]:
    lengths = lengths_of(column)
    items, wrong = converted(plain(column.flatten()), kind)
    for item in np.flatnonzero(np.asarray(items.is_null())):
        wrong.setdefault(int(item), _NO_ITEM)
    ends = np.cumsum(lengths)
    rows = np.searchsorted(ends, list(wrong), side="right")
    present = np.asarray(column.is_valid())
    offsets = pa.array(np.append(0, ends), pa.int64(), mask=np.append(~present, False))
    lists = pa.LargeListArray.from_arrays(offsets, items)
    return lists, dict(zip(map(int, rows), wrong.values(), strict=True))


def is_finite(array: pa.Array) -> bool:
    """Whether a column holds neither infinity nor NaN."""
    if not pa.types.is_floating(array.type):
        return True
    return pc.all(pc.is_finite(array)).as_py() is not False


# Cached because values repeat: 6 s instead of 17 for a million rows, the last one bad.
@functools.lru_cache(maxsize=1 << 16)
def complaint(text: str, kind: Kind) -> str | None:
    """Returns why a text is not a value of a type; `None` if it is, or is empty."""
    number = text.strip(_SPACES)
    if not text or kind == "BYTES" or _reads(number, kind):
        return None
    shown = repr(_shortened(text))
    if kind == "INT":
        if _WHOLE_FLOAT.fullmatch(number):
            return (
                f"{shown} is not written as a whole number; write "
                f"{number.split('.')[0]} (pandas: astype('Int64') before to_csv)"
            )
        return f"{shown} {_NOT_SO[kind]}"
    if _NOT_FINITE.fullmatch(number) or _DECIMAL.fullmatch(number):
        return f"{shown} is not finite; correct it, or leave the field empty"
    return f"{shown} {_NOT_SO[kind]}"


def of_unique(column: pa.Array, say: Callable[[str], str | None]) -> dict[int, str]:
    """Maps the texts of a column to messages, calling the function once per value.

    Args:
        column: The texts.
        say: Returns the message for a text, or `None`.

    Returns:
        The messages, by row.
    """
    encoded = column.dictionary_encode()
    said = [text and say(text) for text in encoded.dictionary.to_pylist()]
    places = [place for place, what in enumerate(said) if what]
    indices = np.asarray(pc.fill_null(encoded.indices, -1))
    found = np.flatnonzero(np.isin(indices, places))
    return {int(row): str(said[indices[row]]) for row in found}


def _is_number(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def _numbers_of_texts(column: pa.Array, kind: Kind) -> tuple[pa.Array, dict[int, str]]:
    texts = _texts(column)
    array = _parsed(texts, PARSED[kind])
    if array is not None:
        return array, {}
    wrong = of_unique(texts, lambda text: complaint(text, kind))
    return _parsed(_blanked(texts, wrong), PARSED[kind]), wrong


def _is_known_zone(kind: pa.TimestampType) -> bool:
    if _OFFSET.fullmatch(kind.tz):
        return True
    try:
        pa.array([0], pa.int64()).cast(kind).cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _is_valid(column: pa.Array) -> bool:
    """Whether texts are valid UTF-8; Arrow doesn't check that when it reads Parquet."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _texts_of_times(column: pa.Array) -> tuple[pa.StringArray, dict[int, str]]:
    """Formats dates and times as in CSV; returns messages for those out of range."""
    kind = column.type
    numbers = column.cast(pa.int64() if kind.bit_width > _HALF_WORD else pa.int32())
    if pa.types.is_time(kind):
        lowest, highest, what = 0, _SECONDS_IN_DAY - 1, _NO_TIME_OF_DAY
    else:
        lowest, highest, what = _FIRST_SECOND, _LAST_SECOND, _NO_DATE
    ticks = _TICKS[str(getattr(kind, "unit", "ms"))]
    if kind == pa.date32():
        lowest, highest = lowest // _SECONDS_IN_DAY, highest // _SECONDS_IN_DAY
        ticks = 1
    # 64 bits of nanoseconds only hold the years 1677 to 2262: clip the bounds.
    bad = pc.or_(
        pc.less(numbers, max(lowest * ticks, _LEAST)),
        pc.greater(numbers, min((highest + 1) * ticks - 1, -_LEAST - 1)),
    )
    rows = np.flatnonzero(np.asarray(pc.fill_null(bad, fill_value=False)))
    wrong = {int(row): f"{numbers[int(row)]} {what}" for row in rows}
    fine = _blanked(column, wrong) if wrong else column
    return fine.cast(pa.string()), wrong


def _texts(column: pa.Array) -> pa.StringArray:
    """Converts a column to texts; invalid UTF-8 is shown as backslash escapes."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array(
            [
                value if value is None else value.decode("utf-8", "backslashreplace")
                for value in column.to_pylist()
            ],
            pa.string(),
        )


def _numbers_of_numbers(
    column: pa.Array, kind: Kind
) -> tuple[pa.Array, dict[int, str]]:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if kind == "FLOAT":
        # Not safe=True, which rejects numbers that must be rounded.
        return column.cast(pa.float64(), safe=False), {}
    try:
        return column.cast(pa.int64()), {}
    except pa.ArrowInvalid:
        # Arrow says that some row doesn't fit, and not which: find them all.
        numbers = np.asarray(column.cast(pa.float64(), safe=False))
        whole = (np.floor(numbers) == numbers) & (np.abs(numbers) < _TOO_LONG)
        bad = np.flatnonzero(~whole & np.asarray(column.is_valid()))
        wrong = {int(row): f"{column[int(row)]} {_NOT_SO[kind]}" for row in bad}
        return _blanked(column, wrong).cast(pa.int64()), wrong


def _blanked(column: pa.Array, rows: Iterable[int]) -> pa.Array:
    mask = np.ones(len(column), bool)
    mask[list(rows)] = False
    return pc.if_else(pa.array(mask), column, None)


def _parsed(texts: pa.StringArray, target: pa.DataType) -> pa.Array | None:
    """Parses numbers like Arrow's CSV reader; `None` if a value is not a number.

    Hexadecimal integers, which Arrow accepts (0x10 as 16), count as invalid: they are
    codes rather than quantities.
    """
    if pa.types.is_integer(target) and _has_hexadecimal(texts):
        return None
    try:
        empty = pc.equal(pc.binary_length(texts), 0)
        return pc.utf8_trim(pc.if_else(empty, None, texts), _SPACES).cast(target)
    except pa.ArrowInvalid:
        return None


def _has_hexadecimal(texts: pa.StringArray) -> bool:
    return pc.any(pc.match_substring_regex(texts, "[xX]")).as_py() is True


def _reads(number: str, kind: Kind) -> bool:
    """Whether Arrow parses a text as a number; the same result as in bulk."""
    array = _parsed(pa.array([number]), PARSED[kind])
    if not number or array is None:
        return False
    return kind == "INT" or _is_finite_in_32_bits(array[0].as_py())


def _is_finite_in_32_bits(number: float | None) -> bool:
    try:
        return number is None or math.isfinite(
            struct.unpack("f", struct.pack("f", number))[0]
        )
    except OverflowError:
        return False


def _fits(column: pa.Array, kind: Kind) -> bool:
    if kind == "BYTES":
        return True
    # Integers beyond 64 bits are codes, whose digits a float would lose.
    if kind == "FLOAT":
        numbers = pc.utf8_trim(column, _SPACES)
        long = numbers.filter(pc.match_substring_regex(numbers, "^[-+]?[0-9]{19,}$"))
        if _parsed(long, pa.int64()) is None:
            return False
    return _parsed(column, PARSED[kind]) is not None


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_SHOWN_VALUE:
        return text
    return text[: _LONGEST_SHOWN_VALUE - 1] + "…"
