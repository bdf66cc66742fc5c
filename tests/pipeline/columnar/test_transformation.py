"""Transformation of shards: literal rows in, literal rows out, in each form."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from apache_beam.runners.pipeline_context import PipelineContext
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.columnar import shards, transformation
from pipeline.columnar.batch_coder import BatchCoder
from pipeline.columnar.engine import Runner, Workers
from pipeline.columnar.shards import Shard, ShardWriter
from pipeline.columnar.transformation import Analysis
from tests.pipeline.columnar.conftest import make_pipeline

SCHEMA = text_format.Parse(
    """
    feature { name: "fare" type: FLOAT }
    feature { name: "areas" type: INT }
    feature { name: "company" type: BYTES presence { min_fraction: 1 }
              shape { dim { size: 1 } } }
    """,
    schema_pb2.Schema(),
)


def preprocess(inputs: dict[str, Any]) -> dict[str, Any]:
    """Transforms a number, several numbers and a text."""
    fare = tf.reshape(tf.sparse.to_dense(inputs["fare"]), [-1])
    areas = inputs["areas"]
    return {
        "fare": tft.scale_to_z_score(fare),
        "areas": tf.SparseTensor(areas.indices, areas.values + 1, areas.dense_shape),
        "company": tft.compute_and_apply_vocabulary(inputs["company"][:, 0]),
    }


def test_batches_are_compressed_between_stages(tmp_path: Path) -> None:
    """Wherever TFT's analysis reads the rows, an engine passes them on compressed."""
    pipeline = make_pipeline()
    analysis = Analysis(SCHEMA, preprocess, str(tmp_path), lambda: pipeline)
    transformation.BuiltAnalysis(analysis, [])

    components = pipeline.to_runner_api().components
    coders = PipelineContext(components).coders
    read = [
        collection
        for collection in components.pcollections.values()
        if collection.unique_name.split(".")[0].endswith("Read")
    ]
    assert read
    for collection in read:
        assert isinstance(coders.get_by_id(collection.coder_id), BatchCoder)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> list[Shard]:
    """Six rows in two shards, some with several values or none."""
    directory = tmp_path_factory.mktemp("raw")
    batch = pa.RecordBatch.from_pydict(
        {
            "fare": pa.array([1.0, 3.0, 1.0, 3.0, 1.0, 3.0], pa.float32()),
            "areas": [[8, 32], None, [7], [], [1, 2, 3], [8]],
            "company": ["a", "b", "a", "a", "b", "c"],
        }
    )
    for number in range(2):
        path = directory / f"{number}.parquet"
        with ShardWriter(path, batch.schema, rows=2) as writer:
            writer.write(batch.slice(3 * number, 3))
    return shards.shards_of(directory)


@pytest.fixture(scope="module")
def graph(raw: list[Shard], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The transform graph of the six rows."""
    directory = str(tmp_path_factory.mktemp("graph"))
    analysis = Analysis(SCHEMA, preprocess, directory, make_pipeline)
    transformation.analyze(raw, analysis)
    return directory


def test_transformed_rows_are_the_same_in_each_form(
    raw: list[Shard], graph: str, tmp_path: Path, runner: Runner
) -> None:
    """Literal rows in, literal rows out: several values stay several, in order."""
    (tmp_path / "scratch").mkdir()

    count = transformation.apply(graph, raw, str(tmp_path / "out"), runner)

    assert count == 6
    found = shards.shards_of(tmp_path / "out")
    assert [Path(s.file).name for s in found] == [
        "transformed_examples-00000-of-00002.parquet",
        "transformed_examples-00001-of-00002.parquet",
    ]
    assert shards.read_table(found).to_pydict() == {
        "areas": [[9, 33], [], [8], [], [2, 3, 4], [9]],
        "company": [[0], [1], [0], [0], [1], [2]],
        "fare": [[-1.0], [1.0], [-1.0], [1.0], [-1.0], [1.0]],
    }


def test_split_without_shards_has_none_after(graph: str, tmp_path: Path) -> None:
    """Nothing to transform is no error."""
    assert transformation.apply(graph, [], str(tmp_path), Workers()) == 0
