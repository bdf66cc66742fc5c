"""TFX's own file operations on s3://."""

from pathlib import Path

import pytest
from tfx.dsl.io import fileio
from tfx.utils import io_utils

from pipeline.columnar import files
from pipeline.components import file_systems


@pytest.fixture(autouse=True)
def _registered() -> None:
    file_systems.register()


def test_launcher_s_directories(bucket: str) -> None:
    """A directory is there when it is made, empty or not, and gone when removed."""
    directory = f"{bucket}/Node/.system/executor_execution/1"

    fileio.makedirs(directory)
    made = fileio.exists(directory), fileio.isdir(directory), fileio.listdir(directory)
    fileio.rmtree(directory)

    assert made == (True, True, [])
    assert not fileio.exists(directory)
    with pytest.raises(fileio.NotFoundError):
        fileio.rmtree(directory)


def test_text_and_bytes(bucket: str) -> None:
    """Files are written and read as TFX's `io_utils` does it."""
    io_utils.write_string_file(f"{bucket}/kinds/a.txt", "ä\n")
    io_utils.write_bytes_file(f"{bucket}/kinds/a.bin", b"\xff")

    assert io_utils.read_string_file(f"{bucket}/kinds/a.txt") == "ä\n"
    assert io_utils.read_bytes_file(f"{bucket}/kinds/a.bin") == b"\xff"
    assert fileio.glob(f"{bucket}/kinds/*.txt") == [f"{bucket}/kinds/a.txt"]
    with pytest.raises(fileio.NotFoundError):
        fileio.open(f"{bucket}/kinds/absent")


def test_a_file_is_uploaded(tmp_path: Path, bucket: str) -> None:
    """TFX copies a local file into the bucket, and finds it as the only one."""
    (tmp_path / "schema.pbtxt").write_text("feature {}")

    io_utils.copy_file(str(tmp_path / "schema.pbtxt"), f"{bucket}/1/schema.pbtxt")

    assert io_utils.get_only_uri_in_dir(f"{bucket}/1") == f"{bucket}/1/schema.pbtxt"


def test_a_tree_is_copied(bucket: str) -> None:
    """TFX copies a directory within the bucket, with what is below it."""
    files.write_text(f"{bucket}/from/a/b.txt", "b")
    files.write_text(f"{bucket}/from/c.txt", "c")

    io_utils.copy_dir(f"{bucket}/from", f"{bucket}/to")
    fileio.remove(f"{bucket}/from/c.txt")

    assert files.tree(f"{bucket}/to") == {"a/b.txt": 1, "c.txt": 1}
    assert files.tree(f"{bucket}/from") == {"a/b.txt": 1}
