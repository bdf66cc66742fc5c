"""Pusher that adds a version to the serving directory atomically.

The stock executor copies into the version directory itself; if it is killed, it leaves
a partial version, which a model server would load. Here the copy is made under a name
that servers ignore, synced to disk, and renamed; see `registry.changes`.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from tfx.components.pusher import executor as stock
from tfx.proto import pusher_pb2
from tfx.types import Artifact, artifact_utils
from tfx.utils import proto_utils

from pipeline.columnar import files
from pipeline.errors import ThroughlineError
from pipeline.registry import changes, versions
from pipeline.store.properties import PUSH_NOTE

_LOG = logging.getLogger(__name__)


def _keep(source: str, target: str) -> None:
    """Puts the pushed model into the PushedModel artifact as well."""
    if files.is_remote(target):
        files.copy_tree(source, target)
        return
    link = versions.link_or_copy
    shutil.copytree(source, target, copy_function=link, dirs_exist_ok=True)


class Executor(stock.Executor):
    """The stock Pusher, with atomic pushes and versions that know their origin."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model if it is blessed, not live already and not withdrawn.

        Raises:
            ThroughlineError: An input is missing in this run.
        """
        # TFX launches a Pusher even without its inputs, and the stock executor treats a
        # missing blessing as one that is not required.
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
        run = (self._context and self._context.pipeline_run_id) or ""
        author = changes.Author(by=f"run {run}" if run else "", run=run)
        with files.local_copy(self.GetModelPath(input_dict)) as source:
            origin = origin_of(model)
            done = changes.push_unless_live(Path(source), base, origin, author)
            if done.version is not None:
                _keep(source, pushed.uri)
        if done.note:
            _LOG.warning("%s", done.note)
            pushed.set_string_custom_property(PUSH_NOTE, done.note)
        if done.version is None:
            self._MarkNotPushed(pushed)
            return
        self._MarkPushed(
            pushed,
            pushed_destination=str(base / str(done.version)),
            pushed_version=str(done.version),
        )


def origin_of(model: Artifact) -> dict[str, Any]:
    """Returns the origin of a Model artifact, which is stored with its version."""
    created = model.mlmd_artifact.create_time_since_epoch
    return versions.identity(model.id, model.uri, created)
