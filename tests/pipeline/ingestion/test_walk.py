"""Data files, and what stands in their way."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from pipeline.ingestion import walk
from pipeline.ingestion.walk import Part, What

ANY = Part("*.csv", re.compile(r".*\.csv"))
DEEP = Part("**", None)


def found(directory: Path, *parts: Part) -> list[tuple[str, What]]:
    """Paths below a directory that match, with what is there."""
    return [
        (str(entry.path.relative_to(directory)), entry.what)
        for entry in walk.walk(directory, parts)
    ]


def test_files_come_in_the_order_of_names(put: Callable[..., Path]) -> None:
    """Files that match are found; other and hidden names are not."""
    data = put("b.csv", "a.csv", "a.txt", ".hidden.csv", "_SUCCESS.csv")

    assert found(data, ANY) == [("a.csv", What.FILE), ("b.csv", What.FILE)]


def test_two_stars_are_any_number_of_directories(put: Callable[..., Path]) -> None:
    """`**` finds files at every depth, and the directories on the way."""
    data = put("a.csv", "x/b.csv", "x/y/c.csv")

    files = [path for path, what in found(data, DEEP, ANY) if what is What.FILE]

    assert files == ["a.csv", "x/b.csv", "x/y/c.csv"]


def test_a_literal_name_lists_no_directory(put: Callable[..., Path]) -> None:
    """A name that isn't a pattern is looked up; one that isn't there is no entry."""
    data = put("x/a.csv")
    literal = Part("x", re.compile("x"), is_literal=True)

    assert found(data, literal, ANY) == [
        ("x", What.ENTERED),
        ("x/a.csv", What.FILE),
    ]
    assert found(data, Part("y", re.compile("y"), is_literal=True), ANY) == []


def test_what_can_not_be_read_is_an_entry(put: Callable[..., Path]) -> None:
    """A broken link, a pipe and a directory named like a file say what they are."""
    data = put("d.csv/inner.txt")
    (data / "broken.csv").symlink_to(data / "gone.csv")
    os.mkfifo(data / "pipe.csv")

    entries = {entry.path.name: entry for entry in walk.walk(data, [ANY])}

    assert {entry.what for entry in entries.values()} == {What.FAULTY}
    assert "gone.csv, which is not there" in entries["broken.csv"].fault
    assert "a named pipe" in entries["pipe.csv"].fault
    assert "is a directory" in entries["d.csv"].fault


def test_a_link_to_its_own_directory_ends_the_walk(put: Callable[..., Path]) -> None:
    """A circle of links is reported, and not followed for ever."""
    data = put("x/a.csv")
    (data / "x" / "again").symlink_to(data)

    faulty = [e for e in walk.walk(data, [DEEP, ANY]) if e.what is What.FAULTY]

    assert [entry.path for entry in faulty] == [data / "x" / "again"]


def test_one_file_under_two_names_is_found(put: Callable[..., Path]) -> None:
    """A link to a file that is read too would count its rows twice."""
    data = put("a.csv", "b.csv")
    link = data / "c.csv"
    link.symlink_to(data / "a.csv")

    assert walk.repeated([data / "a.csv", data / "b.csv", link]) == (
        data / "a.csv",
        link,
    )
    assert walk.repeated([data / "a.csv", data / "b.csv"]) is None
