"""Records and tables become typed rows, and rows that don't fit."""

import json

import pyarrow as pa

from pipeline.ingestion import reading
from pipeline.ingestion.columns import Kinds
from pipeline.ingestion.reading import Rows
from pipeline.ingestion.records import find_records

KINDS: Kinds = {"fare": "FLOAT", "company": "BYTES"}


def read(text: bytes) -> Rows:
    """Reads text whose first record is in line 2."""
    records, _ = find_records(text, 2, is_last=True)
    return reading.read_text("a.csv", records, ("fare", "company"), KINDS, "utf-8")


def test_good_text_is_typed_at_once() -> None:
    """Each column has its type, an empty field is missing, and lines are kept."""
    rows = read(b'1.5,Blue\n,"Red\nCab"\n2,\n')

    assert rows.batch.to_pylist() == [
        {"fare": 1.5, "company": b"Blue"},
        {"fare": None, "company": b"Red\nCab"},
        {"fare": 2.0, "company": None},
    ]
    assert rows.lines.tolist() == [2, 3, 5]
    assert rows.rejected == ()


def test_bad_rows_leave_the_good_ones_alone() -> None:
    """Wrong values, counts and bytes are set aside with line, column and raw bytes."""
    rows = read(b"1,a\nx,b\n2,c,d\n3,\xff\n4,e\n")

    assert rows.batch.column("fare").to_pylist() == [1.0, 4.0]
    assert rows.lines.tolist() == [2, 6]
    assert [(r.line, r.column, r.raw) for r in rows.rejected] == [
        (3, "fare", b"x,b"),
        (4, None, b"2,c,d"),
        (5, None, b"3,\xff"),
    ]


def test_more_rows_can_be_set_aside_later() -> None:
    """Whoever reads on can reject rows for reasons of their own."""
    rows = read(b"1,a\n2,b\n3,c\n").without({1: ("fare", "too cheap")})

    assert rows.lines.tolist() == [2, 4]
    assert [(r.line, r.reason, r.raw) for r in rows.rejected] == [
        (3, "too cheap", b"2,b")
    ]


def test_rows_of_a_table_are_counted_from_its_first() -> None:
    """A row of Parquet that doesn't fit is kept as JSON, by its number in the file."""
    batch = pa.RecordBatch.from_pydict({"fare": ["1", "x"], "company": ["a", "b"]})

    rows = reading.read_table("a.parquet", batch, 101, KINDS)

    (rejected,) = rows.rejected
    assert rows.lines.tolist() == [101]
    assert (rejected.line, rejected.column) == (102, "fare")
    assert json.loads(rejected.raw) == {"fare": "x", "company": "b"}
