"""What is found of data: all files, all rows, in any batches."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from models.declarations import Classes
from pipeline.errors import DataRefusedError
from pipeline.project import survey
from pipeline.project.survey import Survey


def write(directory: Path, **columns: Sequence[object]) -> Path:
    """Writes columns as a CSV file; None is an empty field."""
    directory.mkdir(exist_ok=True, parents=True)
    rows = zip(*columns.values(), strict=True)
    path = directory / f"{len(list(directory.iterdir()))}.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([list(columns), *rows])
    return directory


def looked_at(directory: Path) -> Survey:
    """Surveys files in UTF-8."""
    return survey.survey(directory, "*", "utf-8")


def test_types_and_values_are_those_of_all_files(tmp_path: Path) -> None:
    """A number in the second file with a fraction makes all of them such numbers."""
    write(tmp_path / "in", a=[1, 2], b=["x", None])
    write(tmp_path / "in", a=[2.5, 2], b=["x", "y"])

    found = looked_at(tmp_path / "in")

    a, b = found.columns["a"], found.columns["b"]
    assert (found.rows, found.rejected) == (4, 0)
    assert (a.kind, list(a.values), list(a.counts)) == ("FLOAT", [1, 2, 2.5], [1, 2, 1])
    assert (b.kind, b.missing, list(b.values)) == ("BYTES", 1, ["x", "y"])
    assert not a.is_whole
    assert found.first[0] == {"a": 1.0, "b": "x"}
    assert found.first[1] == {"a": 2.0, "b": None}


def test_growth_dates_and_words(tmp_path: Path) -> None:
    """What grows from row to row, over files; what is a date; how many words."""
    days = [f"2026/01/0{n}" for n in range(1, 5)]
    texts = ["a long story", "and another one", "so it goes", "the end now"]
    write(tmp_path / "in", id=[1, 2, 3, 4], day=days, text=texts, n=[1, 2, 2, 3])
    write(tmp_path / "in", id=[5, 6, 7, 8], day=days, text=texts, n=[4, 5, 6, 7])

    columns = looked_at(tmp_path / "in").columns

    assert [c.name for c in columns.values() if c.grows] == ["id"]
    assert [c.name for c in columns.values() if c.is_date] == ["day"]
    assert columns["text"].words == pytest.approx(3.0)
    assert columns["n"].quantile(0.5) == 3.0


def test_ids_are_one_word_and_days_may_come_first(tmp_path: Path) -> None:
    """An id with a dash isn't a text of two words; a day in front isn't read."""
    ids = [f"T-{n:04d}" for n in range(4)]
    write(tmp_path / "in", id=ids, day=["31.01.2026", "1/2/26", "03-12-2025", "9/9/99"])

    columns = looked_at(tmp_path / "in").columns

    assert columns["id"].words == 1.0
    assert columns["day"].is_other_date
    assert not columns["day"].is_date
    assert not columns["id"].is_other_date


def test_lists_of_parquet_are_seen(tmp_path: Path) -> None:
    """A column that may hold several values is told apart."""
    table = pa.table({"tags": [["a", "b"], []], "n": [1, 2]})
    parquet.write_table(table, tmp_path / "x.parquet")

    columns = looked_at(tmp_path).columns

    assert (columns["tags"].is_list, columns["n"].is_list) == (True, False)


def test_labels_are_counted_with_the_values(tmp_path: Path) -> None:
    """Which value goes with which label is what shows a leak."""
    write(tmp_path / "in", x=["p", "q"] * 3, y=["no", "yes"] * 3)
    label = Classes(column="y", values=("no", "yes"))

    found = survey.labelled(looked_at(tmp_path / "in"), label)

    assert found.columns["x"].counts.tolist() == [[3, 3, 0], [3, 3, 3]]


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    """No directory, no file, no row, two headers, another format."""
    file = write(tmp_path / "in", a=[1]) / "0.csv"

    with pytest.raises(DataRefusedError, match="which is no directory"):
        looked_at(file)
    with pytest.raises(DataRefusedError, match=r"no file in .* matches 'x\*'"):
        survey.survey(tmp_path / "in", "x*", "utf-8")
    with pytest.raises(DataRefusedError, match="no rows that can be read"):
        looked_at(write(tmp_path / "none", a=[]))
    write(tmp_path / "in", b=[1])
    with pytest.raises(DataRefusedError, match="not the header of"):
        looked_at(tmp_path / "in")
    (tmp_path / "in" / "notes.txt").write_text("x")
    with pytest.raises(DataRefusedError, match=r"notes.txt is none of .csv"):
        looked_at(tmp_path / "in")


def test_an_unknown_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    """A flag's mistake is one sentence."""
    found = looked_at(write(tmp_path / "in", price=[1]))

    with pytest.raises(
        DataRefusedError, match=r"label is 'prise'.*did you mean price\?"
    ):
        found.column("prise", "label")
