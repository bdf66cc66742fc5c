"""Removals and nodes keep out of each other's way."""

from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.store import locks


def test_nodes_share_the_directory(tmp_path: Path) -> None:
    """Two nodes use the artifacts at once; the directory is made if need be."""
    artifacts = tmp_path / "artifacts"

    with locks.in_use(artifacts), locks.in_use(artifacts):
        assert artifacts.is_dir()


def test_nothing_is_removed_under_a_node(tmp_path: Path) -> None:
    """A removal is refused while a node runs, and goes on when it has ended."""
    with (
        locks.in_use(tmp_path),
        pytest.raises(UsageError, match=f"{tmp_path} is in use"),
        locks.unused(tmp_path),
    ):
        pytest.fail("the directory was free for removals")

    with locks.unused(tmp_path):
        assert tmp_path.is_dir()


def test_a_removal_excludes_another(tmp_path: Path) -> None:
    """Two removals at once are one too many."""
    with (
        locks.unused(tmp_path),
        pytest.raises(UsageError, match="in use"),
        locks.unused(tmp_path),
    ):
        pytest.fail("two removals had the directory")


def test_where_there_is_nothing_nothing_is_made(tmp_path: Path) -> None:
    """A removal where no run has been leaves no directory behind."""
    with locks.unused(tmp_path / "artifacts"):
        pass

    assert not (tmp_path / "artifacts").exists()
