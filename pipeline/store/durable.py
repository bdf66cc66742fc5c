"""Files that a crash leaves whole: written aside, forced to disk, renamed."""

import os
from pathlib import Path

_OWNER_ONLY = 0o600


def write(path: Path, text: str) -> None:
    """Replaces a file: a reader, also after a power cut, sees the old or the new one.

    Only its owner can read it, since such files hold settings: a password has no
    business there, and if one slips through nobody else sees it.

    Args:
        path: The file; its directory must be there.
        text: The new contents.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    # Not write_text and chmod: in between, others could read it.
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    # The new name is in the directory, which has to reach the disk too.
    force_to_disk(path.parent)


def make_private(path: Path) -> None:
    """Lets only its owner read a file that a library has written."""
    path.chmod(_OWNER_ONLY)


def force_to_disk(path: Path) -> None:
    """Waits until a file's contents, or a directory's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
