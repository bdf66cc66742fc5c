"""Atomic file writes, readable by the owner only."""

import os
from pathlib import Path

import pytest

from pipeline.store import durable


@pytest.mark.parametrize("before", [None, "old and longer"])
def test_a_file_is_replaced_for_its_owner_only(
    tmp_path: Path, before: str | None
) -> None:
    """`write` replaces the contents with mode 0600, and leaves no temporary file."""
    path = tmp_path / "run.json"
    if before is not None:
        path.write_text(before)
        path.chmod(0o644)

    durable.write(path, "new é")

    assert path.read_text("utf-8") == "new é"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_what_a_killed_write_left_is_no_obstacle(tmp_path: Path) -> None:
    """A leftover temporary file of the same process id is replaced."""
    (tmp_path / f".run.json.{os.getpid()}").write_text("half")

    durable.write(tmp_path / "run.json", "whole")

    assert (tmp_path / "run.json").read_text() == "whole"


def test_files_of_libraries_are_made_private(tmp_path: Path) -> None:
    """`make_private` sets the mode to 0600."""
    path = tmp_path / "package.yaml"
    path.write_text("settings")
    path.chmod(0o644)

    durable.make_private(path)

    assert path.stat().st_mode & 0o777 == 0o600
