"""What type a column has, and which of its values are not of it.

TFX knows whole numbers of 64 bits, numbers of 32 bits, and bytes. A column is one of
these by the reviewed schema, or by what all its values fit. In a column of lists it is
the type of the items.
"""

import functools
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.columnar.lists import is_list, lengths_of

Kind = Literal["INT", "FLOAT", "BYTES"]
Kinds = Mapping[str, Kind]

NARROWEST: Kind = "INT"
# From the narrowest to the one that holds everything.
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
"""What text is parsed as; numbers are rounded from 64 to 32 bits as Python does."""

WRITTEN: Mapping[Kind, pa.DataType] = {
    "INT": pa.int64(),
    "FLOAT": pa.float32(),
    "BYTES": pa.large_binary(),
}
"""What the items of a column's lists are in a shard."""

_LONGEST_SHOWN_VALUE = 40
_SPACES = " \t"
_TOO_LONG = 2.0**63
_NO_ITEM = "a list with an item that is missing; give it a value, or leave it out"
_NOT_SO: Mapping[Kind, str] = {
    "INT": "is not a whole number; correct it, or leave the field empty",
    "FLOAT": "is not a number; correct it, or leave the field empty",
}
_WHOLE_FLOAT = re.compile(r"-?[0-9]+\.0*")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)


def kinds_of_schema(schema: schema_pb2.Schema | None) -> dict[str, Kind]:
    """Lists the columns to which a schema gives a type."""
    described = schema.feature if schema else ()
    return {f.name: _OF_SCHEMA[f.type] for f in described if f.type in _OF_SCHEMA}


def narrowest(column: pa.Array) -> Kind:
    """Finds the narrowest type that holds every value of a column.

    Args:
        column: Its texts, or what a Parquet file holds.

    Returns:
        INT if there are no values at all.
    """
    kind = column.type
    if is_list(kind):
        return narrowest(_items(column))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "INT"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "FLOAT"
    if not (is_text(kind) or pa.types.is_null(kind)):
        return "BYTES"
    texts = _texts(column)
    return next(kind for kind in _ORDER if _fits(texts, kind))


def widest(kinds: Iterable[Kinds]) -> dict[str, Kind]:
    """Joins what was found in parts of the data.

    Args:
        kinds: The narrowest types of each part, all with the same columns.

    Returns:
        For each column the narrowest type that holds the values of all parts.
    """
    joined: dict[str, Kind] = {}
    for part in kinds:
        for name, kind in part.items():
            joined[name] = max(joined.get(name, kind), kind, key=_ORDER.index)
    return joined


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of a type holds texts, as every column of CSV does."""
    return (
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


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
    if kind == "BYTES":
        # Times and numbers of Parquet files become texts, as they would be in CSV.
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
    items, wrong = converted(_items(column), kind)
    for item in np.flatnonzero(np.asarray(items.is_null())):
        wrong.setdefault(int(item), _NO_ITEM)
    ends = np.cumsum(lengths)
    rows = np.searchsorted(ends, list(wrong), side="right")
    present = np.asarray(column.is_valid())
    offsets = pa.array(np.append(0, ends), pa.int64(), mask=np.append(~present, False))
    lists = pa.LargeListArray.from_arrays(offsets, items)
    return lists, dict(zip(map(int, rows), wrong.values(), strict=True))


def _items(column: pa.Array) -> pa.Array:
    """Returns the items of all lists, one behind the other."""
    items = column.flatten()
    return items.dictionary_decode() if pa.types.is_dictionary(items.type) else items


def is_finite(array: pa.Array) -> bool:
    """Whether a column holds neither infinity nor what is no number."""
    if not pa.types.is_floating(array.type):
        return True
    return pc.all(pc.is_finite(array)).as_py() is not False


# Values repeat a great deal: with the bad row last of a million, 17 s became 6 s.
@functools.lru_cache(maxsize=1 << 16)
def complaint(text: str, kind: Kind) -> str | None:
    """Says why a text is not of a type; none if it is, as an empty one always is."""
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
    """Says something of each value of a column, and asks once for equal ones.

    Args:
        column: Texts.
        say: What to say of a text, if anything.

    Returns:
        What was said, by row.
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


def _texts(column: pa.Array) -> pa.StringArray:
    """Turns a column into texts; bytes that are none are shown by their numbers."""
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
        # To round a number is not to lose it.
        return column.cast(pa.float64(), safe=False), {}
    try:
        return column.cast(pa.int64()), {}
    except pa.ArrowInvalid:
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
    """Reads numbers as Arrow's CSV reader does; none if a value is no number."""
    try:
        empty = pc.equal(pc.binary_length(texts), 0)
        return pc.utf8_trim(pc.if_else(empty, None, texts), _SPACES).cast(target)
    except pa.ArrowInvalid:
        return None


def _reads(number: str, kind: Kind) -> bool:
    """Whether Arrow reads it, since what it reads in bulk must not depend on others."""
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
    # Arrow takes 0x1F for a whole number, and a float loses digits of a long one: both
    # are codes rather than quantities.
    if pc.any(pc.match_substring_regex(column, "[xX]")).as_py():
        return False
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
