"""Versions of a model in its serving directory: what is live, and how one is added.

A version is copied next to the others under a name that servers don't read, forced to
disk, and renamed, so that a server sees all of it or nothing of it, also after a kill.
What is live is answered here and nowhere else: the version with the highest number,
which is the one that a model server loads.
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
"""In milliseconds since 1970: ids and directories begin anew with a new store."""

_PARTIAL = ".partial-"
_NUMBER = re.compile(r"[1-9][0-9]*")
_HIGHEST = 2**63 - 1
"""Model servers read versions as signed 64-bit numbers."""


@dataclass(frozen=True)
class Version:
    """A complete version.

    Attributes:
        number: Its number, and the name of its directory.
        path: Its directory.
    """

    number: int
    path: Path

    def origin(self) -> dict[str, Any]:
        """Reads where it came from; empty if somebody else has put it there."""
        return _read_json(self.path / ORIGIN_FILE)

    def damage(self, memory: Path | None = None) -> str:
        """Compares its files with what was noted when it was pushed.

        Args:
            memory: Where digests are remembered; see `digests.sha256_of`.

        Returns:
            What is wrong, such as "saved_model.pb is gone"; empty if nothing is.
        """
        noted_in = self.path / CONTENTS_FILE
        noted = _read_json(noted_in)
        if not noted:
            if noted_in.exists():
                return f"{CONTENTS_FILE} can't be read"
            # Of unknown contents: without this file no server can load it.
            return _damage_of_file(self.path / MODEL_FILE, MODEL_FILE, None)
        for name, (size, _) in noted.items():
            if found := _damage_of_file(self.path / name, name, size):
                return found
        # Last, since it reads everything that wasn't read before.
        now = digests.sha256_of([self.path / name for name in noted], memory)
        changed = (n for n, (_, was) in noted.items() if now[self.path / n] != was)
        return next((f"{name} has other contents" for name in changed), "")


@dataclass(frozen=True)
class Push:
    """What became of a model that was to be live.

    Attributes:
        version: The version that holds it.
        note: Why the model was pushed although it was not new; empty if it was.
    """

    version: int
    note: str = ""


def versions(base: Path) -> list[int]:
    """Lists the complete versions under a model's serving directory, oldest first."""
    if not base.is_dir():
        return []
    names = [p.name for p in base.iterdir() if _NUMBER.fullmatch(p.name) and p.is_dir()]
    return sorted(n for n in map(int, names) if n <= _HIGHEST)


def live(base: Path) -> Version | None:
    """Returns the version that is live, if there is one."""
    newest = versions(base)[-1:]
    return version_of(base, newest[0]) if newest else None


def version_of(base: Path, number: int) -> Version:
    """Returns a version by its number."""
    return Version(number, base / str(number))


def origin_of(base: Path, version: int) -> dict[str, Any]:
    """Reads where a pushed version came from: see `Version.origin`."""
    return version_of(base, version).origin()


def is_same_model(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two origins name the same Model artifact of the same metadata store.

    Args:
        one: Its id and uri and, but for versions pushed long ago, when it was created.
        other: The same.
    """
    keys = [MODEL_URI, MODEL_ID]
    if MODEL_CREATED in one and MODEL_CREATED in other:
        keys.append(MODEL_CREATED)
    return all(key in one and one[key] == other.get(key) for key in keys)


def identity(model_id: int, uri: str, created: int) -> dict[str, Any]:
    """Returns what a version notes of the Model artifact that it holds.

    Args:
        model_id: The artifact's id in the metadata store.
        uri: Its directory.
        created: When it was registered, in milliseconds since 1970.
    """
    return {MODEL_URI: uri, MODEL_ID: model_id, MODEL_CREATED: created}


def push_unless_live(model: Path, base: Path, origin: Mapping[str, Any]) -> Push:
    """Makes a model live, unless it is live and whole already.

    Args:
        model: Directory of a SavedModel.
        base: The model's serving directory; created when it isn't there.
        origin: What to remember of where the model comes from.
    """
    base.mkdir(parents=True, exist_ok=True)
    with _alone_in(base):
        now = live(base)
        damage = now.damage() if now else ""
        if now and is_same_model(now.origin(), origin):
            if not damage:
                return Push(now.number)
            version = _push_alone(model, base, origin)
            return Push(
                version,
                f"version {now.number} is damaged ({damage}); its model was pushed "
                f"again as {version}",
            )
        before = [
            n for n in versions(base) if is_same_model(origin_of(base, n), origin)
        ]
        version = _push_alone(model, base, origin)
        if before:
            return Push(
                version,
                f"the model of version {before[-1]} is back; it was pushed again as "
                f"{version}",
            )
        return Push(version)


def push(model: Path, base: Path, origin: Mapping[str, Any]) -> int:
    """Makes a model the newest version, all at once.

    Args:
        model: Directory of a SavedModel.
        base: The model's serving directory; created when it isn't there.
        origin: What to remember of where the model comes from.

    Returns:
        The version: seconds since 1970, or one more than the newest version.
    """
    base.mkdir(parents=True, exist_ok=True)
    with _alone_in(base):
        return _push_alone(model, base, origin)


def disposable(base: Path, keep: int) -> list[Version]:
    """Lists versions that nothing needs: not the newest, not live, not of others.

    Args:
        base: The model's serving directory.
        keep: How many of the newest to leave, the live one among them; at least 1.

    Returns:
        The others, oldest first; none that somebody else has put there.
    """
    old = [version_of(base, number) for number in versions(base)[:-keep]]
    return [version for version in old if version.origin()]


def free(base: Path, old: Collection[Version]) -> None:
    """Removes versions, each at once as servers see it; the live one is never removed.

    Also removes what a push or removal that was killed has left.
    """
    if not base.is_dir():
        return
    with _alone_in(base):
        _sweep(base)
        now = live(base)
        for version in old:
            if now and version.number != now.number and version.path.is_dir():
                # A server that looks at this moment must not load half of a version.
                aside = base / f"{_PARTIAL}{uuid.uuid4().hex}"
                version.path.rename(aside)
                shutil.rmtree(aside)


def _push_alone(model: Path, base: Path, origin: Mapping[str, Any]) -> int:
    _sweep(base)
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
    """Returns size and SHA-256 of each file, by its relative path."""
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
