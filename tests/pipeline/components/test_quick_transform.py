"""Transforming in memory gives what the stock executor gives."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.transform import executor as stock
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import Artifact
from tfx.types.standard_artifacts import Examples, Schema, TransformGraph

from data import taxi
from models import features
from pipeline.components import quick_transform, small_data
from pipeline.config import IN_PROCESS_BEAM_RUNNER
from schema import SCHEMA_PATH
from tests.pipeline.components.small_examples import write_examples

PROPERTIES = {
    "preprocessing_fn": "models.preprocessing.preprocessing_fn",
    "splits_config": json.dumps({"analyze": ["train"], "transform": ["train", "none"]}),
    "custom_config": json.dumps({"label_policy": "all-trips"}),
    "disable_statistics": 1,
    "force_tf_compat_v1": 0,
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The sample's examples, all in one split of two."""
    root = tmp_path_factory.mktemp("examples")
    file = taxi.write_sample(root / "data")
    artifact = write_examples(file, root / "out", {"train": 1, "none": 0})
    examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(artifact, "tfrecords_gzip")
    return artifact


def run(executor: type[BaseBeamExecutor], examples: Artifact, root: Path) -> Path:
    """Runs an executor of Transform; returns its output directory."""
    schema, graph, transformed = Schema(), TransformGraph(), Examples()
    schema.uri = str(root / "schema")
    (root / "schema").mkdir(parents=True)
    (root / "schema" / "schema.pbtxt").write_text(SCHEMA_PATH.read_text())
    graph.uri, transformed.uri = str(root / "graph"), str(root / "transformed")
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=[IN_PROCESS_BEAM_RUNNER, "--sdk_container_image=none"],
        tmp_dir=str(root / "tmp"),
        unique_id="1",
    )
    executor(context).Do(
        {"examples": [examples], "schema": [schema]},
        {"transform_graph": [graph], "transformed_examples": [transformed]},
        dict(PROPERTIES),
    )
    return root


def rows_of(root: Path, split: str) -> dict[str, np.ndarray]:
    """Reads transformed rows, in an order that does not depend on how they came."""
    graph = tft.TFTransformOutput(str(root / "graph"))
    files = tf.io.gfile.glob(f"{root}/transformed/Split-{split}/*")
    records = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    if not records:
        return {}
    parsed = tf.io.parse_example(records, graph.transformed_feature_spec())
    columns = {name: np.reshape(c, (len(records), -1)) for name, c in parsed.items()}
    order = np.lexsort([c for v in columns.values() for c in v.T])
    return {name: values[order] for name, values in columns.items()}


@pytest.fixture(scope="module")
def outputs(
    examples: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """What our executor and the stock one write for the same examples."""
    root = tmp_path_factory.mktemp("outputs")
    return (
        run(quick_transform.Executor, examples, root / "quick"),
        run(stock.Executor, examples, root / "stock"),
    )


def test_rows_equal_to_stock(outputs: tuple[Path, Path]) -> None:
    """Every transformed value of every row is the stock executor's, bit for bit."""
    quick, slow = (rows_of(root, "train") for root in outputs)

    assert quick.keys() == slow.keys()
    assert len(quick[features.LABEL]) == 15_002
    for name, values in slow.items():
        np.testing.assert_array_equal(quick[name], values, err_msg=name)


def test_graph_equal_to_stock(outputs: tuple[Path, Path]) -> None:
    """Schemas and vocabularies of the graph are the stock executor's."""
    quick, slow = (tft.TFTransformOutput(str(root / "graph")) for root in outputs)

    assert quick.transformed_feature_spec() == slow.transformed_feature_spec()
    assert quick.raw_feature_spec() == slow.raw_feature_spec()
    names = {path.name for path in (outputs[1] / "graph").rglob("assets/*")}
    assert names
    for name in names:
        assert quick.vocabulary_by_name(name) == slow.vocabulary_by_name(name)


def test_nothing_temporary_is_left(outputs: tuple[Path, Path]) -> None:
    """The graph's directory holds what the stock executor's holds."""
    quick, slow = (
        {path.relative_to(root / "graph") for path in (root / "graph").rglob("*")}
        for root in outputs
    )

    assert quick == slow


def test_empty_split_is_written(outputs: tuple[Path, Path]) -> None:
    """A split without rows becomes a file without rows."""
    quick, _ = outputs

    assert rows_of(quick, "none") == {}
    assert len(list((quick / "transformed" / "Split-none").iterdir())) == 1


def test_large_data_goes_to_beam(
    examples: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Examples over the limit are left to the stock executor."""
    monkeypatch.setattr(small_data, "MOST_BYTES_IN_MEMORY", 1000)
    seen = []
    monkeypatch.setattr(stock.Executor, "Do", lambda *_: seen.append("stock"))

    run(quick_transform.Executor, examples, tmp_path)

    assert seen == ["stock"]
