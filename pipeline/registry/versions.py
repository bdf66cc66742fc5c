"""The versions of a model in its serving directory: listing, checking, publishing.

A new version is built under a name that servers ignore, synced to disk, and renamed, so
that a server sees it complete or not at all, even after a crash. The live version is
the one with the highest number, which is what a model server loads. `changes` decides
what becomes live, and `history` records it.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.names import GRAPH_FILE
from pipeline.ingestion import digests
from pipeline.store import durable

ORIGIN_FILE = Path("assets.extra") / "origin.json"
CONTENTS_FILE = Path("assets.extra") / "contents.json"
EVENT_FILE = Path("assets.extra") / "event.json"
"""How the version became live, see `history.Event`: not copied to restored versions."""
MODEL_FILE = "saved_model.pb"
_GRAPH_FILE = f"assets.extra/{GRAPH_FILE}"
_SERVING = "Format-Serving"
"""TFX's name of the SavedModel's directory in a Model artifact."""
# These differ between two exports of the same weights and graph.
_NO_CONTENT = frozenset({ORIGIN_FILE.as_posix(), "fingerprint.pb"})

MODEL_URI = "model_uri"
MODEL_ID = "model_id"
MODEL_CREATED = "model_created"
"""In milliseconds since 1970. A new store reuses ids and directories, but not times."""

PARTIAL = ".partial-"
HIGHEST = 2**63 - 1
"""Model servers read versions as signed 64-bit numbers."""
_NUMBER = re.compile(r"[1-9][0-9]*")


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
        return read_json(self.path / ORIGIN_FILE)

    def content(self) -> str:
        """Returns a digest of the model's weights, graph and assets.

        Two trainings that gave the same model have the same digest.

        Returns:
            A SHA-256; empty if the version was not pushed by us.
        """
        return content_of(read_json(self.path / CONTENTS_FILE))

    def damage(self, memory: Path | None = None) -> str:
        """Compares its files with the sizes and digests recorded when it was pushed.

        Args:
            memory: File that caches digests; see `digests.sha256_of`.

        Returns:
            The first difference, such as "saved_model.pb is gone"; empty if there is
            none.
        """
        noted_in = self.path / CONTENTS_FILE
        noted = read_json(noted_in)
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


def versions(base: Path) -> list[int]:
    """Returns the numbers of a serving directory's complete versions, ascending."""
    if not base.is_dir():
        return []
    names = [p.name for p in base.iterdir() if _NUMBER.fullmatch(p.name) and p.is_dir()]
    # By value: as texts, 9 would come after 10.
    return sorted(n for n in map(int, names) if n <= HIGHEST)


def live(base: Path) -> Version | None:
    """Returns the live version; `None` if there is no version."""
    newest = versions(base)[-1:]
    return version_of(base, newest[0]) if newest else None


def version_of(base: Path, number: int) -> Version:
    """Returns a version by its number."""
    return Version(number, base / str(number))


def holders(version: Version) -> list[Path]:
    """Returns the directories of all versions that hold a version's model.

    Among them are those that are gone and that it was restored from.
    """
    base, origin = version.path.parent, version.origin()
    same = [n for n in versions(base) if is_same_model(origin_of(base, n), origin)]
    restored = read_json(version.path / EVENT_FILE).get("restored")
    numbers = {*same, version.number, *([restored] if restored else [])}
    return [base / str(number) for number in sorted(numbers)]


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


def content_of(contents: Mapping[str, tuple[int, str]]) -> str:
    """Returns a digest of the files of a model; see `Version.content`.

    Args:
        contents: Size and SHA-256 of each file, by relative path.
    """
    if not contents:
        return ""
    # The bytes of a graph differ between two trainings; its digest doesn't.
    graph = {MODEL_FILE} if _GRAPH_FILE in contents else set()
    left_out = _NO_CONTENT | graph
    kept = sorted((n, c[1]) for n, c in contents.items() if n not in left_out)
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()


def saved_model_in(artifact: Path) -> Path:
    """Returns the SavedModel's directory in the directory of a Model artifact."""
    nested = artifact / _SERVING
    return nested if nested.is_dir() else artifact


def copied(model: Path, base: Path, origin: Mapping[str, Any]) -> Path:
    """Copies a model to a directory that servers ignore, for `publish`.

    Args:
        model: Directory of a SavedModel.
        base: The model's serving directory.
        origin: The model's origin, see `identity`.
    """
    partial = _new_partial(base)
    shutil.copytree(model, partial)
    write_json(partial / ORIGIN_FILE, dict(origin))
    write_json(partial / CONTENTS_FILE, contents_of(partial))
    return partial


def linked(version: Version) -> Path:
    """Links a version's files to a directory that servers ignore, for `publish`.

    Links make it a matter of milliseconds, however large the model is; on a file system
    without them the files are copied.
    """
    partial = _new_partial(version.path.parent)

    def without_event(directory: str, names: list[str]) -> set[str]:
        there = Path(directory).relative_to(version.path)
        return {name for name in names if there / name == EVENT_FILE}

    shutil.copytree(
        version.path, partial, copy_function=link_or_copy, ignore=without_event
    )
    return partial


def link_or_copy(source: str, target: str) -> None:
    """Hard-links a file, or copies it if the file system can't link."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def make_durable(partial: Path) -> None:
    """Syncs all files of a partial version to disk."""
    for path in [*partial.rglob("*"), partial]:
        durable.force_to_disk(path)


def set_aside(version: Version) -> Path:
    """Renames a version to a name that servers ignore; the caller deletes it.

    Renamed first: a server must not load a half-deleted version.
    """
    aside = _new_partial(version.path.parent)
    return version.path.rename(aside)


def remove_partial_copies(base: Path) -> None:
    """Deletes what a killed push or deletion has left."""
    for partial in base.glob(f"{PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def exclusive(base: Path) -> Iterator[None]:
    """Holds an exclusive lock on a serving directory during the block."""
    # The directory itself: a lock file could be deleted with the versions.
    descriptor = os.open(base, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _new_partial(base: Path) -> Path:
    return base / f"{PARTIAL}{uuid.uuid4().hex}"


def contents_of(directory: Path) -> dict[str, tuple[int, str]]:
    """Returns the size in bytes and the SHA-256 of each file, by relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    # Those of a version that is pushed again; they are about to be replaced.
    ours = {directory / CONTENTS_FILE, directory / EVENT_FILE}
    files = [path for path in files if path not in ours]
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


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object; empty if there is none that can be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a JSON object, and its directory if there is none."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(values, indent=1, sort_keys=True), "utf-8")
