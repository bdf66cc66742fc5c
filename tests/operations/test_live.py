"""What is known of the live model."""

import shutil
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore

from operations import live
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.store.connection import open_store
from pipeline.store.graph import Graph
from tests.operations import live_models, request_logs
from tests.pipeline.tfx_store import StockStore


def test_data_and_evaluation_are_found(config: Config) -> None:
    """By the artifacts that the model came from, and those about it."""
    pushed = live_models.push(config, request_logs.trips(50), auc=0.9, spans=(3, 4))

    model = live.read(config)

    assert (model.version, model.artifact) == (pushed.version, pushed.artifact)
    assert (model.run, model.label_policy) == ("monday", "all-trips")
    assert model.data is not None
    assert (model.data.rows.rows, model.data.verdict.spans) == (50, (3, 4))
    assert model.promised["auc"] == live.Promise(0.9, 0.88, 0.92)
    assert len(model.calibration) == 10
    assert model.evaluation["metrics_specs"]
    assert model.missing == ()


def test_all_spans_of_the_window_are_its_data(config: Config) -> None:
    """Each was judged by itself, and the model has learned from all of them."""
    window = {3: request_logs.trips(20, seed=3), 4: request_logs.trips(30, seed=4)}
    live_models.push(config, request_logs.trips(50), spans=(5,), window=window)

    model = live.read(config)

    assert model.data is not None
    assert (model.data.rows.rows, model.data.verdict.spans) == (100, (3, 4, 5))
    assert model.missing == ()


def test_a_span_whose_profile_is_gone_is_told(config: Config) -> None:
    """The others are still compared with."""
    window = {4: request_logs.trips(30, seed=4)}
    live_models.push(config, request_logs.trips(50), spans=(5,), window=window)
    graph = Graph(MetadataStore(open_store(config.metadata_url)))
    shutil.rmtree(Path(graph.of_type("DataVerdict")[0].uri))

    model = live.read(config)

    assert model.data is not None
    assert model.data.rows.rows == 50
    assert model.missing == ("the profiles of 1 of its 2 spans are gone",)


def test_what_is_gone_is_told(config: Config) -> None:
    """Monitoring goes on with what there is."""
    live_models.push(config, request_logs.trips(50))
    graph = Graph(MetadataStore(open_store(config.metadata_url)))
    for kind in ("DataVerdict", "ModelEvaluation"):
        shutil.rmtree(Path(graph.of_type(kind)[0].uri))

    model = live.read(config)

    assert model.missing == (
        "the profile of its training data is gone",
        "its evaluation is gone",
    )


def test_a_model_of_another_store_is_told(config: Config) -> None:
    """Its version is live, and nothing else is known of it."""
    live_models.push(config, request_logs.trips(50))
    config.output.joinpath("metadata.db").unlink()
    # Its ids begin again, so another model has the id of the live one.
    store = StockStore(config.metadata_url, config.output / "new", config.name)
    for _ in range(9):
        store.artifact("Model")

    model = live.read(config)

    assert model.artifact is None
    assert "was not pushed from this metadata store" in model.missing[0]


def test_without_a_version_there_is_nothing_to_monitor(config: Config) -> None:
    """The message says how to get one."""
    with pytest.raises(UsageError, match="no version is live in"):
        live.read(config)
