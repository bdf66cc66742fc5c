"""New files of the training data."""

import gzip
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tensorflow_metadata.proto.v0 import schema_pb2

from operations import training_files
from operations.training_files import Place
from pipeline.errors import UsageError
from pipeline.ingestion import spans
from pipeline.ingestion.spans import Pattern

ROWS = pa.table(
    {
        "name": pa.array([b"Zo\xc3\xab", None], pa.binary()),
        "fare": pa.array([12.05, 0.1], pa.float32()),
    }
)


def place(directory: Path, pattern: str = "span-{SPAN}/*.csv") -> Place:
    """Training data of a pattern."""
    return Place(directory, Pattern(pattern))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("span-{SPAN}/*.csv", "span-12/new.csv"),
        ("span-{SPAN:4}/v{VERSION:2}/*", "span-0012/v01/new.csv"),
        ("{SPAN}.csv", "12.csv"),
        ("span-{SPAN}/trips-*.csv", "span-12/trips-new.csv"),
        ("{YYYY}-{MM}-{DD}/*.csv", "1970-01-13/new.csv"),
        ("{YYYY}/{MM}/{DD}.v{VERSION:2}.csv", "1970/01/13.v01.csv"),
    ],
)
def test_names_follow_the_pattern(tmp_path: Path, pattern: str, name: str) -> None:
    """A new file is found by the pattern that the others are found by."""
    ours = place(tmp_path, pattern)

    assert ours.name_for(12, "new", ".csv") == name
    assert ours.pattern.tokens_of(name)


def test_a_new_span_is_the_day_its_rows_came(tmp_path: Path) -> None:
    """Or the day after the newest span; a number is the next one on any day."""
    days = place(tmp_path / "days", "{YYYY}-{MM}-{DD}/*.csv")
    numbers = place(tmp_path / "numbers")
    today = date(2026, 3, 2)
    training_files.write(numbers, "span-7/a.csv", ROWS)

    empty = days.next_span(today)
    training_files.write(days, "2026-02-27/a.csv", ROWS)
    after_a_gap = days.next_span(today)
    training_files.write(days, "2026-03-02/a.csv", ROWS)
    taken = days.next_span(today)

    assert [spans.day_of(n) for n in (empty, after_a_gap, taken)] == [
        today,
        today,
        date(2026, 3, 3),
    ]
    assert numbers.next_span(today) == 8


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("*.csv", "labels become a new span"),
        ("**/{YYYY}-{MM}-{DD}.csv", "a new file can have many names"),
        ("**/span-{SPAN}.csv", "a new file can have many names"),
        ("span-{SPAN}/?.csv", "a new file can have many names"),
        ("span-{SPAN}/*-*.csv", "a new file can have many names"),
    ],
)
def test_other_patterns_are_refused(tmp_path: Path, pattern: str, said: str) -> None:
    """With the pattern, and one that works."""
    with pytest.raises(UsageError, match=said):
        place(tmp_path, pattern)


def test_the_form_is_that_of_the_newest_file(tmp_path: Path) -> None:
    """Header in its order, and format; without files the schema's columns, as CSV."""
    schema = schema_pb2.Schema(feature=[schema_pb2.Feature(name="fare")])
    ours = place(tmp_path, "span-{SPAN}/*")

    before = training_files.form_of(ours, schema)
    (tmp_path / "span-1").mkdir()
    (tmp_path / "span-1" / "a.csv.gz").write_bytes(gzip.compress(b"b,a\n1,2\n"))
    after = training_files.form_of(ours, schema)

    assert before == training_files.Form(("fare",), ".csv")
    assert after == training_files.Form(("b", "a"), ".csv.gz")


def test_formats_hold_the_same_rows(tmp_path: Path) -> None:
    """CSV, gzipped CSV and Parquet; a missing value is empty, a float short."""
    text = '"name","fare"\n"Zoë",12.05\n,0.1\n'

    plain = training_files.write(place(tmp_path), "a.csv", ROWS)
    packed = training_files.write(place(tmp_path), "b.csv.gz", ROWS)
    columns = training_files.write(place(tmp_path), "c/d.parquet", ROWS)

    assert plain.read_text() == text
    assert gzip.decompress(packed.read_bytes()).decode() == text
    assert parquet.read_table(columns)["name"].to_pylist() == ["Zoë", None]
    assert not list(tmp_path.rglob(".*"))


def test_text_has_the_encoding_of_the_data(tmp_path: Path) -> None:
    """UTF-16 has one byte order mark, however many pieces are written."""
    ours = Place(tmp_path, Pattern("span-{SPAN}/*.csv"), "utf-16")
    many = pa.concat_tables([ROWS] * 30_000)

    path = training_files.write(ours, "a.csv", many)

    assert path.read_bytes().decode("utf-16").count("Zoë") == 30_000
