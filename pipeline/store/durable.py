"""Atomic and durable file writes: to a temporary file, fsync, rename."""

import os
from pathlib import Path

_OWNER_ONLY = 0o600


def write(path: Path, text: str) -> None:
    """Replaces a file atomically: after a crash it has the old or the new contents.

    The file is readable by its owner only (0600). Such files hold settings; they should
    never contain a password, but this limits the harm if one does.

    Args:
        path: The file; its directory must exist.
        text: The new contents.
    """
    stage(path.with_name(f".{path.name}.{os.getpid()}"), text).replace(path)
    # The rename is an entry of the directory, which must reach the disk too.
    force_to_disk(path.parent)


def stage(part: Path, text: str, mode: int = _OWNER_ONLY) -> Path:
    """Writes a temporary file and syncs it to disk; the caller renames it.

    Args:
        part: The temporary file; replaced if it exists.
        text: Its contents.
        mode: Its permissions.

    Returns:
        The temporary file.
    """
    # Not write_text and then chmod: others could read the file in between.
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return part


def make_private(path: Path) -> None:
    """Sets the mode of a file that a library has written to 0600."""
    path.chmod(_OWNER_ONLY)


def force_to_disk(path: Path) -> None:
    """Calls fsync on a file's contents, or on a directory's entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
