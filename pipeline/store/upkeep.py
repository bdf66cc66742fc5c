"""Keeps the metadata store and the artifact directories in step with each other.

TFX writes outputs in place, and its cache asks only whether a directory exists. So what
each execution wrote is noted with it, outputs that are no longer what they were are
retired before the cache can serve them, and what dead processes left half-done is
cleared away.
"""

import json
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.store import graph, properties

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
    execution.custom_properties[properties.KEY].string_value = json.dumps(key)
    if execution.last_known_state == mlmd.Execution.COMPLETE:
        sizes: dict[str, Size] = {}
        for artifacts in graph.outputs_of(store, execution).values():
            for artifact in artifacts:
                if artifact.uri.startswith("/"):
                    sizes[artifact.uri] = size_of(Path(artifact.uri))
        execution.custom_properties[properties.OUTPUTS].string_value = json.dumps(sizes)
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
        noted |= _noted_sizes(execution)
    broken = [
        artifact
        for artifact in graph.live_artifacts_of_node(store, node_context)
        if not _is_as_noted(artifact, noted)
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


def is_whole(store: MetadataStore, artifact: mlmd.Artifact) -> bool:
    """Whether an artifact's files are there, and are what its execution left."""
    noted: dict[str, Size] = {}
    for execution in graph.writers_of(store, artifact):
        noted |= _noted_sizes(execution)
    return Path(artifact.uri).exists() and _is_as_noted(artifact, noted)


def claim_directories(
    store: MetadataStore, execution: mlmd.Execution, node_directory: Path
) -> str:
    """Gives an execution directories of its own, which are empty or not there.

    TFX names them by the execution's id alone, and ids begin anew with each store:
    files of an earlier store below the same root would become part of the outputs.

    Args:
        store: The metadata store.
        execution: One that is about to run; the name is noted with it.
        node_directory: The node's directory below that of the artifacts.

    Returns:
        What to call its directories: its id, or if an earlier store had one of this
        id, the id with something random behind it.
    """
    name = graph.text_of(execution, properties.DIRECTORY)
    if name:
        # An earlier try, which did not end well: it would mix with this one.
        clear_outputs(execution, node_directory)
        return name
    name = str(execution.id)
    if not _claimed(node_directory, name):
        name = f"{execution.id}-{uuid.uuid4().hex[:8]}"
        _claimed(node_directory, name)
    execution.custom_properties[properties.DIRECTORY].string_value = name
    # TFX names its working directory after this, and at random without it.
    index = properties.WORKING_DIRECTORY_INDEX
    execution.custom_properties[index].string_value = name
    store.put_executions([execution])
    return name


def _claimed(node_directory: Path, name: str) -> bool:
    """Takes a name for an execution's directories; false if another has it."""
    if _directories_of(node_directory, name):
        return False
    claim = node_directory / ".system" / "executor_execution" / name
    claim.parent.mkdir(parents=True, exist_ok=True)
    try:
        claim.mkdir()
    except FileExistsError:
        return False
    return True


def _directories_of(node_directory: Path, name: str) -> list[Path]:
    """Lists the directories of a name, of outputs and of TFX's own."""
    patterns = (f"*/{name}", f".system/*/{name}")
    return [path for pattern in patterns for path in node_directory.glob(pattern)]


def clear_outputs(execution: mlmd.Execution, node_directory: Path) -> None:
    """Removes what an execution that did not end well has written.

    Args:
        execution: The execution; without a note of its directories it has made none.
        node_directory: The node's directory below that of the artifacts.
    """
    name = graph.text_of(execution, properties.DIRECTORY)
    if not name:
        return
    for path in _directories_of(node_directory, name):
        shutil.rmtree(path, ignore_errors=True)


def size_of(path: Path) -> Size:
    """Returns how many files there are at a path, and their bytes in all."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return [len(files), sum(file.stat().st_size for file in files)]


def _noted_sizes(execution: mlmd.Execution) -> dict[str, Size]:
    sizes: dict[str, Size]
    sizes = json.loads(graph.text_of(execution, properties.OUTPUTS) or "{}")
    return sizes


def _is_as_noted(artifact: mlmd.Artifact, noted: Mapping[str, Size]) -> bool:
    """Whether an artifact has as many files and bytes as noted, if that was noted."""
    uri = artifact.uri
    return uri not in noted or size_of(Path(uri)) == noted[uri]
