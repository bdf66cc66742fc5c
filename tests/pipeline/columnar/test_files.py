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


def _write_half(path: files.Location) -> None:
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


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A directory that isn't there yet, on a disk and in a bucket."""
    if request.param == "local":
        return str(tmp_path / "some" / "where")
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


def test_a_bucket_is_like_a_directory(place: str) -> None:
    """What is written is there, listed, measured, copied and removed alike."""
    files.write_text(files.join(place, "b", "2.txt"), "zwei")
    files.write_text(files.join(place, "1.txt"), "eins")
    files.write_text(files.join(place, ".hidden"), "")
    files.copy_tree(place, files.join(place, "copy"))

    assert files.read_text(files.join(place, "copy", "b", "2.txt")) == "zwei"
    assert files.listed(place) == [files.join(place, "1.txt")]
    assert files.tree(files.join(place, "copy")) == {
        ".hidden": 0,
        "1.txt": 4,
        "b/2.txt": 4,
    }
    assert files.subdirectories(place) == [
        files.join(place, "b"),
        files.join(place, "copy"),
    ]
    assert files.is_directory(files.join(place, "b"))
    assert not files.is_directory(files.join(place, "1.txt"))

    files.remove(files.join(place, "1.txt"))
    files.remove_directory(files.join(place, "copy"))

    assert not files.exists(files.join(place, "1.txt"))
    assert not files.exists(files.join(place, "copy"))
    assert files.tree(files.join(place, "copy")) == {}


def test_failed_write_leaves_nothing_anywhere(place: str) -> None:
    """A half-written file is in a bucket as little as on a disk."""
    with pytest.raises(ValueError, match="stopped"):
        _write_half(files.join(place, "a.txt"))

    assert files.tree(place) == {}


def test_local_code_reads_what_is_elsewhere(place: str) -> None:
    """It gets a directory with the same files, which is gone afterwards if a copy."""
    files.write_text(files.join(place, "b", "2.txt"), "zwei")

    with files.local_copy(place) as local:
        text = Path(local, "b", "2.txt").read_text("utf-8")

    assert text == "zwei"
    assert Path(local).exists() is (local == place)


def test_local_code_writes_elsewhere(place: str) -> None:
    """What it wrote is there after the block, whatever the kind of place."""
    with files.written_locally(place) as local:
        Path(local, "b").mkdir()
        Path(local, "b", "2.txt").write_text("zwei")

    assert files.read_text(files.join(place, "b", "2.txt")) == "zwei"


def _fail_locally(place: str) -> None:
    with files.written_locally(place) as local:
        Path(local, "1.txt").write_text("eins")
        raise ValueError("stopped")


def test_a_failure_uploads_nothing(bucket: str) -> None:
    """Of what was written before an error nothing comes into the bucket."""
    with pytest.raises(ValueError, match="stopped"):
        _fail_locally(f"{bucket}/failed")

    assert files.tree(f"{bucket}/failed") == {}
