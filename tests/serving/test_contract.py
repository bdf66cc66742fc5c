"""What a version takes: rows in, columns for the model and rows for the log out."""

import base64
import math
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from google.protobuf import text_format
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.errors import ThroughlineError
from serving.contract import Bounds, Contract
from serving.rejections import RejectedError
from tests.serving.conftest import SCHEMA

RAW = {
    "fare": (types_pb2.DT_FLOAT, ()),
    "hour": (types_pb2.DT_INT64, ()),
    "company": (types_pb2.DT_STRING, ()),
}
EXAMPLES = {"examples": (types_pb2.DT_STRING, ())}
GOOD = {"fare": 1.5, "hour": 3, "company": "Flash"}


def definition(
    inputs: Mapping[str, tuple[int, tuple[int, ...]]],
) -> meta_graph_pb2.SignatureDef:
    """Returns the SignatureDef of inputs, each [N, ...]."""
    found = meta_graph_pb2.SignatureDef()
    for name, (dtype, shape) in inputs.items():
        info = found.inputs[name]
        info.dtype = dtype
        for size in (-1, *shape):
            info.tensor_shape.dim.add(size=size)
    return found


def contract(
    extra: Literal["ignore", "refuse"] = "refuse", *, schema: bool = True
) -> Contract:
    """Returns what the small model takes."""
    reviewed = text_format.Parse(SCHEMA, schema_pb2.Schema())
    return Contract(
        {"raw": definition(RAW), "serving_default": definition(EXAMPLES)},
        reviewed if schema else None,
        extra,
        Bounds(rows=10, text_bytes=20),
    )


def vectors(dtype: int, *shape: int) -> Contract:
    """Returns the contract of one input with axes of its own."""
    return Contract(
        {"s": definition({"x": (dtype, shape)})}, None, "refuse", Bounds(10, 20)
    )


def example(**values: list[Any]) -> bytes:
    """Returns a serialized tf.Example."""
    found = example_pb2.Example()
    for name, each in values.items():
        feature = found.features.feature[name]
        if each and isinstance(each[0], bytes):
            feature.bytes_list.value.extend(each)
        elif each and isinstance(each[0], float):
            feature.float_list.value.extend(each)
        else:
            feature.int64_list.value.extend(each)
    return bytes(found.SerializeToString())


def test_a_row_becomes_columns_and_a_logged_row() -> None:
    """Texts become bytes for the model, and stay texts in the log."""
    job = contract().of_rows("raw", [{**GOOD, "trip_id": "t"}])

    assert contract().features == {
        "fare": "FLOAT",
        "hour": "INT",
        "company": "BYTES",
        "trip_id": "BYTES",
    }
    assert job.columns == {"fare": [1.5], "hour": [3], "company": [b"Flash"]}
    assert job.logged == [[1.5, 3, "Flash", "t"]]


def test_a_number_of_many_digits_is_logged_as_a_fraction() -> None:
    """Arrow takes no such whole number for one with a fraction."""
    huge = 10**30

    job = contract().of_rows("raw", [{**GOOD, "fare": huge}])

    assert job.columns["fare"] == [huge]
    assert [type(value) for value in job.logged[0]][:2] == [float, int]


def test_null_is_what_the_model_knows_as_missing() -> None:
    """Where the schema allows a gap; the log has null."""
    job = contract().of_rows("raw", [{"fare": 1, "hour": None, "company": None}])

    assert job.columns == {"fare": [1], "hour": [-(2**63)], "company": [b""]}
    assert job.logged == [[1, None, None, None]]


def test_bytes_come_in_base64() -> None:
    """What is no UTF-8 is escaped in the log, and reaches the model as it is."""
    encoded = {"b64": base64.b64encode(b"\xffa").decode()}

    job = contract().of_rows("raw", [{**GOOD, "company": encoded}])

    assert job.columns["company"] == [b"\xffa"]
    assert job.logged[0][2] == "\\xffa"


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"fare": "1"}, "'fare' is '1'; expected a number that fits into float32"),
        ({"fare": True}, "'fare' is True; expected a number"),
        ({"fare": 1e39}, "'fare' is 1e+39; expected a number that fits into float32"),
        ({"fare": math.inf}, "'fare' is inf; expected a number"),
        ({"fare": math.nan}, "the schema requires it in each row"),
        ({"fare": {"a": 1}}, "'fare' is {'a': 1}; expected a number"),
        ({"hour": 1.0}, "'hour' is 1.0; expected a whole number that fits into int64"),
        ({"hour": 1 << 63}, "expected a whole number that fits into int64"),
        ({"hour": True}, "'hour' is True"),
        ({"company": 3}, "'company' is 3; expected text"),
        ({"company": "\ud800"}, "expected text"),
        ({"company": {"b64": "?"}}, "expected text"),
        ({"company": "x" * 21}, "a text of 21 bytes; expected at most 20"),
        ({"tips": 1.0}, "there is no feature 'tips'; expected company, fare, hour"),
        ({"trip_id": 1}, "'trip_id' is 1; expected text"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], part: str) -> None:
    """With the row, the feature, the value and what was expected."""
    with pytest.raises(RejectedError) as found:
        contract().of_rows("raw", [GOOD, {**GOOD, **change}])

    assert str(found.value).startswith("row 1: ")
    assert part in str(found.value)


def test_deep_and_long_values_are_shortened() -> None:
    """A message shows the beginning only, on one line."""
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]

    for value in (deep, "\n" * 10_000, ["x"] * 10_000):
        with pytest.raises(RejectedError) as found:
            contract().of_rows("raw", [{**GOOD, "fare": value}])
        assert len(str(found.value)) < 200
        assert "\n" not in str(found.value)


