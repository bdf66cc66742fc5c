"""Adds our own executions to the metadata store, each at most once.

An execution's name is unique among those of its type, and the store enforces that, so
of two processes or machines that put the same one, only the first succeeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ml_metadata import errors
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

Values = Mapping[str, str | int]


@dataclass(frozen=True)
class Record:
    """An execution to add.

    Attributes:
        type: Name of its type.
        name: Its name, unique among those of the type.
        values: Its properties.
        output: Name, type and URI of the artifact that it writes; `None` for none.
        output_values: The artifact's properties.
        inputs: Ids of the artifacts that it read, by name; those that the store doesn't
            have are skipped.
    """

    type: str
    name: str
    values: Values
    output: tuple[str, str, str] | None = None
    output_values: Values = field(default_factory=dict)
    inputs: Mapping[str, int] = field(default_factory=dict)


def names_of(store: MetadataStore, kind: str) -> set[str]:
    """Returns the names of all executions of a type."""
    if kind not in {each.name for each in store.get_execution_types()}:
        return set()
    return {execution.name for execution in store.get_executions_by_type(kind)}


def put(store: MetadataStore, pipeline: str, record: Record) -> bool:
    """Adds an execution.

    Args:
        store: The metadata store.
        pipeline: Name of the pipeline that it belongs to.
        record: The execution.

    Returns:
        Whether it is new; false if another process has put it.
    """
    execution = mlmd.Execution(
        type_id=store.put_execution_type(mlmd.ExecutionType(name=record.type)),
        name=record.name,
        last_known_state=mlmd.Execution.COMPLETE,
    )
    _fill(execution.custom_properties, record.values)
    context = mlmd.Context(type_id=_pipeline_type(store), name=pipeline)
    used = [*_read(store, record), *_written(store, record)]
    try:
        store.put_execution(
            execution, used, [context], reuse_context_if_already_exist=True
        )
    except errors.AlreadyExistsError:
        return False
    return True


def _read(
    store: MetadataStore, record: Record
) -> Sequence[tuple[mlmd.Artifact, mlmd.Event]]:
    found = {a.id: a for a in store.get_artifacts_by_id(list(record.inputs.values()))}
    return [
        (found[i], _event(mlmd.Event.INPUT, name))
        for name, i in record.inputs.items()
        if i in found
    ]


def _written(
    store: MetadataStore, record: Record
) -> Sequence[tuple[mlmd.Artifact, mlmd.Event]]:
    if record.output is None:
        return []
    name, kind, uri = record.output
    kinds = {each.name: each.id for each in store.get_artifact_types()}
    # Looked up first: TFX's own types have properties, which putting one without would
    # contradict.
    known = kinds.get(kind) or store.put_artifact_type(mlmd.ArtifactType(name=kind))
    artifact = mlmd.Artifact(type_id=known, uri=uri, state=mlmd.Artifact.LIVE)
    _fill(artifact.custom_properties, record.output_values)
    return [(artifact, _event(mlmd.Event.OUTPUT, name))]


def _pipeline_type(store: MetadataStore) -> int:
    kinds = {kind.name: kind.id for kind in store.get_context_types()}
    known = kinds.get("pipeline")
    return int(known or store.put_context_type(mlmd.ContextType(name="pipeline")))


def _fill(target: dict[str, mlmd.Value], values: Values) -> None:
    for name, value in values.items():
        if isinstance(value, str):
            target[name].string_value = value
        else:
            target[name].int_value = value


def _event(kind: mlmd.Event.Type, name: str) -> mlmd.Event:
    steps = [mlmd.Event.Path.Step(key=name), mlmd.Event.Path.Step(index=0)]
    return mlmd.Event(type=kind, path=mlmd.Event.Path(steps=steps))
