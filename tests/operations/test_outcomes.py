"""Outcome files: what is read, and what is refused."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from operations import outcomes
from operations.outcomes import Roles
from pipeline.errors import DataRefusedError, ThroughlineError, UsageError
from pipeline.ingestion.columns import Kinds

KINDS: Kinds = {"tips": "FLOAT", "company": "BYTES", "trip_seconds": "INT"}


def read(path: Path, text: str, roles: Roles | None = None) -> pa.Table:
    """Writes a CSV file and reads it."""
    path.write_text(text)
    return outcomes.read(path, KINDS, roles or Roles(), "utf-8")


def test_columns_are_typed(tmp_path: Path) -> None:
    """A row has its line, id, row, label time and the training data's columns."""
    table = read(tmp_path / "a.csv", "note,tips,request_id,row\nx,1.5,r1,3\ny,0,r2,\n")

    assert table.to_pydict() == {
        "line": [2, 3],
        "request_id": ["r1", "r2"],
        "row": [3, 0],
        "label_time": [None, None],
        "tips": [1.5, 0.0],
    }


@pytest.mark.parametrize(
    "text",
    [
        "1767258000",
        "1767258000.0",
        "2026-01-01T09:00:00",
        "2026-01-01 09:00:00Z",
        "2026-01-01T10:00:00+01:00",
    ],
)
def test_times_have_many_forms(tmp_path: Path, text: str) -> None:
    """Seconds since 1970, or ISO 8601 in UTC unless there is an offset."""
    roles = Roles(label_time="at")

    table = read(tmp_path / "a.csv", f"request_id,tips,at\nr1,1,{text}\n", roles)

    assert table["label_time"].to_pylist() == [datetime(2026, 1, 1, 9, tzinfo=UTC)]


def test_a_day_is_its_first_second(tmp_path: Path) -> None:
    """A date without a time is accepted too."""
    roles = Roles(label_time="at")

    table = read(tmp_path / "a.csv", "request_id,tips,at\nr1,1,2026-01-01\n", roles)

    assert table["label_time"].to_pylist() == [datetime(2026, 1, 1, tzinfo=UTC)]


def test_parquet_is_read_too(tmp_path: Path) -> None:
    """With its own types of times and numbers."""
    at = datetime(2026, 1, 1, 9, tzinfo=UTC)
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"request_id": ["r1"], "tips": [2], "at": [at]}), path)

    table = outcomes.read(path, KINDS, Roles(label_time="at"), "utf-8")

    assert table["label_time"].to_pylist() == [at]
    assert table["tips"].to_pylist() == [2.0]


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("tips\n1\n", UsageError, "has no column request_id; it has tips"),
        ("request_id\nr1\n", UsageError, "has no column tips"),
        ("request_id,tips\nr1,abc\n", DataRefusedError, "line 2, column 'tips'"),
        ("request_id,tips\nr1,1\n,2\n", DataRefusedError, "line 3, column 'request_"),
        ("request_id,tips\nr1,\n", DataRefusedError, "expected a value in each row"),
        ("request_id,tips\n", DataRefusedError, "has no rows"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, text: str, kind: type[ThroughlineError], said: str
) -> None:
    """Nothing of a file is used if a row doesn't fit."""
    with pytest.raises(kind, match=said):
        read(tmp_path / "a.csv", text)


def test_a_wrong_time_is_named(tmp_path: Path) -> None:
    """The first wrong row, its value and what was expected."""
    text = "request_id,tips,at\nr1,1,5\nr2,1,soon\n"

    with pytest.raises(DataRefusedError, match="line 3, column 'at': 'soon', expected"):
        read(tmp_path / "a.csv", text, Roles(label_time="at"))


@pytest.mark.parametrize(
    ("keys", "time", "said"),
    [
        (("company",), "", "to join by columns give both"),
        ((), "at", "to join by columns give both"),
        (("driver",), "at", "key names driver, which no request has"),
    ],
)
def test_keys_need_a_time(keys: tuple[str, ...], time: str, said: str) -> None:
    """And must be features, since nothing else is in the request log."""
    with pytest.raises(UsageError, match=said):
        Roles(keys, time)


def test_contents_tell_labels_apart(tmp_path: Path) -> None:
    """Two rows with the same label have the same text."""
    table = read(tmp_path / "a.csv", "request_id,tips\na,1\nb,1.0\nc,2\n")

    one, same, other = outcomes.contents(table).to_pylist()

    assert one == same != other
