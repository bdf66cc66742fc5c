"""Frees the artifacts of old runs, and never those that a model in use came from."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.store import graph, upkeep
from pipeline.store.connection import existing_store

_BLESSED = "blessed"
_BLESSED_MODEL_ID = "current_model_id"
_PUSHED = "pushed"


@dataclass(frozen=True)
class Garbage:
    """An artifact that nothing in use depends on.

    Attributes:
        artifact: What the store knows of it.
        size: Bytes of its files.
    """

    artifact: mlmd.Artifact
    size: int


def find(config: Config, keep: int) -> list[Garbage]:
    """Finds what can be freed.

    Kept are all artifacts that one of the newest runs wrote, read or took from the
    cache, and every blessed or pushed model with all that it was made from.

    Args:
        config: Whose metadata store to look at.
        keep: How many of the newest runs to leave alone, at least 1.

    Returns:
        The rest, oldest first; of files on this machine only.

    Raises:
        UsageError: `keep` is less than 1.
    """
    if keep < 1:
        raise UsageError(
            f"keep is {keep}; at least the newest run must stay: 1 or more"
        )
    store = MetadataStore(existing_store(config.metadata_url))
    events = _Graph(store)
    kept = events.behind(_models_in_use(store))
    for run_id in graph.run_ids(store)[:keep]:
        kept |= events.touched_by(graph.executions_of_run(store, run_id))
    root = config.artifact_directory
    return [
        Garbage(artifact, upkeep.size_of(Path(artifact.uri))[1])
        for artifact in sorted(store.get_artifacts(), key=lambda a: a.id)
        if artifact.id not in kept
        and artifact.state == mlmd.Artifact.LIVE
        and Path(artifact.uri).is_relative_to(root)
    ]


def free(config: Config, found: list[Garbage]) -> None:
    """Removes the files of artifacts and marks the artifacts as deleted.

    They are marked first: a cache must not serve what is about to go.
    """
    store = MetadataStore(existing_store(config.metadata_url))
    upkeep.mark_deleted(store, [garbage.artifact for garbage in found])
    for garbage in found:
        shutil.rmtree(garbage.artifact.uri, ignore_errors=True)


def report(found: list[Garbage], *, dry_run: bool) -> list[str]:
    """Says what was freed, or would be: a line a kind of artifact, and the sum."""
    kinds: dict[str, list[int]] = {}
    for garbage in found:
        kinds.setdefault(garbage.artifact.type, []).append(garbage.size)
    lines = [
        f"{kind:20} {len(sizes):6} {_megabytes(sum(sizes)):>12}"
        for kind, sizes in sorted(kinds.items())
    ]
    total = _megabytes(sum(garbage.size for garbage in found))
    verb = "would be freed" if dry_run else "freed"
    artifacts = f"{len(found)} {'artifact' if len(found) == 1 else 'artifacts'}"
    return [*lines, f"{artifacts}, {total} {verb}"]


def _models_in_use(store: MetadataStore) -> set[int]:
    """Ids of blessed models, pushed models, and the blessings that say so."""
    used = set()
    for artifact in store.get_artifacts():
        properties = artifact.custom_properties
        if artifact.type == "PushedModel" and properties[_PUSHED].int_value:
            used.add(artifact.id)
        if artifact.type == "ModelBlessing" and properties[_BLESSED].int_value:
            used |= {artifact.id, properties[_BLESSED_MODEL_ID].int_value}
    return used


class _Graph:
    """Which execution read and wrote which artifacts, as the store's events say."""

    def __init__(self, store: MetadataStore) -> None:
        executions = [execution.id for execution in store.get_executions()]
        events = store.get_events_by_execution_ids(executions) if executions else []
        self._inputs: dict[int, set[int]] = {}
        self._outputs: dict[int, set[int]] = {}
        self._makers: dict[int, set[int]] = {}
        for event in events:
            execution, artifact = event.execution_id, event.artifact_id
            if event.type == mlmd.Event.OUTPUT:
                self._outputs.setdefault(execution, set()).add(artifact)
                self._makers.setdefault(artifact, set()).add(execution)
            else:
                self._inputs.setdefault(execution, set()).add(artifact)

    def behind(self, artifacts: set[int]) -> set[int]:
        """Artifacts, and all that they were made from, in turn."""
        found: set[int] = set()
        waiting = list(artifacts)
        while waiting:
            artifact = waiting.pop()
            if artifact not in found:
                found.add(artifact)
                for execution in self._makers.get(artifact, ()):
                    waiting += self._inputs.get(execution, ())
        return found

    def touched_by(self, executions: list[mlmd.Execution]) -> set[int]:
        """Artifacts that executions read, wrote, or took from the cache."""
        ids = [execution.id for execution in executions]
        touched: set[int] = set()
        for execution in ids:
            touched |= self._inputs.get(execution, set())
            touched |= self._outputs.get(execution, set())
        return touched


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
