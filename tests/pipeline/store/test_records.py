"""Executions of ours in the metadata store."""

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.config import Config
from pipeline.store import records
from pipeline.store.connection import open_store
from pipeline.store.graph import Graph
from pipeline.store.records import Record
from tests.pipeline.tfx_store import StockStore


@pytest.fixture
def opened(config: Config, store: StockStore) -> MetadataStore:
    """The store that the fixture `store` fills."""
    del store
    return MetadataStore(open_store(config.metadata_url))


def test_a_record_reads_and_writes(
    opened: MetadataStore, config: Config, store: StockStore
) -> None:
    """Its inputs, output and properties are in the graph; unknown inputs are not."""
    model = store.artifact("Model")
    record = Record(
        "throughline.Test",
        "one",
        {"why": "a test", "rows": 3},
        output=("result", "Result", "/r"),
        output_values={"good": 1},
        inputs={"model": model, "other": 99},
    )

    is_new = records.put(opened, config.name, record)

    graph = Graph(opened)
    (result,) = graph.of_type("Result")
    (maker,) = graph.makers([result.id])
    assert is_new
    assert (result.uri, result.properties) == ("/r", {"good": 1})
    assert maker.inputs == {"model": (model,)}
    assert (maker.parameters, maker.pipeline) == (
        {"rows": 3, "why": "a test"},
        config.name,
    )


def test_a_name_is_put_once(opened: MetadataStore, config: Config) -> None:
    """The second of two processes is told that it wasn't first."""
    record = Record("throughline.Test", "one", {}, output=("result", "Result", "/r"))

    first, second = (records.put(opened, config.name, record) for _ in range(2))

    assert (first, second) == (True, False)
    assert records.names_of(opened, "throughline.Test") == {"one"}
    assert records.names_of(opened, "throughline.Other") == set()
    assert len(Graph(opened).of_type("Result")) == 1
