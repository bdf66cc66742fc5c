"""Laying out the taxi sample."""

import csv
import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from data import taxi
from data.__main__ import main
from pipeline.errors import DataRefusedError, UsageError

SHA256 = "cdaf0b5931442ef47693f408f25a37af710aca23fccb90a78f00930e89548805"


def test_the_sample_is_written_as_it_came(tmp_path: Path) -> None:
    """The sample is the file from the wheel, byte by byte, 15,002 rows."""
    written = taxi.write_sample(tmp_path / "sample")

    assert written == tmp_path / "sample" / "taxi.csv"
    assert hashlib.sha256(written.read_bytes()).hexdigest() == SHA256
    with written.open() as file:
        assert sum(1 for _ in csv.reader(file)) == 1 + 15_002


def test_nothing_but_the_sample_is_left_behind(tmp_path: Path) -> None:
    """Neither the directory nor its parent keeps an unfinished file."""
    taxi.write_sample(tmp_path / "sample")

    assert [p.name for p in tmp_path.rglob("*")] == ["sample", "taxi.csv"]


def test_a_sample_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """Laying out twice does not write twice."""
    first = taxi.write_sample(tmp_path).stat()

    second = taxi.write_sample(tmp_path).stat()

    assert (first.st_ino, first.st_mtime_ns) == (second.st_ino, second.st_mtime_ns)


def test_an_edited_sample_is_refused_and_kept(tmp_path: Path) -> None:
    """An edited copy may be somebody's work, so it is neither used nor replaced."""
    edited = tmp_path / "taxi.csv"
    edited.write_text("fare,tips\n1.0,2.0\n")

    with pytest.raises(DataRefusedError) as refused:
        taxi.write_sample(tmp_path)

    assert str(refused.value) == (
        f"{edited} is not the sample any more (its checksum differs); delete it to "
        "get the sample back, or move it to a directory of its own and run on it "
        "with --data"
    )
    assert edited.read_text() == "fare,tips\n1.0,2.0\n"


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    """A stray file would be ingested with the sample, so it is named."""
    (tmp_path / "mine.csv").write_text("fare\n1.0\n")

    with pytest.raises(UsageError) as refused:
        taxi.write_sample(tmp_path)

    assert str(refused.value) == (
        f"{tmp_path} holds mine.csv, which would be ingested with the sample; empty "
        f"it, or run on those files with --data {tmp_path}"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["mine.csv"]


def test_a_missing_tfx_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without TFX there is no sample, and the message says so."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(UsageError) as refused:
        taxi.write_sample(tmp_path)

    assert str(refused.value) == (
        "the sample data comes with TFX, which is not installed; run `make run`, or "
        "name your own data with --data"
    )


def test_another_sample_in_the_wheel_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel whose sample differs from the one that was reviewed is not used."""
    monkeypatch.setattr(taxi, "SHA256", "0" * 64)

    with pytest.raises(
        DataRefusedError, match=r"not the sample this project was built"
    ):
        taxi.write_sample(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_tfx_is_found_without_importing_it(tmp_path: Path) -> None:
    """Laying out imports neither TFX nor TensorFlow, which would take seconds."""
    code = (
        "import sys; from pathlib import Path; from data.taxi import write_sample; "
        f"write_sample(Path({str(tmp_path)!r})); "
        "print([m for m in ('tfx', 'tensorflow') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )

    assert done.stdout == "[]\n"


def test_the_command_says_where_the_sample_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m data DIRECTORY` prints the file's path and ends with 0."""
    code = main([str(tmp_path / "sample")])

    assert code == 0
    assert capsys.readouterr().out == f"{tmp_path / 'sample' / 'taxi.csv'}\n"


def test_the_command_without_a_directory_ends_with_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A wrong command line is answered with the right one."""
    code = main([])

    assert code == 2
    assert capsys.readouterr().err == (
        "give the directory for the sample data: python -m data DIRECTORY "
        "[--by quarter]\n"
    )


def test_a_place_that_is_no_directory_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A directory that can't be made ends with 2 and a sentence, not a traceback."""
    code = main(["/dev/null/x"])

    sentence, named = capsys.readouterr().err.splitlines()
    assert code == 2
    assert sentence.startswith("/dev/null")
    assert "can't be used: not a directory" in sentence
    Path(named.removeprefix("The traceback is in ")).unlink()
