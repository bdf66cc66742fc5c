"""Keeps the metadata store and the artifact directories in step with each other.

TFX writes outputs in place, and its cache asks only whether a directory exists. So what
each execution wrote is noted with it, outputs that are no longer what they were are
retired before the cache can serve them, and what dead processes left half-done is
cleared away.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.store import graph

KEY_PROPERTY = "throughline_key"
OUTPUTS_PROPERTY = "throughline_outputs"
_PUSHED_DESTINATION = "pushed_destination"
_WORKING_DIRECTORY_INDEX = "__stateful_working_dir_index__"

_UNFINISHED = (mlmd.Execution.NEW, mlmd.Execution.RUNNING)

Size = list[int]


def note_execution(
    store: MetadataStore, execution: mlmd.Execution, key: dict[str, str]
) -> None:
    """Notes with an execution what it ran and what it wrote.

    The notes are properties of the execution and not of its artifacts, since those are
    part of the cache keys of what comes after.

    Args:
        store: The metadata store.
        execution: One that ended well.
        key: The code, files and versions behind it.
    """
    execution.custom_properties[KEY_PROPERTY].string_value = json.dumps(key)
    if execution.last_known_state == mlmd.Execution.COMPLETE:
        sizes: dict[str, Size] = {}
        for artifacts in graph.outputs_of(store, execution).values():
            for artifact in artifacts:
                sizes |= {str(path): size_of(path) for path in _places_of(artifact)}
        execution.custom_properties[OUTPUTS_PROPERTY].string_value = json.dumps(sizes)
    store.put_executions([execution])


def retire_incomplete_outputs(store: MetadataStore, node_context: str) -> list[str]:
    """Marks outputs of a node as deleted whose files are gone or not all there.

    Args:
        store: The metadata store.
        node_context: `<pipeline>.<node>`.

    Returns:
        The directories that are not what their execution left.
    """
    noted: dict[str, Size] = {}
    for execution in graph.executions_of_node(store, node_context):
        noted |= json.loads(graph.text_of(execution, OUTPUTS_PROPERTY) or "{}")
    broken = [
        artifact
        for artifact in graph.live_artifacts_of_node(store, node_context)
        if any(
            str(place) in noted and size_of(place) != noted[str(place)]
            for place in _places_of(artifact)
        )
    ]
    mark_deleted(store, broken)
    return sorted(artifact.uri for artifact in broken)


def mark_deleted(store: MetadataStore, artifacts: Iterable[mlmd.Artifact]) -> None:
    """Says in the store that the files of some artifacts are no longer there."""
    deleted = list(artifacts)
    for artifact in deleted:
        artifact.state = mlmd.Artifact.DELETED
    if deleted:
        store.put_artifacts(deleted)


@dataclass(frozen=True)
class Store:
    """A metadata store together with the directory of its artifacts."""

    connection: mlmd.ConnectionConfig
    root: Path

    def end_unfinished(self, run_id: str, *, canceled: bool = False) -> list[str]:
        """Ends the executions of a run whose processes are dead.

        Args:
            run_id: Name of the run; none of its processes may live.
            canceled: Whether a person wanted it so; else they count as failed.

        Returns:
            The nodes that were still running; what they had written is removed.
        """
        store = MetadataStore(self.connection)
        nodes = []
        for execution in graph.executions_of_run(store, run_id):
            if execution.last_known_state in _UNFINISHED:
                node_id = graph.node_of(store, execution)
                clear_outputs(execution, self.root / node_id)
                execution.last_known_state = (
                    mlmd.Execution.CANCELED if canceled else mlmd.Execution.FAILED
                )
                store.put_executions([execution])
                nodes.append(node_id)
        return nodes


def clear_outputs(execution: mlmd.Execution, node_directory: Path) -> None:
    """Removes what an execution that did not end well has written.

    Args:
        execution: The execution; its id names its directories.
        node_directory: The node's directory below that of the artifacts.
    """
    index = graph.text_of(execution, _WORKING_DIRECTORY_INDEX)
    left = [
        *node_directory.glob(f"*/{execution.id}"),
        *node_directory.glob(f".system/*/{execution.id}"),
        *(node_directory.glob(f".system/*/{index}") if index else []),
    ]
    for path in left:
        shutil.rmtree(path, ignore_errors=True)


def size_of(path: Path) -> Size:
    """Returns how many files there are at a path, and their bytes in all."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return [len(files), sum(file.stat().st_size for file in files)]


def _places_of(artifact: mlmd.Artifact) -> list[Path]:
    """Directories whose contents an artifact stands for, on this file system."""
    pushed = graph.text_of(artifact, _PUSHED_DESTINATION)
    return [Path(p) for p in (artifact.uri, pushed) if p.startswith("/")]
