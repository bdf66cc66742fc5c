"""Pushes a blessed model so that a server sees all of it or nothing of it.

The stock executor copies straight into the version directory; killed half-way, it
leaves a version that a model server would load. Here the copy is made beside the
versions under a name that servers don't read, forced to disk, and renamed.
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

from tfx.components.pusher import executor as stock
from tfx.proto import pusher_pb2
from tfx.types import Artifact, artifact_utils
from tfx.utils import proto_utils

from pipeline.errors import ThroughlineError

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


def _link(source: str, target: str) -> None:
    """Links a file, or copies it where the file system can't link."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class Executor(stock.Executor):
    """The stock Pusher but for how files get to their place."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model if it was blessed and isn't the live one already.

        Raises:
            ThroughlineError: The run has not made an input of ours.
        """
        # The launcher runs a Pusher without its inputs, and the stock executor takes a
        # blessing that isn't there yet for one that nobody asked for.
        missing = sorted(name for name, given in input_dict.items() if not given)
        if missing:
            raise ThroughlineError(
                f"nothing was pushed: this run has no {' and no '.join(missing)} yet"
            )
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties["push_destination"], destination)
        base = Path(destination.filesystem.base_directory)
        model = artifact_utils.get_single_instance(input_dict["model"])
        origin = {"model_uri": model.uri, "model_id": model.id}
        source = Path(self.GetModelPath(input_dict))
        live = versions(base)[-1:]
        if live and origin_of(base, live[0]) == origin:
            version = live[0]
        else:
            version = push(source, base, origin)
        shutil.copytree(source, pushed.uri, copy_function=_link, dirs_exist_ok=True)
        self._MarkPushed(
            pushed,
            pushed_destination=str(base / str(version)),
            pushed_version=str(version),
        )
