"""Keeps the metadata store consistent with the artifact directories.

TFX writes outputs in place, and its cache only checks that a directory exists. So the
size of each output is recorded with its execution, outputs that no longer have that
size are marked as deleted before a cache lookup, and the partial outputs of crashed
processes are removed.
"""

import contextlib
import json
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.columnar import files
from pipeline.columnar.files import Location
from pipeline.store import properties
from pipeline.store.graph import Artifact, Graph

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
    texts = properties.divided(properties.KEY, json.dumps(key))
    if execution.last_known_state == mlmd.Execution.COMPLETE:
        sizes: dict[str, Size] = {}
        for artifacts in Graph(store).outputs_of(execution.id).values():
            for artifact in artifacts:
                sizes[artifact.uri] = size_of(artifact.uri)
        texts |= properties.divided(properties.OUTPUTS, json.dumps(sizes))
    for name, text in texts.items():
        execution.custom_properties[name].string_value = text
    store.put_executions([execution])


def retire_incomplete_outputs(
    store: MetadataStore, pipeline: str, node_id: str
) -> list[str]:
    """Marks those outputs of a node as deleted whose files are missing or incomplete.

    Args:
        store: The metadata store.
        pipeline: Name of the pipeline.
        node_id: Id of the node.

    Returns:
        The URIs of these outputs, sorted.
    """
    graph = Graph(store)
    executions = graph.ids_of_node(pipeline, node_id)
    noted = _noted_sizes(graph.parameters_of(executions))
    broken = [
        artifact
        for artifact in graph.artifacts_of_node(pipeline, node_id)
        if artifact.live and not _is_as_noted(artifact, noted)
    ]
    mark_deleted(store, [artifact.id for artifact in broken])
    return sorted(artifact.uri for artifact in broken)


def mark_deleted(store: MetadataStore, ids: Collection[int]) -> None:
    """Marks artifacts as deleted in the store."""
    # MLMD replaces an artifact as a whole: a write without its properties drops them.
    deleted = store.get_artifacts_by_id(ids) if ids else []
    for artifact in deleted:
        artifact.state = mlmd.Artifact.DELETED
    if deleted:
        store.put_artifacts(deleted)


def note_artifact(store: MetadataStore, artifact: int, name: str, text: str) -> None:
    """Adds a custom property to an artifact that is in the store."""
    (found,) = store.get_artifacts_by_id([artifact])
    found.custom_properties[name].string_value = text
    store.put_artifacts([found])


@dataclass(frozen=True)
class Store:
    """A metadata store together with the directory of its artifacts.

    Attributes:
        connection: The metadata store.
        root: The directory of the artifacts; a path or a URI.
    """

    connection: mlmd.ConnectionConfig
    root: Location

    def end_unfinished(self, run_id: str, *, canceled: bool = False) -> list[str]:
        """Ends the unfinished executions of a run, and removes their outputs.

        Args:
            run_id: Name of the run; none of its processes may be alive.
            canceled: Mark the executions as canceled by the user rather than as failed.

        Returns:
            Ids of the nodes that were unfinished.
        """
        store = MetadataStore(self.connection)
        state = mlmd.Execution.CANCELED if canceled else mlmd.Execution.FAILED
        nodes = []
        graph = Graph(store)
        for step in [
            s for r in (run_id, *graph.span_runs(run_id)) for s in graph.run(r)
        ]:
            if step.unfinished:
                name = step.parameters.get(properties.DIRECTORY, "")
                # Before the state: if this process is killed in between, the execution
                # is still unfinished, and the next call finds it.
                clear_outputs(name, files.join(self.root, step.node))
                (execution,) = store.get_executions_by_id([step.id])
                execution.last_known_state = state
                store.put_executions([execution])
                nodes.append(step.node)
        return nodes


