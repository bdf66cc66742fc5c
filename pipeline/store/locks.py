"""Keeps removals away from nodes that are reading or writing artifacts.

Nodes share a lock below the artifacts' directory, from before they look into the cache
until they have ended; what removes artifacts takes it alone. The kernel lets go of it
when a process dies, so a killed node blocks nothing. It works wherever the directory's
file system knows locks, also between machines on NFS.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UsageError

_LOCK_FILE = ".in-use"


@contextmanager
def in_use(artifacts: Path) -> Iterator[None]:
    """Keeps artifacts from being removed while the block runs; waits for a removal.

    Args:
        artifacts: The directory of the artifacts; created when it isn't there.
    """
    artifacts.mkdir(parents=True, exist_ok=True)
    with (artifacts / _LOCK_FILE).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def unused(artifacts: Path) -> Iterator[None]:
    """Keeps nodes from running while the block runs.

    Args:
        artifacts: The directory of the artifacts.

    Raises:
        UsageError: A run or a node is using them.
    """
    if not artifacts.is_dir():
        yield
        return
    with (artifacts / _LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{artifacts} is in use by a run, so nothing is removed; wait until no "
                "run is going on"
            ) from None
        yield


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds a file's lock, which the kernel lets go when the process dies.

    Raises:
        BlockingIOError: Another process holds it.
    """
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
