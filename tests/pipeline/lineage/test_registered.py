"""The registry and the metadata store complete each other."""

from pathlib import Path

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.config import Config
from pipeline.lineage import registered
from pipeline.lineage.query import open_lineage
from pipeline.registry import history, recording
from pipeline.registry.changes import Author, push, rollback
from pipeline.registry.versions import identity
from pipeline.store.connection import open_store
from tests.pipeline.registry.saved_models import named
from tests.pipeline.tfx_store import StockStore, train


def _push(config: Config, store: StockStore, run: str) -> int:
    """Trains and pushes a model, which nobody has described yet."""
    made = train(store, run, version=run, auc=0.87)
    mlmd = MetadataStore(open_store(config.metadata_url))
    (model,) = mlmd.get_artifacts_by_id([made.model])
    origin = identity(model.id, model.uri, model.create_time_since_epoch)
    return push(named(Path(model.uri), run), config.serving_directory, origin)


def test_versions_get_their_facts(config: Config, store: StockStore) -> None:
    """Run, data, metrics and verdict of each model are next to its version."""
    first, second = (_push(config, store, run) for run in ("101", "102"))

    registered.synchronize(open_lineage(config))

    facts = history.read(config.serving_directory).facts
    assert {n: f["run"] for n, f in facts.items()} == {first: "101", second: "102"}
    assert facts[first]["metrics"] == {"auc": 0.87}
    assert facts[first]["blessed"] is True
    assert facts[first]["data"][0]["rows"] == {"train": 70, "eval": 30}
    assert facts[first]["packages"] == {"tfx": "1.21.0"}
    assert set(facts[first]["code"]) == {"Trainer"}


def test_changes_are_made_up_for(config: Config, store: StockStore) -> None:
    """A rollback while the store was down is recorded at the next occasion."""
    _push(config, store, "101")
    _push(config, store, "102")
    rollback(config.serving_directory, None, Author(because="x"))

    registered.synchronize(open_lineage(config))

    opened = MetadataStore(open_store(config.metadata_url))
    (execution,) = opened.get_executions_by_type(recording.EXECUTION_TYPE)
    assert execution.custom_properties["because"].string_value == "x"


def test_a_model_of_another_store_has_no_facts(
    config: Config, store: StockStore
) -> None:
    """An id that is another model's here doesn't describe a version."""
    made = train(store, "101", version="101")
    origin = identity(made.model, "/elsewhere", 5)
    push(named(config.output, "a"), config.serving_directory, origin)
    push(named(config.output, "b"), config.serving_directory, {})

    registered.synchronize(open_lineage(config))

    assert history.read(config.serving_directory).facts == {}


def test_without_versions_nothing_is_made(config: Config, store: StockStore) -> None:
    """A run that pushed nothing leaves no serving directory."""
    train(store, "101")

    registered.synchronize(open_lineage(config))

    assert not config.serving_directory.exists()
