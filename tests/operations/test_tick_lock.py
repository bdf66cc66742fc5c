"""The lock of a tick."""

from pathlib import Path

import pytest

from operations import tick_lock
from operations.decisions import FencedError
from operations.tick_lock import HeldError


def test_one_at_a_time(tmp_path: Path) -> None:
    """The second learns which process is at work; afterwards it may."""
    with (
        tick_lock.held(tmp_path),
        pytest.raises(HeldError, match=r"process \d+ on .* operates this model"),
        tick_lock.held(tmp_path),
    ):
        pass

    with tick_lock.held(tmp_path) as token:
        token.check()


def test_a_lock_that_was_lost_is_noticed(tmp_path: Path) -> None:
    """By the token of whoever has got it since."""
    with tick_lock.held(tmp_path) as token:
        (tmp_path / "lock").unlink()
        with tick_lock.held(tmp_path) as newer:
            newer.check()
            with pytest.raises(FencedError, match="the lock was lost"):
                token.check()

    assert newer.number == token.number + 1
