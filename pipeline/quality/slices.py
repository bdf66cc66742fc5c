"""Assigns the rows of a batch to slices, for all slicing specs at once.

The rules are TFMA's: a row is in the slice of each of its values, a column of lists
gives several, a cross has the product of its columns' values, and a row without a value
is in no slice of that column.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ThroughlineError

SliceKey = tuple[tuple[str, Any], ...]
"""Columns and values, sorted as TFMA sorts them; empty for all rows."""

Integers = npt.NDArray[np.int64]


class SliceValueError(ThroughlineError, ValueError):
    """A value can't name a slice."""


@dataclass(frozen=True)
class Values:
    """A column to slice by: each row's distinct values, as codes.

    Attributes:
        rows: Row numbers, ascending, once per value of the row.
        codes: The row's value as an index into `vocabulary`.
        vocabulary: The distinct values: bytes, str, int or float.
    """

    rows: Integers
    codes: Integers
    vocabulary: Sequence[Any]

    @classmethod
    def of(cls, column: pa.Array | npt.NDArray[Any]) -> "Values":
        """Encodes a column.

        Args:
            column: Lists or scalars in Arrow; or NumPy values [N] or [N, any].
        """
        rows, flat = _flattened(column)
        if flat.null_count:
            present = np.asarray(flat.is_valid())
            rows, flat = rows[present], flat.drop_null()
        # Codes instead of texts: what follows is arithmetic on integers, and Python
        # sees each distinct value once.
        encoded = flat.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return _distinct(rows, codes, encoded.dictionary.to_pylist())

    def where(self, chosen: npt.NDArray[np.bool_]) -> Integers:
        """Returns the rows, each once, that hold a value which is chosen by code."""
        kept: Integers = np.unique(self.rows[chosen[self.codes]])
        return kept


@dataclass(frozen=True)
class Members:
    """Pairs of a slice and a row in it.

    Attributes:
        keys: The slices.
        slices: An index into `keys` per pair.
        rows: A row number per pair.
    """

    keys: tuple[SliceKey, ...]
    slices: Integers
    rows: Integers


@dataclass(frozen=True)
class Spec:
    """One slicing spec.

    Attributes:
        columns: Slice by each value of these, crossed if there are several.
        values: Only rows in which these columns hold these values.
    """

    columns: tuple[str, ...] = ()
    values: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, columns: Iterable[str], values: Mapping[str, str]) -> "Spec":
        """Reads TFMA's SlicingSpec: texts that look like numbers are numbers.

        Args:
            columns: Its feature_keys.
            values: Its feature_values.

        Raises:
            SliceValueError: A column is in both.
        """
        if both := sorted(set(columns) & set(values)):
            raise SliceValueError(
                f"slicing spec: {', '.join(both)} is in feature_keys and in "
                "feature_values; name a column in one of them"
            )
        typed = tuple(sorted((name, _number(text)) for name, text in values.items()))
        return cls(tuple(sorted(set(columns))), typed)

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the columns that the spec needs."""
        return (*self.columns, *(name for name, _ in self.values))


def members(
    specs: Sequence[Spec], columns: Mapping[str, Values], count: int
) -> Members:
    """Returns the rows of each slice that the specs define.

    Args:
        specs: The slicing specs; a slice that two of them make counts once.
        columns: The columns by name; rows have no value in a column that is absent.
        count: Rows in the batch.

    Raises:
        SliceValueError: A text that a slice would be named by is no UTF-8.
    """
    numbers: dict[SliceKey, int] = {}
    slices, rows = [], []
    for spec in specs:
        keys, which, where = _members_of(spec, columns, count)
        known = [numbers.setdefault(key, len(numbers)) for key in keys]
        slices.append(np.asarray(known, np.int64)[which])
        rows.append(where)
    found = np.concatenate(slices or [np.zeros(0, np.int64)])
    held = np.concatenate(rows or [np.zeros(0, np.int64)])
    # Two specs can define the same slice, and a row must count once in it.
    if len(set(specs)) > 1:
        pairs = np.unique(found * count + held) if count else found
        found, held = (pairs // count, pairs % count) if count else (found, held)
    return Members(tuple(numbers), found, held)


def _members_of(
    spec: Spec, columns: Mapping[str, Values], count: int
) -> tuple[list[SliceKey], Integers, Integers]:
    """Returns the slices of one spec, and pairs of their numbers and rows."""
    rows = np.arange(count, dtype=np.int64)
    if any(name not in columns for name in spec.names):
        return [], rows[:0], rows[:0]
    for name, value in spec.values:
        column = columns[name]
        chosen = np.array([_matches(value, v) for v in column.vocabulary], bool)
        rows = rows[np.isin(rows, column.where(chosen))]
    combined = np.zeros(len(rows), np.int64)
    combinations: list[tuple[Any, ...]] = [()]
    for name in spec.columns:
        column = columns[name]
        rows, combined, codes = _joined(rows, combined, column, count)
        # Compacted at each step, or many columns would overflow 64 bits.
        width = max(1, len(column.vocabulary))
        used, combined = np.unique(combined * width + codes, return_inverse=True)
        combinations = [
            (*combinations[at // width], column.vocabulary[at % width])
            for at in used.tolist()
        ]
    if not len(rows):
        return [], rows, rows
    return [_key(spec, each) for each in combinations], combined, rows


def _joined(
    rows: Integers, combined: Integers, column: Values, count: int
) -> tuple[Integers, Integers, Integers]:
    """Pairs each row with each value that it holds in a column."""
    # A join on arrays: for each row, where its values start and how many there are.
    held = np.bincount(column.rows, minlength=count)
    first = np.cumsum(held) - held
    times = held[rows]
    within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    at = np.repeat(first[rows], times) + within
    return np.repeat(rows, times), np.repeat(combined, times), column.codes[at]


def _key(spec: Spec, values: tuple[Any, ...]) -> SliceKey:
    pairs = zip(spec.columns, values, strict=True)
    named = [(name, _name(name, value)) for name, value in pairs]
    return tuple(sorted(itertools.chain(spec.values, named)))


def _name(column: str, value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise SliceValueError(
            f"column {column} holds {value!r}, which is no UTF-8 and can't name a "
            "slice; slice by another column, or fix the data"
        ) from error


def _matches(wanted: Any, value: Any) -> bool:
    # Columns of Parquet may hold text as bytes or str; specs hold text only.
    if isinstance(wanted, str):
        return value in {wanted, wanted.encode()}
    return bool(value in {wanted, str(wanted)})


def _number(text: str) -> Any:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def _flattened(column: pa.Array | npt.NDArray[Any]) -> tuple[Integers, pa.Array]:
    """Returns values without their lists, and the row of each."""
    # A column without any value has no type to encode.
    if not isinstance(column, np.ndarray) and pa.types.is_null(column.type):
        return np.zeros(0, np.int64), pa.array([], pa.int64())
    if isinstance(column, np.ndarray):
        each = column[0].size if len(column) else 1
        rows = np.repeat(np.arange(len(column), dtype=np.int64), each)
        return rows, pa.array(column.reshape(-1))
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        parents = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
        return parents.astype(np.int64), pc.list_flatten(column)
    return np.arange(len(column), dtype=np.int64), column


def _distinct(rows: Integers, codes: Integers, vocabulary: Sequence[Any]) -> Values:
    """Drops a value that a row holds twice."""
    if len(rows) > 1 and (rows[1:] == rows[:-1]).any():
        width = max(1, len(vocabulary))
        pairs = np.unique(rows * width + codes)
        rows, codes = pairs // width, pairs % width
    return Values(rows, codes, vocabulary)
