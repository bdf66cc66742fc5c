"""Records promotions, rollbacks and deletions in the metadata store, for lineage.

Pushes are there already, as executions of the Pusher. Each other change becomes an
execution that reads the Model artifact and, if it made a version, writes a PushedModel
artifact. An execution is named after its version, and names are unique in the store, so
recording the same history twice, or from two processes, has no effect.
"""

from collections.abc import Mapping

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.registry import versions
from pipeline.registry.history import Action, Event, Registry
from pipeline.store import properties, records
from pipeline.store.records import Record

EXECUTION_TYPE = "throughline.ModelRegistry"
_ARTIFACT_TYPE = "PushedModel"
_RECORDED = (Action.PROMOTE, Action.ROLLBACK, Action.DELETE)


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
    # One query for all: a store behind a network answers in tens of milliseconds.
    known = records.names_of(store, EXECUTION_TYPE)
    missing = [event for event in changes if _name(pipeline, event) not in known]
    for event in missing:
        records.put(store, pipeline, _record_of(store, pipeline, registry, event))
    return len(missing)


def _record_of(
    store: MetadataStore, pipeline: str, registry: Registry, event: Event
) -> Record:
    origin = (registry.added.get(event.version) or event).origin
    place = str(registry.base / str(event.version))
    return Record(
        EXECUTION_TYPE,
        _name(pipeline, event),
        # Not the origin, which the event of the input says, nor what is empty.
        {n: v for n, v in event.to_json().items() if isinstance(v, str | int)},
        output=("pushed_model", _ARTIFACT_TYPE, place) if event.adds else None,
        output_values={
            properties.PUSHED: 1,
            properties.PUSHED_VERSION: str(event.version),
            properties.PUSHED_DESTINATION: place,
        },
        inputs=_model(store, origin),
    )


def _name(pipeline: str, event: Event) -> str:
    return f"{pipeline}/{event.action}/{event.version}"


def _model(store: MetadataStore, origin: Mapping[str, object]) -> dict[str, int]:
    """Returns the id of the Model artifact of an origin, if the store has it."""
    model_id = origin.get(versions.MODEL_ID)
    if not isinstance(model_id, int):
        return {}
    for model in store.get_artifacts_by_id([model_id]):
        created = model.create_time_since_epoch
        if versions.is_same_model(
            origin, versions.identity(model.id, model.uri, created)
        ):
            return {"model": model.id}
    return {}
