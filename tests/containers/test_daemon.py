"""Where no daemon can be started, the reason is a sentence."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import daemon


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of one megabyte, in the place of the cache."""
    daemon.call("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path))
    monkeypatch.setattr(daemon, "CACHE", tmp_path)
    yield tmp_path
    daemon.call("umount", str(tmp_path))


def test_a_small_disk_is_named(docker: None, small_disk: Path) -> None:
    """Nothing is built where the images don't fit."""
    with (
        pytest.raises(daemon.UnavailableError, match=f"{small_disk} has 0 GB .* 20"),
        daemon.running(),
    ):
        pass
