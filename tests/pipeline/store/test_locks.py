"""Locks between nodes and the deletion of artifacts."""

from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.store import locks


def test_nodes_share_the_directory(tmp_path: Path) -> None:
    """Two nodes can hold the lock; the directory is created."""
    artifacts = tmp_path / "artifacts"

    with locks.in_use(artifacts), locks.in_use(artifacts):
        assert artifacts.is_dir()


def test_nothing_is_removed_under_a_node(tmp_path: Path) -> None:
    """Deletion is rejected while a node runs, and possible afterwards."""
    with (
        locks.in_use(tmp_path),
        pytest.raises(UsageError, match=f"{tmp_path} is in use"),
        locks.unused(tmp_path),
    ):
        pytest.fail("the directory was free for removals")

    with locks.unused(tmp_path):
        assert tmp_path.is_dir()


def test_a_removal_excludes_another(tmp_path: Path) -> None:
    """The second of two concurrent deletions is rejected."""
    with (
        locks.unused(tmp_path),
        pytest.raises(UsageError, match="in use"),
        locks.unused(tmp_path),
    ):
        pytest.fail("two removals had the directory")


def test_where_there_is_nothing_nothing_is_made(tmp_path: Path) -> None:
    """Locking a missing directory doesn't create it."""
    with locks.unused(tmp_path / "artifacts"):
        pass

    assert not (tmp_path / "artifacts").exists()
