"""Deletes the artifacts of old runs, except those upstream of a model in use.

An artifact is first marked as deleted in the store, and then its files are removed. If
the process is killed in between, the next call finds the marked artifact again by its
remaining files.
"""

import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.columnar import files
from pipeline.errors import UsageError
from pipeline.store import properties, upkeep, windows
from pipeline.store.connection import existing_store
from pipeline.store.graph import UNFINISHED, Artifact, Graph

# <node>/<output>/<execution> below the directory of the artifacts.
_DEPTH = 3


@dataclass(frozen=True)
class Pipeline:
    """A pipeline, and the places of its artifacts.

    Attributes:
        name: Its name in the metadata store.
        url: URL of the store; may hold a password, so never print it.
        artifacts: Directory of the artifacts, absolute.
    """

    name: str
    url: str = field(repr=False)
    artifacts: Path


@dataclass(frozen=True)
class Unused:
    """An artifact that nothing in use depends on.

    Attributes:
        artifact: The artifact, as the store has it.
        path: Its file or directory, with all symbolic links resolved.
        size: Size of its files in bytes.
    """

    artifact: Artifact
    path: Path
    size: int


def find(
    pipeline: Pipeline, keep: int, served: Collection[tuple[str, int]] = ()
) -> list[Unused]:
    """Finds the artifacts of one pipeline that can be deleted.

    Kept are the artifacts that the newest runs, or runs in progress, wrote, read or
    reused, and the spans of their windows; every blessed or pushed model with
    everything upstream of it; and artifacts that another pipeline in the store has read
    or written.

    Args:
        pipeline: The pipeline.
        keep: Number of its newest runs to keep whole, at least 1.
        served: URI and id of each model that has a version in serving; they stay.

    Returns:
        The rest, oldest first; of files below the directory of the artifacts only.

    Raises:
        UsageError: `keep` is less than 1.
    """
    if keep < 1:
        raise UsageError(
            f"keep is {keep}; at least the newest run must stay: 1 or more"
        )
    graph = Graph(MetadataStore(existing_store(pipeline.url)))
    states = graph.states()
    events = graph.events(states)
    ours = graph.ids_of_pipeline(pipeline.name)
    active = _active(graph, states, ours, keep)
    # Several pipelines may share a store, and a resolver of one may read the models of
    # another.
    others = states.keys() - ours
    artifacts = graph.all_artifacts()
    kept = events.behind(_models_in_use(artifacts, served))
    kept |= events.touched_by(active | others)
    # A run that stopped at the gate has not read its window yet.
    kept |= windows.artifacts_of(graph, active)
    written = events.written_by(ours)
    root = pipeline.artifacts.resolve()
    # By path as well as by id: an importer registers a directory that another node
    # wrote, as an artifact of its own.
    needed = {_path_of(a) for a in artifacts if _is_needed(a, written, kept)}
    return [
        Unused(artifact, path, upkeep.size_of(path)[1])
        for artifact in artifacts
        if artifact.id in written - kept
        and (path := _path_of(artifact))
        and _is_below(path, root)
        # An artifact that a killed call has marked may still have its files.
        and (artifact.live or path.exists())
        and not any(_overlap(path, other) for other in needed if other)
    ]


def buckets(pipeline: Pipeline) -> tuple[str, ...]:
    """Returns the buckets that hold artifacts of a pipeline, such as s3://name."""
    graph = Graph(MetadataStore(existing_store(pipeline.url)))
    ours = graph.ids_of_pipeline(pipeline.name)
    written = graph.events(graph.states()).written_by(ours)
    found = {
        "://".join(urlsplit(artifact.uri)[:2])
        for artifact in graph.all_artifacts()
        if artifact.id in written and artifact.live and files.is_remote(artifact.uri)
    }
    return tuple(sorted(found))


