"""What is in the data files, told by contents."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.caching.fingerprint import digest
from pipeline.errors import DataRefusedError
from pipeline.ingestion import digests
from pipeline.ingestion.spans import Newest, select

PROJECT = Path(__file__).resolve().parents[3]
# Longer than the tick of the clock that file systems stamp with.
TICK_SECONDS = 0.05


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with one file."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("fare\n1\n")
    return tmp_path / "data"


def mark(data: Path) -> str:
    """The fingerprint of a directory without spans."""
    return digests.fingerprint(data, {"all": "*.csv"})


def test_a_fingerprint_is_of_the_contents(data: Path, tmp_path: Path) -> None:
    """Times of change, inodes and the directory make no difference."""
    before = mark(data)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "a.csv").write_text("fare\n1\n")
    os.utime(data / "a.csv", (0, 0))

    assert mark(data) == before
    assert mark(copy) == before
    assert before.startswith("split:all,num_files:1,total_bytes:7,sha256:")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: (data / "a.csv").write_text("fare\n2\n"),
        lambda data: (data / "b.csv").write_text(""),
        lambda data: (data / "a.csv").rename(data / "b.csv"),
        lambda data: (data / "a.csv").unlink(),
    ],
    ids=["edited", "added", "renamed", "removed"],
)
def test_a_fingerprint_shows_a_change(
    data: Path, change: Callable[[Path], object]
) -> None:
    """A file that was edited, added, renamed or removed makes another fingerprint."""
    before = mark(data)

    change(data)

    assert mark(data) != before


def test_spans_have_a_line_each(data: Path) -> None:
    """Each span that is read has its own line, in the order of spans."""
    for number in (10, 9):
        (data / str(number)).mkdir()
        (data / str(number) / "a.csv").write_text(f"{number}\n")
    selection = select(data, "{SPAN}/*.csv", Newest(2))

    splits = digests.splits_of(selection)
    lines = digests.fingerprint(data, splits).splitlines()

    assert splits == {"span-9": "9/*.csv", "span-10": "10/*.csv"}
    assert [line.partition(",")[0] for line in lines] == [
        "split:span-9",
        "split:span-10",
    ]


def test_a_digest_is_remembered(data: Path, tmp_path: Path) -> None:
    """A file that was not touched since is not read again."""
    file, memory = data / "a.csv", tmp_path / "memory.json"
    first = digests.sha256_of([file], memory, settled_seconds=0)
    known = json.loads(memory.read_text())
    known[str(file)][-1] = "remembered"
    memory.write_text(json.dumps(known))

    second = digests.sha256_of([file], memory)

    assert first == {file: digest("fare\n1\n")}
    assert second == {file: "remembered"}


def test_a_restored_time_hides_nothing(data: Path, tmp_path: Path) -> None:
    """An edit of the same size shows though the time of modification is put back."""
    file, memory = data / "a.csv", tmp_path / "memory.json"
    digests.sha256_of([file], memory, settled_seconds=0)
    before = file.stat()
    time.sleep(TICK_SECONDS)
    file.write_text("fare\n2\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    found = digests.sha256_of([file], memory)

    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert found == {file: digest("fare\n2\n")}


def test_what_has_just_changed_is_not_remembered(data: Path, tmp_path: Path) -> None:
    """A file that could change again in the same tick is read again the next time."""
    memory = tmp_path / "memory.json"

    digests.sha256_of([data / "a.csv"], memory)

    assert not memory.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', "half of {"])
def test_a_broken_memory_costs_time_only(data: Path, tmp_path: Path, text: str) -> None:
    """A memory that can't be read is written anew."""
    file, memory = data / "a.csv", tmp_path / "memory.json"
    memory.write_text(text)

    found = digests.sha256_of([file], memory, settled_seconds=0)

    assert found == {file: digest("fare\n1\n")}
    assert list(json.loads(memory.read_text())) == [str(file)]


def test_a_memory_that_can_not_be_written(data: Path, tmp_path: Path) -> None:
    """Without a place for the memory the files are read, and that is all."""
    memory = tmp_path / "nowhere" / "memory.json"

    found = digests.sha256_of([data / "a.csv"], memory, settled_seconds=0)

    assert found == {data / "a.csv": digest("fare\n1\n")}


def test_a_file_that_is_gone_is_named(data: Path) -> None:
    """A file that is removed between being found and being read is named."""
    file = data / "a.csv"
    file.unlink()

    with pytest.raises(DataRefusedError) as refused:
        digests.sha256_of([file])

    assert str(refused.value) == (
        f"{file} was removed while it was being read; put it back, or run again"
    )


def test_files_that_are_gone_are_forgotten(data: Path, tmp_path: Path) -> None:
    """The memory doesn't grow with files that no longer exist."""
    memory = tmp_path / "memory.json"
    digests.sha256_of([data / "a.csv"], memory, settled_seconds=0)
    (data / "a.csv").rename(data / "b.csv")

    digests.sha256_of([data / "b.csv"], memory, settled_seconds=0)

    assert list(json.loads(memory.read_text())) == [str(data / "b.csv")]


def test_neither_tfx_nor_tensorflow_is_imported() -> None:
    """The check whether anything has changed can't wait for TFX."""
    code = (
        "import sys; import pipeline.ingestion.digests, pipeline.ingestion.spans; "
        "import pipeline.runners.local.run_record; "
        "print([m for m in ('tfx', 'tensorflow', 'apache_beam') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
    )

    assert done.stdout == "[]\n"
