"""Processes whose parent is gone."""

import os
import select
import signal
import time

from pipeline.columnar.orphans import die_with


def test_a_process_whose_parent_is_gone_ends_itself() -> None:
    """A node that is forked while its runner dies doesn't go on alone."""
    child = os.fork()
    if not child:
        # Not its parent: what it sees when the parent has died before the call.
        die_with(os.getpid())
        os._exit(0)

    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def test_a_process_is_killed_when_its_parent_dies() -> None:
    """A parent that is killed can't end its children; the kernel does."""
    reading, writing = os.pipe()
    parent = os.fork()
    if not parent:
        os.close(reading)
        myself = os.getpid()
        if not os.fork():
            die_with(myself)
            os.write(writing, b"asked")
        # Both: a parent that goes on until it is killed, and a child that would.
        time.sleep(60)
        os._exit(0)
    os.close(writing)

    asked = os.read(reading, 5)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)

    assert asked == b"asked"
    # Nobody holds the pipe any more: the child is gone too.
    ended, _, _ = select.select([reading], [], [], 10)
    assert ended
    assert os.read(reading, 1) == b""
    os.close(reading)
