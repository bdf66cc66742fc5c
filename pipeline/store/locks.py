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

from pipeline.columnar import files
from pipeline.columnar.files import Location
from pipeline.errors import UsageError

_LOCK_FILE = ".in-use"


@contextmanager
def in_use(artifacts: Location) -> Iterator[None]:
    """Prevents the deletion of artifacts during the block; waits for one in progress.

    Args:
        artifacts: The directory of the artifacts; created if it does not exist. In an
            object store there is no lock, and `gc` deletes nothing there.
    """
    if files.is_remote(artifacts):
        yield
        return
    directory = Path(artifacts)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / _LOCK_FILE).open("a") as file:
        # Waits: a `gc` takes seconds, and a node that failed instead would end the run.
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
    # Nothing to delete, and no directory to create the lock in: a mistyped --output
    # must not appear on disk.
    if not artifacts.is_dir():
        yield
        return
    with (artifacts / _LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Doesn't wait: a run can take hours, and the user can come back.
        except BlockingIOError:
            raise UsageError(
                f"{artifacts} is in use by a run, so nothing is removed; wait until "
                "the run has ended"
            ) from None
        yield


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds a file's lock, which the kernel releases when the process dies.

    Raises:
        BlockingIOError: Another process holds it.
    """
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
