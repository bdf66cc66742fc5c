"""Rows that show what the gate found: the first few of a split that are examples of it.

They are searched only when something was found, batch by batch, and the search ends
with the last row that is wanted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columnar import lists, shards
from pipeline.columnar.shards import Shard
from pipeline.trust import profile
from pipeline.trust.policy import Exhibit, Row

SHOWN = 3
"""Rows of each finding."""

Mask = npt.NDArray[np.bool_]


def with_rows(found: Exhibit, split: Iterable[Shard]) -> Exhibit:
    """Returns an exhibit with example rows.

    Args:
        found: Says which rows are examples.
        split: Shards to search, in order.
    """
    rows = tuple(_first(found, split))
    return replace(found, rows=rows)


def _first(found: Exhibit, split: Iterable[Shard]) -> Iterator[Row]:
    left = SHOWN
    seen: set[int] = set()
    for shard in split:
        for batch in shards.read_batches(shard):
            for place in _places(found, batch, seen)[:left]:
                yield _row_of(batch, int(place))
                left -= 1
            if not left:
                return


def _places(found: Exhibit, batch: pa.RecordBatch, seen: set[int]) -> npt.NDArray[Any]:
    """Returns the numbers of the rows of a batch that are examples."""
    if found.hashes:
        return _first_of_each(profile.keys_of(batch, found.keys), found.hashes, seen)
    if found.column not in batch.schema.names:
        return np.zeros(0, np.int64)
    column = lists.unwrap(batch.column(found.column))
    return np.flatnonzero(_is_inside(found, column))


def _first_of_each(
    hashed: profile.Hashed, wanted: Iterable[int], seen: set[int]
) -> npt.NDArray[Any]:
    places = []
    for each in wanted:
        there = np.flatnonzero(hashed == np.uint64(each))
        # One row for each hash: the others are the same.
        if each not in seen and len(there):
            seen.add(each)
            places.append(int(there[0]))
    return np.array(places, np.int64)


def _is_inside(found: Exhibit, column: pa.Array) -> Mask:
    if found.missing:
        return np.asarray(column.is_null())
    if found.text is not None:
        wanted = pa.scalar(found.text.encode(), pa.large_binary())
        inside = pc.equal(column.cast(pa.large_binary()), wanted)
    else:
        numbers = column.cast(pa.float64())
        inside = pc.is_valid(numbers)
        if found.low is not None:
            inside = pc.and_(inside, pc.greater_equal(numbers, found.low))
        if found.high is not None:
            inside = pc.and_(inside, pc.less(numbers, found.high))
    return np.asarray(pc.fill_null(inside, fill_value=False))


def _row_of(batch: pa.RecordBatch, place: int) -> Row:
    """Returns the values of a row by column, as text; missing ones are left out."""
    row: Row = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        value = lists.unwrap(column)[place].as_py()
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, float):
            value = f"{value:.7g}"
        if value is not None:
            row[name] = str(value)
    return row
