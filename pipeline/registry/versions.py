"""The versions of a model in its serving directory: listing, pushing, deleting.

A new version is copied under a name that servers ignore, synced to disk, and renamed,
so that a server sees it complete or not at all, even after a crash. The live version is
the one with the highest number, which is what a model server loads; only this module
decides that.
"""

import fcntl
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ThroughlineError
from pipeline.ingestion import digests
from pipeline.store import durable

ORIGIN_FILE = Path("assets.extra") / "origin.json"
CONTENTS_FILE = Path("assets.extra") / "contents.json"
MODEL_FILE = "saved_model.pb"

MODEL_URI = "model_uri"
MODEL_ID = "model_id"
MODEL_CREATED = "model_created"
"""In milliseconds since 1970. A new store reuses ids and directories, but not times."""

_PARTIAL = ".partial-"
_NUMBER = re.compile(r"[1-9][0-9]*")
_HIGHEST = 2**63 - 1
"""Model servers read versions as signed 64-bit numbers."""


@dataclass(frozen=True)
class Version:
    """A complete version of a model.

    Attributes:
        number: Its number, which is also the name of its directory.
        path: Its directory.
    """

    number: int
    path: Path

    def origin(self) -> dict[str, Any]:
        """Reads its origin, see `identity`; empty if it was not pushed by us."""
        return _read_json(self.path / ORIGIN_FILE)

    def damage(self, memory: Path | None = None) -> str:
        """Compares its files with the sizes and digests recorded when it was pushed.

        Args:
            memory: File that caches digests; see `digests.sha256_of`.

        Returns:
            The first difference, such as "saved_model.pb is gone"; empty if there is
            none.
        """
        noted_in = self.path / CONTENTS_FILE
        noted = _read_json(noted_in)
        if not noted:
            if noted_in.exists():
                return f"{CONTENTS_FILE} can't be read"
            # Not pushed by us, so only the file that every server needs is checked.
            return _damage_of_file(self.path / MODEL_FILE, MODEL_FILE, None)
        for name, (size, _) in noted.items():
            if found := _damage_of_file(self.path / name, name, size):
                return found
        # Last, because it may have to read all files.
        now = digests.sha256_of([self.path / name for name in noted], memory)
        changed = (n for n, (_, was) in noted.items() if now[self.path / n] != was)
        return next((f"{name} has other contents" for name in changed), "")


@dataclass(frozen=True)
class Push:
    """The result of a push.

    Attributes:
        version: Number of the version that holds the model.
        note: Why a model was pushed again; empty for a new model.
    """

    version: int
    note: str = ""


def versions(base: Path) -> list[int]:
    """Returns the numbers of a serving directory's complete versions, ascending."""
    if not base.is_dir():
        return []
    names = [p.name for p in base.iterdir() if _NUMBER.fullmatch(p.name) and p.is_dir()]
    return sorted(n for n in map(int, names) if n <= _HIGHEST)


def live(base: Path) -> Version | None:
    """Returns the live version; `None` if there is no version."""
    newest = versions(base)[-1:]
    return version_of(base, newest[0]) if newest else None


def version_of(base: Path, number: int) -> Version:
    """Returns a version by its number."""
    return Version(number, base / str(number))


def origin_of(base: Path, version: int) -> dict[str, Any]:
    """Reads the origin of a version: see `Version.origin`."""
    return version_of(base, version).origin()


