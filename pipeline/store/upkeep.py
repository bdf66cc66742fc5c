"""Keeps the metadata store consistent with the artifact directories.

TFX writes outputs in place, and its cache only checks that a directory exists. So the
size of each output is recorded with its execution, outputs that no longer have that
size are marked as deleted before a cache lookup, and the partial outputs of crashed
processes are removed.
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
    """Records an execution's code fingerprints and the sizes of its outputs.

    They are stored as properties of the execution rather than of its artifacts, because
    the properties of artifacts are part of the cache keys of downstream nodes.

    Args:
        store: The metadata store.
        execution: A successful execution.
        key: Fingerprints of the code and files, and versions, behind the node.
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
    """Marks those outputs of a node as deleted whose files are missing or incomplete.

    Args:
        store: The metadata store.
        node_context: `<pipeline>.<node>`.

    Returns:
        The URIs of these outputs, sorted.
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
    """Marks artifacts as deleted in the store."""
    deleted = list(artifacts)
    for artifact in deleted:
        artifact.state = mlmd.Artifact.DELETED
    if deleted:
        store.put_artifacts(deleted)


@dataclass(frozen=True)
class Store:
    """A metadata store together with the directory of its artifacts.

    Attributes:
        connection: The metadata store.
        root: The directory of the artifacts.
    """

    connection: mlmd.ConnectionConfig
    root: Path

    def end_unfinished(self, run_id: str, *, canceled: bool = False) -> list[str]:
        """Ends the unfinished executions of a run, and removes their outputs.

        Args:
            run_id: Name of the run; none of its processes may be alive.
            canceled: Mark the executions as canceled by the user rather than as failed.

        Returns:
            Ids of the nodes that were unfinished.
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
    """Whether an artifact's files exist, with the size recorded by its execution."""
    noted: dict[str, Size] = {}
    for execution in graph.writers_of(store, artifact):
        noted |= _noted_sizes(execution)
    return Path(artifact.uri).exists() and _is_as_noted(artifact, noted)


def claim_directories(
    store: MetadataStore, execution: mlmd.Execution, node_directory: Path
) -> str:
    """Reserves directories for an execution that no other execution has written to.

    TFX names them by the execution's id alone, and each new store starts at id 1: files
    of an earlier store below the same root would become part of the outputs.

    Args:
        store: The metadata store.
        execution: The execution, before it runs; the name is recorded with it.
        node_directory: The node's directory below that of the artifacts.

    Returns:
        The name for its directories: its id, with a random suffix if directories of
        this id already exist.
    """
    name = graph.text_of(execution, properties.DIRECTORY)
    if name:
        # A retry: the partial outputs of the failed try would mix with the new ones.
        clear_outputs(execution, node_directory)
        return name
    name = str(execution.id)
    if not _claimed(node_directory, name):
        name = f"{execution.id}-{uuid.uuid4().hex[:8]}"
        _claimed(node_directory, name)
    execution.custom_properties[properties.DIRECTORY].string_value = name
    # TFX names its working directory by this property, and randomly without it.
    index = properties.WORKING_DIRECTORY_INDEX
    execution.custom_properties[index].string_value = name
    store.put_executions([execution])
    return name


def _claimed(node_directory: Path, name: str) -> bool:
    """Reserves a name for an execution's directories; returns whether it was free."""
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
    """Returns the directories of a name: the outputs' and TFX's working directories."""
    patterns = (f"*/{name}", f".system/*/{name}")
    return [path for pattern in patterns for path in node_directory.glob(pattern)]


def clear_outputs(execution: mlmd.Execution, node_directory: Path) -> None:
    """Removes the directories of an execution that did not succeed.

    Args:
        execution: The execution; one without a recorded name has no directories.
        node_directory: The node's directory below that of the artifacts.
    """
    name = graph.text_of(execution, properties.DIRECTORY)
    if not name:
        return
    for path in _directories_of(node_directory, name):
        shutil.rmtree(path, ignore_errors=True)


def size_of(path: Path) -> Size:
    """Returns the number of files at a path and their total size in bytes."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return [len(files), sum(file.stat().st_size for file in files)]


def _noted_sizes(execution: mlmd.Execution) -> dict[str, Size]:
    sizes: dict[str, Size]
    sizes = json.loads(graph.text_of(execution, properties.OUTPUTS) or "{}")
    return sizes


def _is_as_noted(artifact: mlmd.Artifact, noted: Mapping[str, Size]) -> bool:
    """Whether an artifact has the recorded number of files and bytes, if any."""
    uri = artifact.uri
    return uri not in noted or size_of(Path(uri)) == noted[uri]
