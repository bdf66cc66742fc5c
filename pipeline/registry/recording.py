"""Records promotions, rollbacks and deletions in the metadata store, for lineage.

Pushes are there already, as executions of the Pusher. Each other change becomes an
execution that reads the Model artifact and, if it made a version, writes a PushedModel
artifact. An execution is named after its version, and names are unique in the store, so
recording the same history twice, or from two processes, has no effect.
"""

from collections.abc import Mapping, Sequence

from ml_metadata import errors
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.registry import versions
from pipeline.registry.history import Action, Event, Registry
from pipeline.store import properties

EXECUTION_TYPE = "throughline.ModelRegistry"
_ARTIFACT_TYPE = "PushedModel"
_RECORDED = (Action.PROMOTE, Action.ROLLBACK, Action.DELETE)

_Pair = tuple[mlmd.Artifact, mlmd.Event]


def record(store: MetadataStore, pipeline: str, registry: Registry) -> int:
    """Records the changes that the store doesn't have yet.

    Args:
        store: The metadata store.
        pipeline: Name of the pipeline.
        registry: The history.

    Returns:
        The number of changes recorded.
    """
    changes = [event for event in registry.events if event.action in _RECORDED]
    if not changes:
        return 0
    known = {e.name for e in store.get_executions_by_type(EXECUTION_TYPE)}
    missing = [event for event in changes if _name(pipeline, event) not in known]
    if missing:
        type_id = store.put_execution_type(mlmd.ExecutionType(name=EXECUTION_TYPE))
        for event in missing:
            _put(store, pipeline, registry, event, type_id)
    return len(missing)


def _put(
    store: MetadataStore,
    pipeline: str,
    registry: Registry,
    event: Event,
    type_id: int,
) -> None:
    execution = mlmd.Execution(
        type_id=type_id,
        name=_name(pipeline, event),
        last_known_state=mlmd.Execution.COMPLETE,
    )
    # Not the origin, which the event of the input says, nor what is empty.
    for name, value in event.to_json().items():
        if isinstance(value, str | int):
            execution.custom_properties[name].CopyFrom(_value(value))
    origin = (registry.added.get(event.version) or event).origin
    used = [*_model(store, origin), *_pushed(store, registry, event)]
    context = mlmd.Context(type_id=_pipeline_type(store), name=pipeline)
    try:
        store.put_execution(
            execution, used, [context], reuse_context_if_already_exist=True
        )
    except errors.AlreadyExistsError:
        # Another process has recorded it since we looked.
        return


def _name(pipeline: str, event: Event) -> str:
    return f"{pipeline}/{event.action}/{event.version}"


def _model(store: MetadataStore, origin: Mapping[str, object]) -> Sequence[_Pair]:
    """Returns the Model artifact of an origin as input, if the store has it."""
    model_id = origin.get(versions.MODEL_ID)
    if not isinstance(model_id, int):
        return []
    return [
        (model, _event(mlmd.Event.INPUT, "model"))
        for model in store.get_artifacts_by_id([model_id])
        if versions.is_same_model(
            origin,
            versions.identity(model.id, model.uri, model.create_time_since_epoch),
        )
    ]


def _pushed(store: MetadataStore, registry: Registry, event: Event) -> Sequence[_Pair]:
    """Returns the version that an event made, as output."""
    if not event.adds:
        return []
    kinds = {kind.name: kind.id for kind in store.get_artifact_types()}
    kind = kinds.get(_ARTIFACT_TYPE) or store.put_artifact_type(
        mlmd.ArtifactType(name=_ARTIFACT_TYPE)
    )
    place = str(registry.base / str(event.version))
    pushed = mlmd.Artifact(type_id=kind, uri=place, state=mlmd.Artifact.LIVE)
    noted: dict[str, str | int] = {
        properties.PUSHED: 1,
        properties.PUSHED_VERSION: str(event.version),
        properties.PUSHED_DESTINATION: place,
    }
    for name, value in noted.items():
        pushed.custom_properties[name].CopyFrom(_value(value))
    return [(pushed, _event(mlmd.Event.OUTPUT, "pushed_model"))]


def _pipeline_type(store: MetadataStore) -> int:
    kinds = {kind.name: kind.id for kind in store.get_context_types()}
    return int(
        kinds.get("pipeline")
        or store.put_context_type(mlmd.ContextType(name="pipeline"))
    )


def _value(value: str | int) -> mlmd.Value:
    if isinstance(value, str):
        return mlmd.Value(string_value=value)
    return mlmd.Value(int_value=value)


def _event(kind: mlmd.Event.Type, name: str) -> mlmd.Event:
    steps = [mlmd.Event.Path.Step(key=name), mlmd.Event.Path.Step(index=0)]
    return mlmd.Event(type=kind, path=mlmd.Event.Path(steps=steps))