def test_extra_columns_can_be_ignored() -> None:
    """They reach neither the model nor the log."""
    job = contract("ignore").of_rows("raw", [{**GOOD, "tips": 1.0}])

    assert sorted(job.columns) == ["company", "fare", "hour"]
    assert job.logged == [[1.5, 3, "Flash", None]]


def test_columns_are_checked_like_rows() -> None:
    """And must have the same number of rows."""
    columns = {name: [value] for name, value in GOOD.items()}

    job = contract().of_columns("raw", columns)

    assert (job.rows, job.in_rows) == (1, False)
    with pytest.raises(RejectedError, match="'fare' has 2"):
        contract().of_columns("raw", {**columns, "fare": [1.0, 2.0]})


def test_examples_are_checked_and_logged() -> None:
    """The model gets the bytes, the log the features; a list without values is null."""
    text = example(fare=[2.5], company=[b"Blue"], hour=[])

    job = contract().of_rows("serving_default", [{"b64": base64.b64encode(text)}])

    assert job.columns == {"examples": [text]}
    assert job.logged == [[2.5, None, "Blue", None]]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"\xff\xff", "row 0 is no serialized tf.Example (2 bytes)"),
        (example(hour=[1]), "row 0: feature 'fare' is absent"),
        (example(fare=[1]), "feature 'fare' is 1; expected a number"),
        (example(fare=[1.0, 2.0]), "feature 'fare' has 2 values; expected one"),
        (example(fare=[1.0], other=[1]), "there is no feature 'other'"),
        (example(fare=[1.0], company=[b"x" * 21]), "text of 21 bytes"),
    ],
    # Serialized maps have no fixed order, and pytest-xdist wants the same names of
    # tests in each process.
    ids=["no example", "absent", "integer", "two values", "unknown", "long text"],
)
def test_a_wrong_example_is_named(text: bytes, part: str) -> None:
    """As a row is."""
    with pytest.raises(RejectedError) as found:
        contract().of_columns("serving_default", {"examples": [text]})

    assert part in str(found.value)


def test_without_a_schema_the_signature_decides() -> None:
    """Examples pass with whatever they have, and each input may be missing."""
    bare = contract(schema=False)

    job = bare.of_columns("serving_default", {"examples": [example(other=[1])]})

    assert job.rows == 1
    assert bare.of_rows("raw", [{**GOOD, "fare": None}]).columns["hour"] == [3]
    with pytest.raises(RejectedError, match="there is no feature 'more'"):
        bare.of_rows("raw", [{**GOOD, "more": 1}])


def test_vectors_have_their_size() -> None:
    """A row's value may be a list, which the log has as a list."""
    taken = vectors(types_pb2.DT_FLOAT, 2)

    job = taken.of_rows("s", [[1.0, 2], {"x": [3, 4]}])

    assert job.columns == {"x": [[1.0, 2], [3, 4]]}
    assert taken.features == {"x": "FLOAT[]"}
    for wrong in ([1.0], 3.0, [1.0, "x"], [[1.0], [2.0]]):
        with pytest.raises(RejectedError, match="row 0: feature 'x'"):
            taken.of_rows("s", [wrong])


def test_inputs_are_logged_by_their_columns() -> None:
    """An input can't be named like every column; requests name the input."""
    feature = 'feature { name: "trip miles" type: FLOAT value_count { max: 1 } }'
    taken = Contract(
        {
            "raw": definition({"trip_miles": (types_pb2.DT_FLOAT, ())}),
            "serving_default": definition(EXAMPLES),
        },
        text_format.Parse(feature, schema_pb2.Schema()),
        "refuse",
        Bounds(10, 20),
        {"trip_miles": "trip miles"},
    )

    row = taken.of_rows("raw", [{"trip_miles": 2.5}])
    text = example(**{"trip miles": [1.5]})
    parsed = taken.of_columns("serving_default", {"examples": [text]})

    assert taken.features == {"trip miles": "FLOAT"}
    assert (row.columns, row.logged) == ({"trip_miles": [2.5]}, [[2.5]])
    assert parsed.logged == [[1.5]]


def test_small_integers_have_no_missing_value() -> None:
    """Where null would be a number like any other, it is rejected."""
    with pytest.raises(RejectedError, match="'x' is None; expected a whole number"):
        vectors(types_pb2.DT_INT32).of_rows("s", [None])


def test_pictures_are_not_logged() -> None:
    """A value with several axes has no column in the log."""
    taken = vectors(types_pb2.DT_UINT8, 2, 2)

    job = taken.of_rows("s", [[[1, 2], [3, 4]]])

    assert (taken.features, job.logged) == ({}, [[]])


def test_what_cannot_be_served_is_named() -> None:
    """A signature of a type without JSON values keeps the version out."""
    with pytest.raises(ThroughlineError, match="input 'x' of the model is DT_RESOURCE"):
        vectors(types_pb2.DT_RESOURCE)


def test_an_unknown_signature_is_named() -> None:
    """With those that there are."""
    with pytest.raises(RejectedError, match="the model has raw, serving_default"):
        contract().of_rows("raws", [GOOD])


def test_versions_that_take_the_same_rows_are_known() -> None:
    """Then a shadow takes rows as the live version has checked them, else it may not.

    Required values count too: one of the two would reject what the other answers.
    """
    narrow, wide = vectors(types_pb2.DT_FLOAT, 2), vectors(types_pb2.DT_FLOAT, 3)

    assert contract().takes_the_same(contract())
    assert not narrow.takes_the_same(wide)
    assert not contract().takes_the_same(contract(schema=False))
