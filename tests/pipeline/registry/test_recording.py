"""Promotions, rollbacks and deletions in the metadata store."""

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.config import Config
from pipeline.registry import history, recording
from pipeline.registry.changes import Author, delete, promote_version, push, rollback
from pipeline.registry.versions import identity
from pipeline.store import records
from pipeline.store.connection import open_store
from pipeline.store.graph import Graph
from tests.pipeline.registry.saved_models import named
from tests.pipeline.tfx_store import StockStore

ME = Author(by="me", because="a test")


def _arrange(config: Config, store: StockStore) -> tuple[MetadataStore, list[int]]:
    """Pushes two models of the store; returns the versions."""
    mlmd = MetadataStore(open_store(config.metadata_url))
    pushed = []
    for name in "ab":
        model_id = store.artifact("Model")
        (model,) = mlmd.get_artifacts_by_id([model_id])
        origin = identity(model.id, model.uri, model.create_time_since_epoch)
        directory = named(store.path(model_id), name)
        pushed.append(push(directory, config.serving_directory, origin))
    return mlmd, pushed


def test_changes_are_executions(config: Config, store: StockStore) -> None:
    """Each reads its model, has who, when and why, and writes what it made live."""
    mlmd, (a, b) = _arrange(config, store)
    base = config.serving_directory
    restored = rollback(base, None, ME).version
    promoted = promote_version(base, b, ME).version
    delete(base, a, ME)

    count = recording.record(mlmd, config.name, history.read(base))

    graph = Graph(mlmd)
    models = graph.of_type("Model")
    found = [step for m in models for step in graph.users([m.id])]
    assert count == 3
    assert [
        step.parameters["action"] for step in sorted(found, key=lambda s: s.id)
    ] == [
        "rollback",
        "promote",
        "delete",
    ]
    assert {step.pipeline for step in found} == {config.name}
    assert {(s.parameters["by"], s.parameters["because"]) for s in found} == {
        ("me", "a test")
    }
    versions = {
        str(pushed.properties["pushed_version"]): maker.inputs["model"]
        for pushed in graph.of_type("PushedModel")
        for maker in graph.makers([pushed.id])
    }
    assert versions == {
        str(restored): (models[0].id,),
        str(promoted): (models[1].id,),
    }


def test_nothing_is_recorded_twice(config: Config, store: StockStore) -> None:
    """What the store has is left alone, also if another process was faster."""
    mlmd, _ = _arrange(config, store)
    base = config.serving_directory
    rollback(base, None, ME)
    registry = history.read(base)

    counts = [recording.record(mlmd, config.name, registry) for _ in range(2)]
    (event,) = registry.events[2:]
    again = recording._record_of(mlmd, config.name, registry, event)
    is_new = records.put(mlmd, config.name, again)

    assert not is_new
    assert counts == [1, 0]
    assert len(mlmd.get_executions_by_type(recording.EXECUTION_TYPE)) == 1


def test_a_model_of_another_store_is_no_input(
    config: Config, store: StockStore
) -> None:
    """An id alone doesn't make a model the same: the store may be a new one."""
    mlmd, _ = _arrange(config, store)
    base = config.serving_directory
    other = push(named(config.output, "c"), base, identity(1, "/other", 5))
    push(named(config.output, "d"), base, identity(2, "/other", 6))
    rollback(base, other, ME)

    recording.record(mlmd, config.name, history.read(base))

    (execution,) = mlmd.get_executions_by_type(recording.EXECUTION_TYPE)
    (event,) = mlmd.get_events_by_execution_ids([execution.id])
    assert event.path.steps[0].key == "pushed_model"