def is_same_model(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two origins identify the same Model artifact of the same metadata store.

    Args:
        one: An origin, see `identity`; early versions lack the time of creation.
        other: Another origin.
    """
    keys = [MODEL_URI, MODEL_ID]
    if MODEL_CREATED in one and MODEL_CREATED in other:
        keys.append(MODEL_CREATED)
    return all(key in one and one[key] == other.get(key) for key in keys)


def identity(model_id: int, uri: str, created: int) -> dict[str, Any]:
    """Returns the origin that is stored with a version of a Model artifact.

    Args:
        model_id: The artifact's id in the metadata store.
        uri: Its directory.
        created: When it was registered, in milliseconds since 1970.
    """
    return {MODEL_URI: uri, MODEL_ID: model_id, MODEL_CREATED: created}


def push_unless_live(model: Path, base: Path, origin: Mapping[str, Any]) -> Push:
    """Pushes a model, unless it is live already and its files are undamaged.

    Args:
        model: Directory of a SavedModel.
        base: The model's serving directory; created if it does not exist.
        origin: The model's origin, see `identity`.

    Raises:
        ThroughlineError: The highest possible version number is taken.
    """
    base.mkdir(parents=True, exist_ok=True)
    with _exclusive(base):
        now = live(base)
        damage = now.damage() if now else ""
        if now and is_same_model(now.origin(), origin):
            if not damage:
                return Push(now.number)
            version = _push_locked(model, base, origin)
            return Push(
                version,
                f"version {now.number} is damaged ({damage}); its model was pushed "
                f"again as {version}",
            )
        before = [
            n for n in versions(base) if is_same_model(origin_of(base, n), origin)
        ]
        version = _push_locked(model, base, origin)
        if before:
            return Push(
                version,
                f"the model of version {before[-1]} is back; it was pushed again as "
                f"{version}",
            )
        return Push(version)


def push(model: Path, base: Path, origin: Mapping[str, Any]) -> int:
    """Pushes a model as the newest version, atomically.

    Args:
        model: Directory of a SavedModel.
        base: The model's serving directory; created if it does not exist.
        origin: The model's origin, see `identity`.

    Returns:
        The version: seconds since 1970, or the newest version plus one if higher.

    Raises:
        ThroughlineError: The highest possible version number is taken.
    """
    base.mkdir(parents=True, exist_ok=True)
    with _exclusive(base):
        return _push_locked(model, base, origin)


def disposable(base: Path, keep: int) -> list[Version]:
    """Returns the versions that can be deleted.

    Args:
        base: The model's serving directory.
        keep: Number of the newest versions to keep, including the live one; at least 1.

    Returns:
        The others that were pushed by us, oldest first.
    """
    old = [version_of(base, number) for number in versions(base)[:-keep]]
    return [version for version in old if version.origin()]


def free(base: Path, old: Collection[Version]) -> None:
    """Deletes versions, each atomically as servers see it, but never the live one.

    Also deletes the partial copies that a killed push or deletion has left.
    """
    if not base.is_dir():
        return
    with _exclusive(base):
        _remove_partial_copies(base)
        now = live(base)
        for version in old:
            if now and version.number != now.number and version.path.is_dir():
                # Renamed first: a server must not load a half-deleted version.
                aside = base / f"{_PARTIAL}{uuid.uuid4().hex}"
                version.path.rename(aside)
                shutil.rmtree(aside)


def _push_locked(model: Path, base: Path, origin: Mapping[str, Any]) -> int:
    _remove_partial_copies(base)
    newest = (versions(base)[-1:] or [0])[0]
    if newest == _HIGHEST:
        raise ThroughlineError(
            f"nothing was pushed: {base / str(newest)} has the highest version number "
            "that a model server reads; remove it or give it a lower number"
        )
    partial = base / f"{_PARTIAL}{uuid.uuid4().hex}"
    shutil.copytree(model, partial)
    _write_json(partial / ORIGIN_FILE, dict(origin))
    _write_json(partial / CONTENTS_FILE, _contents_of(partial))
    for path in [*partial.rglob("*"), partial]:
        durable.force_to_disk(path)
    version = max(int(time.time()), newest + 1)
    partial.rename(base / str(version))
    durable.force_to_disk(base)
    return version


def _contents_of(directory: Path) -> dict[str, tuple[int, str]]:
    """Returns the size in bytes and the SHA-256 of each file, by relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    found = digests.sha256_of(files)
    return {
        path.relative_to(directory).as_posix(): (path.stat().st_size, found[path])
        for path in files
    }


def _damage_of_file(path: Path, name: str, size: int | None) -> str:
    if not path.is_file():
        return f"{name} is gone"
    now = path.stat().st_size
    if not now and size != 0:
        return f"{name} is empty"
    if size not in {None, now}:
        return f"{name} has {now:,} bytes instead of {size:,}"
    return ""


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(values, indent=1, sort_keys=True), "utf-8")


def _remove_partial_copies(base: Path) -> None:
    """Deletes the partial copies that a killed push has left."""
    for partial in base.glob(f"{_PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _exclusive(base: Path) -> Iterator[None]:
    """Holds an exclusive lock on a serving directory during the block."""
    descriptor = os.open(base, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
