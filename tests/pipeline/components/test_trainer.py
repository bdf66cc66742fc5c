"""The Trainer's artifacts in a bucket, and a `run_fn` that knows local files only."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.types import Artifact
from tfx.types.artifact_utils import encode_split_names
from tfx.types.standard_artifacts import Examples, Model, ModelRun, TransformGraph

from models import network
from models.declarations import Vocabulary
from models.declared import FEATURES
from pipeline import create_pipeline
from pipeline.columnar import files
from pipeline.components import file_systems, trainer
from pipeline.config import Tune, local
from pipeline.runners import compiler

MODULE = """\
from pathlib import Path

def run_fn(arguments):
    graph = Path(arguments.transform_graph_path, "graph").read_text()
    model = Path(arguments.serving_model_dir)
    model.mkdir(parents=True)
    (model / "saved_model.pb").write_text(f"{graph} of {arguments.train_files}")
    Path(arguments.model_run_dir, "history.json").write_text("{}")
    if graph == "broken":
        raise ValueError("stopped")
"""


def _train(place: str, graph: str, directory: Path) -> None:
    file_systems.register()
    module = directory / "user_trainer.py"
    module.write_text(MODULE)
    artifacts: dict[str, Any] = {
        "examples": Examples(),
        "transform_graph": TransformGraph(),
        "model": Model(),
        "model_run": ModelRun(),
    }
    for name, artifact in artifacts.items():
        artifact.uri = files.join(place, name)
    artifacts["examples"].split_names = encode_split_names(["train", "eval"])
    files.write_text(files.join(place, "transform_graph", "graph"), graph)

    def group(*names: str) -> dict[str, list[Artifact]]:
        return {name: [artifacts[name]] for name in names}

    trainer.Executor().Do(
        group("examples", "transform_graph"),
        group("model", "model_run"),
        {
            "module_file": str(module),
            "train_args": json.dumps({"num_steps": 1}),
            "eval_args": json.dumps({"num_steps": 1}),
            "custom_config": "null",
        },
    )


def test_a_model_is_uploaded_when_it_is_whole(bucket: str, tmp_path: Path) -> None:
    """The graph is read and the model written locally; examples stay in the bucket."""
    _train(f"{bucket}/good", "graph", tmp_path)

    model = f"{bucket}/good/model/Format-Serving/saved_model.pb"
    expected = f"graph of ['{bucket}/good/examples/Split-train/*']"
    assert files.read_text(model) == expected
    assert files.tree(f"{bucket}/good/model_run") == {"history.json": 2}


def test_a_failed_training_uploads_nothing(bucket: str, tmp_path: Path) -> None:
    """Of a model that was written before the error, nothing is in the bucket."""
    with pytest.raises(ValueError, match="stopped"):
        _train(f"{bucket}/bad", "broken", tmp_path)

    assert files.tree(f"{bucket}/bad/model") == {}
    assert files.tree(f"{bucket}/bad/model_run") == {}


@pytest.mark.parametrize("tune", [False, True])
def test_the_network_is_prepared_from_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tune: bool
) -> None:
    """With the pipeline's settings; not if a Tuner will choose others."""
    monkeypatch.setattr(network, "_prepared", [])
    config = replace(
        local(), output=tmp_path, train_steps=20, seed=7, tune=Tune(enabled=tune)
    )
    everything = statistics_pb2.DatasetFeatureStatisticsList()
    rows = everything.datasets.add()
    for feature in FEATURES:
        if isinstance(feature, Vocabulary):
            column = rows.features.add()
            column.path.step.append(feature.column)
            column.string_stats.rank_histogram.buckets.add(label="a", sample_count=90)
    split = tmp_path / "statistics" / "Split-train"
    split.mkdir(parents=True)
    (split / "FeatureStats.pb").write_bytes(everything.SerializeToString())

    def written(node_id: str, output: str) -> str:
        assert (node_id, output) == ("StatisticsGen", "statistics")
        return str(split.parent)

    pipeline = compiler.compile_pipeline(create_pipeline(config))
    trainer.Executor.prepare(pipeline, "Trainer", written)

    plans = [(plan.train_steps, plan.seed) for plan, _, _ in network._prepared]
    assert plans == ([] if tune else [(20, 7)])
