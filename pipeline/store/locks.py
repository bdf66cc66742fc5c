"""A lock that prevents the deletion of artifacts while nodes use them.

Nodes hold a shared lock on a file in the artifacts' directory, from before the cache
lookup until they have ended; `gc` takes it exclusively. The kernel releases it when a
process dies, so a killed node blocks nothing. Requires a file system with `flock`; NFS
has it across machines.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UsageError

_LOCK_FILE = ".in-use"


@contextmanager
def in_use(artifacts: Path) -> Iterator[None]:
    """Prevents the deletion of artifacts during the block; waits for one in progress.

    Args:
        artifacts: The directory of the artifacts; created if it does not exist.
    """
    artifacts.mkdir(parents=True, exist_ok=True)
    with (artifacts / _LOCK_FILE).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def unused(artifacts: Path) -> Iterator[None]:
    """Prevents nodes from starting during the block.

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
                f"{artifacts} is in use by a run, so nothing is removed; wait until "
                "the run has ended"
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
