"""A window as it is recorded on executions, and found again."""

import json

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.config import Config
from pipeline.store import windows
from pipeline.store.connection import open_store
from pipeline.store.graph import Graph
from pipeline.store.properties import WINDOW
from pipeline.store.windows import EarlierSpan, Window
from tests.pipeline.tfx_store import StockStore

OUT = EarlierSpan(8, "8", refused="fare: too high")
FOUND = Window("9", (EarlierSpan(7, "7", 3, 4), OUT), "5 to 6", "1 to 4")


def test_a_window_is_read_as_it_was_written() -> None:
    """Nothing is lost on the way through the store."""
    assert Window.from_mapping(json.loads(FOUND.to_json())) == FOUND
    assert (FOUND.accepted, FOUND.refused) == (FOUND.earlier[:1], (OUT,))
    assert FOUND.lines() == ["span 8 stays out: fare: too high"]


def test_the_window_of_a_run_is_found(config: Config, store: StockStore) -> None:
    """By its executions; a run without spans has none."""
    store.ran("monday", "ExampleGen", properties={WINDOW: FOUND.to_json()})
    store.ran("monday", "Trainer")
    store.ran("tuesday", "ExampleGen")
    graph = Graph(MetadataStore(open_store(config.metadata_url)))

    assert windows.of_run(graph.run("monday")) == FOUND
    assert windows.of_run(graph.run("tuesday")) is None


def test_the_newest_window_of_examples_counts(
    config: Config, store: StockStore
) -> None:
    """Two runs with the same newest span have different windows."""
    examples, others = store.examples(), store.examples()
    outputs = {"examples": examples}
    for window in (Window("9"), FOUND):
        properties = {WINDOW: window.to_json()}
        store.ran("monday", "ExampleGen", outputs=outputs, properties=properties)
    # What a partial run registers for the nodes that it leaves out has no window.
    store.ran("tuesday", "ExampleGen", outputs=outputs)
    tfx_store = MetadataStore(open_store(config.metadata_url))

    assert windows.of_examples(tfx_store, examples) == FOUND
    assert windows.of_examples(tfx_store, others) is None


def test_the_artifacts_of_windows(config: Config, store: StockStore) -> None:
    """Those of accepted spans, of all executions that were asked for."""
    execution = store.ran("monday", "ExampleGen", properties={WINDOW: FOUND.to_json()})
    graph = Graph(MetadataStore(open_store(config.metadata_url)))

    assert windows.artifacts_of(graph, [execution]) == {3, 4}