def working_directories(pipeline: Pipeline, keep: int) -> list[Path]:
    """Finds what failed executions of old runs left in their working directories.

    No artifact refers to them. The verdict of a gate that stopped its run is there.

    Args:
        pipeline: The pipeline.
        keep: Number of its newest runs whose directories are kept, at least 1.

    Returns:
        Their working directories, without those of runs in progress and of other
        pipelines.
    """
    graph = Graph(MetadataStore(existing_store(pipeline.url)))
    ours = graph.ids_of_pipeline(pipeline.name)
    old = ours - _active(graph, graph.states(), ours, keep)
    root = pipeline.artifacts.resolve()
    found: list[Path] = []
    for node in graph.nodes(pipeline.name):
        above = Path(upkeep.working_directories(root, node))
        # Of another place than it seems to be, if a link leads there.
        if not above.is_dir() or above.resolve() != above:
            continue
        known = graph.parameters_of(graph.ids_of_node(pipeline.name, node) & old)
        names = {values.get(properties.DIRECTORY) for values in known}
        found += [path for path in sorted(above.iterdir()) if path.name in names]
    return found


def free(pipeline: Pipeline, found: Iterable[Unused]) -> list[str]:
    """Marks artifacts as deleted, and removes their files.

    They are marked first, so that the cache never returns an artifact without files.

    Returns:
        A message for each path that couldn't be removed; the next call tries again.
    """
    unused = list(found)
    if not unused:
        return []
    store = MetadataStore(existing_store(pipeline.url))
    upkeep.mark_deleted(store, [item.artifact.id for item in unused])
    return [why for item in unused if (why := remove(item.path))]


def remove(path: Path) -> str:
    """Removes a file or directory; returns an error message, empty on success."""
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        return f"{path} can't be removed: {error.strerror or error}"
    return ""


def _active(
    graph: Graph, states: Mapping[int, str], ours: set[int], keep: int
) -> set[int]:
    """Returns the unfinished executions, and those of the newest runs to keep."""
    unfinished = {i for i, state in states.items() if state in UNFINISHED}
    return unfinished | _executions_of_newest(graph, ours, unfinished, keep)


def _executions_of_newest(
    graph: Graph, ours: set[int], active: set[int], keep: int
) -> set[int]:
    """Returns the executions of the newest runs, and of runs in progress."""
    found: set[int] = set()
    for run_id in reversed(graph.runs()):
        parts = (run_id, *graph.span_runs(run_id))
        run = {i for part in parts for i in graph.ids_of_run(part)}
        if not run & ours:
            continue
        if keep > 0 or run & active:
            found |= run
        keep -= 1
    return found


def _models_in_use(
    artifacts: Iterable[Artifact], served: Collection[tuple[str, int]]
) -> set[int]:
    """Returns the ids of blessed, pushed and served models, and of their blessings."""
    used = set()
    for artifact in artifacts:
        values = artifact.properties
        if artifact.type == "PushedModel" and values.get(properties.PUSHED):
            used.add(artifact.id)
        elif artifact.type == "ModelBlessing" and values.get(properties.BLESSED):
            # The id of the model is a property: MLMD has no edge from a model to its
            # blessing but through the Evaluator.
            used |= {artifact.id, values.get(properties.BLESSED_MODEL_ID, 0)}
        elif (artifact.uri, artifact.id) in served:
            used.add(artifact.id)
    return used


def _is_needed(artifact: Artifact, written: set[int], kept: set[int]) -> bool:
    """Whether an artifact's files must be kept, even if others share them."""
    is_ours_to_free = artifact.id in written - kept
    return artifact.live and not is_ours_to_free


def _path_of(artifact: Artifact) -> Path | None:
    """Returns the resolved path of an artifact's files; `None` if it isn't local."""
    parts = urlsplit(artifact.uri)
    if parts.scheme not in {"", "file"} or not parts.path.startswith("/"):
        return None
    # Resolved, so that `..` and links can't lead to what is elsewhere.
    return Path(parts.path).resolve()


def _is_below(path: Path, root: Path) -> bool:
    """Whether a path is an execution's output below the artifacts' directory."""
    return path.is_relative_to(root) and len(path.relative_to(root).parts) >= _DEPTH


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