def is_whole(store: MetadataStore, artifact_id: int) -> bool:
    """Whether an artifact's files exist, with the size recorded by its execution."""
    graph = Graph(store)
    (artifact,) = graph.by_id([artifact_id])
    noted = _noted_sizes(maker.parameters for maker in graph.makers([artifact_id]))
    return files.exists(artifact.uri) and _is_as_noted(artifact, noted)


def claim_directories(
    store: MetadataStore, execution: mlmd.Execution, node_directory: Location
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
        this id already exist, or if nothing can be reserved in an object store.
    """
    known = execution.custom_properties
    # `in` first: reading a missing key of a proto map adds it, with a value of no type,
    # and MLMD's C++ code aborts the process when it has to store such a value.
    if properties.DIRECTORY in known:
        name = known[properties.DIRECTORY].string_value
        # A retry: the partial outputs of the failed try would mix with the new ones.
        clear_outputs(name, node_directory)
        return name
    name = str(execution.id)
    if files.is_remote(node_directory):
        # Two writers can both "create" a directory there, so only chance tells them
        # apart.
        name = _at_random(name)
    elif not _claimed(Path(node_directory), name):
        name = _at_random(name)
        _claimed(Path(node_directory), name)
    execution.custom_properties[properties.DIRECTORY].string_value = name
    # TFX names its working directory by this property, and randomly without it.
    index = properties.WORKING_DIRECTORY_INDEX
    execution.custom_properties[index].string_value = name
    store.put_executions([execution])
    return name


def _at_random(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


def _claimed(node_directory: Path, name: str) -> bool:
    """Reserves a name for an execution's directories; returns whether it was free."""
    if _directories_of(node_directory, name):
        return False
    # TFX writes there anyway. mkdir is atomic, so of two stores that share a root only
    # one gets the name.
    claim = node_directory / ".system" / "executor_execution" / name
    claim.parent.mkdir(parents=True, exist_ok=True)
    try:
        claim.mkdir()
    except FileExistsError:
        return False
    return True


def _directories_of(node_directory: Location, name: str) -> list[str]:
    """Returns the directories of a name: the outputs' and TFX's working directories."""
    above = (node_directory, files.join(node_directory, ".system"))
    named = (files.join(d, name) for a in above for d in files.subdirectories(a))
    return [directory for directory in named if files.exists(directory)]


def working_directories(root: Location, node: str) -> str:
    """Returns the directory with the working directories of a node's executions.

    They have the names of the executions' output directories. TFX removes the one of an
    execution that succeeds, and keeps that of one that fails.
    """
    return files.join(root, node, ".system", "stateful_working_dir")


def clear_outputs(name: str, node_directory: Location) -> None:
    """Removes the directories of an execution that did not succeed.

    Args:
        name: The recorded name of its directories; empty if it has none yet.
        node_directory: The node's directory below that of the artifacts.
    """
    # An empty name would match the directories of all executions.
    if not name:
        return
    for directory in _directories_of(node_directory, name):
        # What can't be removed does no harm: no later execution uses the name.
        with contextlib.suppress(OSError):
            files.remove_directory(directory)


def size_of(location: Location) -> Size:
    """Returns the number of files at a location and their total size in bytes."""
    if files.is_directory(location):
        sizes = files.tree(location).values()
        return [len(sizes), sum(sizes)]
    return [1, files.size(location)] if files.exists(location) else [0, 0]


def _noted_sizes(parameters: Iterable[Mapping[str, Any]]) -> dict[str, Size]:
    """Returns the sizes that executions have recorded, by URI; the latest counts."""
    sizes: dict[str, Size] = {}
    for values in parameters:
        sizes |= values.get(properties.OUTPUTS) or {}
    return sizes


def _is_as_noted(artifact: Artifact, noted: Mapping[str, Size]) -> bool:
    """Whether an artifact has the recorded number of files and bytes, if any."""
    uri = artifact.uri
    return uri not in noted or size_of(uri) == noted[uri]
