"""Columns of lists: wrapping, unwrapping, and what TFX expects."""

from typing import Any

import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.columnar import lists

SCHEMA = text_format.Parse(
    """
    feature { name: "fare" type: FLOAT }
    feature { name: "areas" type: INT }
    feature { name: "company" type: BYTES }
    """,
    schema_pb2.Schema(),
)


@pytest.mark.parametrize(
    ("column", "expected", "kind"),
    [
        (pa.array([1, None, 3], pa.int32()), [[1], None, [3]], pa.int64()),
        (pa.array([0.5, 1.5]), [[0.5], [1.5]], pa.float32()),
        (pa.array(["a", None]), [[b"a"], None], pa.large_binary()),
        (pa.array([None, None], pa.int64()), [None, None], pa.int64()),
        (pa.array([], pa.string()), [], pa.large_binary()),
        (pa.array([[1, 2], None, []]), [[1, 2], None, []], pa.int64()),
    ],
)
def test_wrapped_column_holds_a_list_per_value(
    column: pa.Array, expected: list[Any], kind: pa.DataType
) -> None:
    """A value becomes a list of one, a missing value no list, and lists stay."""
    wrapped = lists.wrap(column)

    assert wrapped.type == pa.large_list(kind)
    assert wrapped.to_pylist() == expected
    assert wrapped.null_count == expected.count(None)


@pytest.mark.parametrize(
    "values", [[1, None, 3], [None], [], [4, 5], [None, 1, None, None]]
)
def test_unwrapping_is_the_inverse_of_wrapping(values: list[int | None]) -> None:
    """Wrapped values come back as they were, also from a slice of the column."""
    column = pa.array(values, pa.int64())

    assert lists.unwrap(lists.wrap(column)).to_pylist() == values
    assert lists.unwrap(lists.wrap(column)[1:]).to_pylist() == values[1:]


def test_wrapping_without_missing_values_copies_nothing() -> None:
    """The values of a column without missing ones are the same memory afterwards."""
    column = pa.array([1, 2, 3], pa.int64())

    wrapped = lists.wrap(column)

    assert wrapped.values.buffers()[1].address == column.buffers()[1].address


def test_unwrapping_takes_the_first_of_several_values() -> None:
    """Of a list of several values the first counts, and an empty one is missing."""
    assert lists.unwrap(pa.array([[7, 8], [], None, [9]])).to_pylist() == [
        7,
        None,
        None,
        9,
    ]


def test_conformed_batch_has_the_columns_that_the_schema_names() -> None:
    """Order and types are the schema's; a column that is absent is missing in all."""
    batch = pa.RecordBatch.from_pydict({"company": ["x"], "fare": [2.0], "more": [1]})

    conformed = lists.conform(batch, lists.arrow_schema(SCHEMA))

    assert conformed.to_pylist() == [{"fare": [2.0], "areas": None, "company": [b"x"]}]
    assert conformed.schema == lists.arrow_schema(SCHEMA)
