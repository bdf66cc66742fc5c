"""Columns of scalars as columns of lists, and back.

TFX and TFDV know columns of lists only: a row holds no list (the value is missing) or a
list of any length. Offsets are computed; values are never copied.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2

_ITEMS = {
    schema_pb2.INT: pa.int64(),
    schema_pb2.FLOAT: pa.float32(),
    schema_pb2.BYTES: pa.large_binary(),
}


def item_type(kind: pa.DataType) -> pa.DataType:
    """Returns the type that a list's items have: int64, float32 or large_binary."""
    if is_list(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float32()
    return pa.large_binary()


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds a list in each row."""
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
    )


def wrap(column: pa.Array) -> pa.LargeListArray:
    """Turns a column into lists: of one value each, or none where it is missing.

    Args:
        column: Scalars, or lists already.

    Returns:
        large_list of int64, float32 or large_binary; null where a row has no value.
    """
    target = pa.large_list(item_type(column.type))
    if is_list(column.type):
        return column if column.type == target else column.cast(target)
    if not column.null_count:
        offsets = pa.array(np.arange(len(column) + 1, dtype=np.int64))
        return pa.LargeListArray.from_arrays(offsets, column.cast(target.value_type))
    present = np.asarray(column.is_valid())
    ends = np.zeros(len(column) + 1, np.int64)
    np.cumsum(present, out=ends[1:])
    # Arrow takes a list for missing if the offset that it begins with is.
    offsets = pa.array(ends, mask=np.append(~present, False))
    values = column.drop_null().cast(target.value_type)
    return pa.LargeListArray.from_arrays(offsets, values)


def wrap_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Wraps every column of a batch."""
    return pa.RecordBatch.from_arrays(
        [wrap(column) for column in batch.columns], batch.schema.names
    )


def unwrap(column: pa.Array) -> pa.Array:
    """Returns the first value of each list; null where there is none.

    Args:
        column: Lists, or scalars, which come back as they are.
    """
    if not is_list(column.type):
        return column
    lengths = lengths_of(column)
    values = column.flatten()
    if (lengths == 1).all():
        return values
    starts = np.cumsum(lengths) - lengths
    return values.take(pa.array(starts, mask=lengths == 0))


def lengths_of(column: pa.Array) -> npt.NDArray[np.int64]:
    """Returns how many values each list holds, 0 where a row has none, int64 [rows]."""
    counted = pc.fill_null(pc.list_value_length(column), 0)
    return np.asarray(counted).astype(np.int64)


def arrow_schema(
    schema: schema_pb2.Schema, columns: Sequence[str] | None = None
) -> pa.Schema:
    """Returns the Arrow schema that TFX expects of data with a schema.

    Args:
        schema: Names and types of the columns; other kinds of features are skipped.
        columns: Only these, in the schema's order; all if not given.
    """
    return pa.schema(
        [
            pa.field(f.name, pa.large_list(_ITEMS[f.type]))
            for f in schema.feature
            if f.type in _ITEMS and (columns is None or f.name in columns)
        ]
    )


def conform(batch: pa.RecordBatch, expected: pa.Schema) -> pa.RecordBatch:
    """Reorders a batch to a schema's columns; absent ones become null columns.

    Args:
        batch: Any columns.
        expected: What is wanted; a column that the batch lacks is missing in each row.

    Returns:
        List columns of the types expected.
    """
    absent = [f.name for f in expected if f.name not in batch.schema.names]
    arrays = [
        pa.nulls(batch.num_rows, field.type)
        if field.name in absent
        else _cast(wrap(batch.column(field.name)), field.type)
        for field in expected
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=expected)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind)
