"""Files by URI: what a location is, and what an interrupted write leaves."""

from pathlib import Path

import pytest

from pipeline.columnar import files


def test_local_path_and_file_uri_are_the_same_file(tmp_path: Path) -> None:
    """A file written by path is read by its file:// URI, and listed under both."""
    path = tmp_path / "of some name" / "a.txt"

    files.write_bytes(path, b"content")

    assert files.read_bytes(path.as_uri()) == b"content"
    assert files.listed(path.parent) == [str(path)]
    assert files.size(path) == 7


def _write_half(path: Path) -> None:
    with files.created(path) as stream:
        stream.write(b"half")
        raise ValueError("stopped")


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """After an error while writing, neither the file nor a part of it is there."""
    path = tmp_path / "a.txt"

    with pytest.raises(ValueError, match="stopped"):
        _write_half(path)

    assert list(tmp_path.iterdir()) == []


def test_failed_write_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    """A file that is written again and fails is still the old one."""
    path = tmp_path / "a.txt"
    files.write_bytes(path, b"old")

    with pytest.raises(ValueError, match="stopped"):
        _write_half(path)

    assert path.read_bytes() == b"old"


def test_listing_is_sorted_and_leaves_out_hidden_files(tmp_path: Path) -> None:
    """Hidden files and directories are no data; an absent directory has none."""
    for name in ("b", "a", ".hidden", "_SUCCESS"):
        (tmp_path / name).write_text("")
    (tmp_path / "directory").mkdir()

    assert [files.name_of(f) for f in files.listed(tmp_path)] == ["a", "b"]
    assert files.listed(tmp_path / "absent") == []
