"""Detecting that a run's split rule differs from its baseline's."""

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.ingestion.splitting import AppliedRule, SplitRule
from pipeline.lineage import splits
from pipeline.store import properties
from pipeline.store.connection import open_store
from pipeline.store.graph import Graph
from tests.pipeline.tfx_store import StockStore

PARTS = {"train": 7, "eval": 1, "test": 2}


def _rule(*columns: str) -> str:
    applied = AppliedRule.of(SplitRule(PARTS, columns), dict.fromkeys(columns, "INT"))
    return applied.to_json()


def _trained(store: StockStore, run: str, rule: str, baseline: int | None) -> int:
    """Registers a run up to its Evaluator; returns its model."""
    noted = {properties.SPLIT_RULE: rule} if rule else {}
    examples, model = store.examples(**noted), store.artifact("Model")
    store.ran(run, "ExampleGen", outputs={"examples": examples})
    store.ran(run, "Trainer", inputs={"examples": [examples]}, outputs={"model": model})
    store.ran(
        run,
        "Evaluator",
        inputs={
            "examples": [examples],
            "model": [model],
            "baseline_model": [] if baseline is None else [baseline],
        },
    )
    return model


def test_a_split_that_moved_is_said(store: StockStore) -> None:
    """There is a warning if and only if the two split rules differ."""
    first = _trained(store, "first", _rule("fare"), None)
    second = _trained(store, "second", _rule("fare"), first)
    _trained(store, "third", _rule("fare", "note"), second)

    graph = Graph(MetadataStore(open_store(store.url)))

    assert not splits.moved(graph, "first")
    assert not splits.moved(graph, "second")
    assert splits.moved(graph, "third").startswith(
        "The test split is not the baseline's (columns that now decide: note). The "
        "baseline may have learned from rows that it is tested on here"
    )


def test_examples_that_do_not_say_how_they_were_split(store: StockStore) -> None:
    """A baseline without a recorded rule gives a warning."""
    old = _trained(store, "old", "", None)
    _trained(store, "new", _rule("fare"), old)
    _trained(store, "stock", "", old)

    graph = Graph(MetadataStore(open_store(store.url)))

    assert "have no record of their split rule" in splits.moved(graph, "new")
    assert not splits.moved(graph, "stock")
