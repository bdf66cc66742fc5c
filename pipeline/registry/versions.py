"""Versions of a model in its serving directory: list them, and add one atomically.

A version is copied next to the others under a name that servers don't read, forced to
disk, and renamed, so that a server sees all of it or nothing of it, also after a kill.
"""

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ORIGIN_FILE = Path("assets.extra") / "origin.json"
_PARTIAL = ".partial-"


def versions(base: Path) -> list[int]:
    """Lists the complete versions under a model's serving directory, oldest first."""
    if not base.is_dir():
        return []
    return sorted(int(p.name) for p in base.iterdir() if p.name.isdecimal())


def origin_of(base: Path, version: int) -> dict[str, Any]:
    """Reads where a pushed version came from: the model artifact's uri and id."""
    path = base / str(version) / ORIGIN_FILE
    return json.loads(path.read_text()) if path.is_file() else {}


def push(model: Path, base: Path, origin: dict[str, Any]) -> int:
    """Makes a model the newest version, all at once.

    Args:
        model: Directory of a SavedModel.
        base: The model's serving directory; made when it isn't there.
        origin: What to remember of where the model comes from.

    Returns:
        The version: seconds since 1970, or one more than the newest version.
    """
    base.mkdir(parents=True, exist_ok=True)
    with _alone_in(base):
        return _push_alone(model, base, origin)


def _push_alone(model: Path, base: Path, origin: dict[str, Any]) -> int:
    _sweep(base)
    partial = base / f"{_PARTIAL}{uuid.uuid4().hex}"
    shutil.copytree(model, partial)
    marker = partial / ORIGIN_FILE
    marker.parent.mkdir(exist_ok=True)
    marker.write_text(json.dumps(origin, indent=1, sort_keys=True))
    for path in [*partial.rglob("*"), partial]:
        _force_to_disk(path)
    newest = versions(base)[-1:] or [0]
    version = max(int(time.time()), newest[0] + 1)
    partial.rename(base / str(version))
    _force_to_disk(base)
    return version


def _sweep(base: Path) -> None:
    """Removes what a push that was killed left behind."""
    for partial in base.glob(f"{_PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _alone_in(base: Path) -> Iterator[None]:
    """Waits until no other process pushes into a directory, and keeps others out."""
    descriptor = os.open(base, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _force_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
