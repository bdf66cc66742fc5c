"""Laying out the taxi sample by quarter."""

import csv
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data import quarters, taxi
from data.__main__ import main
from pipeline.errors import DataRefusedError, UsageError
from pipeline.ingestion.spans import Newest, select


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample by quarter."""
    directory = tmp_path_factory.mktemp("work") / "quarters"
    quarters.write_sample(directory)
    return directory


def test_there_are_sixteen_spans(laid_out: Path) -> None:
    """The pattern finds spans 1 to 16, from 2013 to 2016, and nothing else is there."""
    found = select(laid_out, quarters.PATTERN, Newest(99))

    files = [path for path in laid_out.rglob("*") if path.is_file()]
    assert found.lines() == ["reads spans 1 to 16"]
    assert len(files) == 16
    assert (laid_out / "span-1" / "2013-q1.csv").is_file()
    assert (laid_out / "span-16" / "2016-q4.csv").is_file()


def test_every_row_is_in_one_quarter_as_it_was(laid_out: Path) -> None:
    """All rows together are those of the sample, byte by byte and each one once."""
    header, *rows = taxi.read_sample().splitlines(keepends=True)

    contents = [path.read_bytes() for path in laid_out.rglob("*.csv")]

    lines = [content.splitlines(keepends=True) for content in contents]
    assert {first for first, *_ in lines} == {header}
    assert Counter(row for _, *rest in lines for row in rest) == Counter(rows)
    assert len(rows) == 15_002


def test_trips_began_in_their_quarter(laid_out: Path) -> None:
    """A file named 2014-q3 holds trips that began in July to September 2014."""
    for path in laid_out.rglob("*.csv"):
        with path.open(newline="") as file:
            times = [int(row["trip_start_timestamp"]) for row in csv.DictReader(file)]
        days = [datetime.fromtimestamp(time, UTC) for time in times]
        assert {f"{d.year}-q{(d.month + 2) // 3}" for d in days} == {path.stem}


def test_laying_out_again_writes_what_is_missing(tmp_path: Path) -> None:
    """A second time only what is gone is written, and what is there stays."""
    first, second, *_ = quarters.write_sample(tmp_path)
    before = second.stat()
    first.unlink()

    quarters.write_sample(tmp_path)

    assert first.is_file()
    assert second.stat().st_ino == before.st_ino
    assert not list(tmp_path.glob(".*"))


def test_an_edited_quarter_is_refused_and_kept(tmp_path: Path) -> None:
    """An edited file may be somebody's work, so it is neither used nor replaced."""
    edited = quarters.write_sample(tmp_path)[2]
    edited.write_text("fare\n1\n")

    with pytest.raises(DataRefusedError, match=r"2013-q3.csv is not that quarter"):
        quarters.write_sample(tmp_path)

    assert edited.read_text() == "fare\n1\n"


@pytest.mark.parametrize("name", ["taxi.csv", "span-17/2017-q1.csv", "span-1/x.csv"])
def test_a_directory_with_other_files_is_refused(tmp_path: Path, name: str) -> None:
    """Other files would be ingested with the sample, so nothing is added to them."""
    other = tmp_path / name
    other.parent.mkdir(exist_ok=True)
    other.write_text("x\n1\n")

    with pytest.raises(UsageError, match=r"which is not of the sample by quarter"):
        quarters.write_sample(tmp_path)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [other]


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    """A file in the place of the directory is named."""
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="is a file; name a directory"):
        quarters.write_sample(tmp_path / "file")


def test_the_command_says_what_to_type_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--by quarter` lays the quarters out and shows the command that reads them."""
    code = main([str(tmp_path / "q"), "--by", "quarter"])

    assert code == 0
    assert capsys.readouterr().out == (
        f"{tmp_path}/q/span-1/2013-q1.csv to span-16/2016-q4.csv\n"
        f"next: python run_local.py --data {tmp_path}/q "
        "--pattern 'span-{SPAN}/*.csv' --window 4 --min-auc 0.9\n"
    )
