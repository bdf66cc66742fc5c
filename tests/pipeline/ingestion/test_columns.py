"""Types of columns, and the values that are not of them."""

from datetime import date

import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.ingestion import columns
from pipeline.ingestion.columns import Kind


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        ([], "INT"),
        (["1", "-2", None], "INT"),
        (["1", "2.5"], "FLOAT"),
        (["1", "two"], "BYTES"),
        (["0x10"], "BYTES"),
        # A FLOAT would round it, and it may be an id.
        (["12345678901234567890"], "BYTES"),
    ],
)
def test_narrowest_type_holds_every_value(texts: list[str | None], kind: Kind) -> None:
    """A column gets the narrowest type that loses none of its values."""
    assert columns.narrowest(pa.array(texts, pa.string())) == kind


def test_parts_of_the_data_agree_on_the_widest() -> None:
    """What one file needs, all files get."""
    joined = columns.widest([{"a": "INT", "b": "FLOAT"}, {"a": "BYTES", "b": "INT"}])

    assert joined == {"a": "BYTES", "b": "FLOAT"}


def test_schema_without_a_type_leaves_the_column_open() -> None:
    """Only features whose type the schema gives are listed."""
    schema = schema_pb2.Schema(
        feature=[
            schema_pb2.Feature(name="fare", type=schema_pb2.FLOAT),
            schema_pb2.Feature(name="other"),
        ]
    )

    assert columns.kinds_of_schema(schema) == {"fare": "FLOAT"}
    assert columns.kinds_of_schema(None) == {}


def test_wrong_values_are_named_by_row() -> None:
    """What is right is converted, empty is missing, each wrong value has a reason."""
    texts = pa.array(["7", "", "seven", " 8 ", "2.0"])

    array, wrong = columns.converted(texts, "INT")

    assert array.type == pa.int64()
    assert [array[row].as_py() for row in (0, 1, 3)] == [7, None, 8]
    assert list(wrong) == [2, 4]
    assert "'seven'" in wrong[2]
    assert "write 2" in wrong[4]


@pytest.mark.parametrize("text", ["inf", "-Infinity", "nan", "1e39"])
def test_what_is_not_finite_in_32_bits_is_wrong(text: str) -> None:
    """Infinity, NaN, and what a FLOAT of 32 bits can't hold are set aside."""
    array, wrong = columns.converted(pa.array([text, "1.5"]), "FLOAT")

    assert array.type == pa.float32()
    assert array[1].as_py() == 1.5
    assert list(wrong) == [0]


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (pa.array([1.0, None]), "INT", [1, None]),
        (pa.array([True, False]), "INT", [1, 0]),
        (pa.array([3]), "BYTES", [b"3"]),
        (pa.array([date(2016, 1, 31)]), "BYTES", [b"2016-01-31"]),
    ],
    ids=["whole floats", "booleans", "numbers", "dates"],
)
def test_columns_of_parquet_are_converted(
    column: pa.Array, kind: Kind, expected: list[object]
) -> None:
    """Numbers, booleans and dates of Parquet become what CSV would give."""
    array, wrong = columns.converted(column, kind)

    assert array.to_pylist() == expected
    assert wrong == {}


def test_fractions_are_no_whole_numbers() -> None:
    """A fraction in a Parquet column of numbers is wrong where INT is expected."""
    array, wrong = columns.converted(pa.array([1.5, 2.0]), "INT")

    assert array.to_pylist() == [None, 2]
    assert "1.5" in wrong[0]


def test_dictionaries_are_the_values_they_stand_for() -> None:
    """A dictionary column is decoded, and supported if its values are."""
    column = pa.array(["a", "b", "a"]).dictionary_encode()

    assert columns.plain(column).to_pylist() == ["a", "b", "a"]
    assert columns.is_supported(column.type)
    assert not columns.is_supported(pa.list_(pa.int64()))
    assert not columns.is_supported(pa.duration("s"))


def test_equal_values_are_judged_once() -> None:
    """A function is called once for each distinct text, missing ones apart."""
    asked: list[str] = []

    def say(text: str) -> str | None:
        asked.append(text)
        return "wrong" if text == "b" else None

    said = columns.of_unique(pa.array(["a", "b", None, "b", "a"]), say)

    assert said == {1: "wrong", 3: "wrong"}
    assert sorted(asked) == ["a", "b"]
