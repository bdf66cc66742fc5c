"""Examples of a shop's sales, for the executors that come after ingestion."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import Artifact
from tfx.types.artifact_utils import encode_split_names
from tfx.types.standard_artifacts import Examples, Schema

from pipeline.components.ingestion import FILE_FORMAT
from pipeline.config import Config
from pipeline.ingestion import columns, plan, source, writing
from pipeline.ingestion.splitting import SplitRule

ROWS = 1_000
SCHEMA = """
feature { name: "price" type: FLOAT }
feature { name: "size" type: INT int_domain { is_categorical: true } }
feature { name: "color" type: BYTES }
feature { name: "shop" type: BYTES }
feature { name: "blank" type: FLOAT }
feature { name: "sold" type: INT }
"""
# A value in each column may be missing; `blank` has none.
_SHARE_MISSING = 0.05


def lines() -> Iterator[str]:
    """Yields the CSV file line by line: a few colors, many shops."""
    numbers = np.random.default_rng(1)
    cells = {
        "price": [f"{price:.2f}" for price in numbers.lognormal(2, 1, ROWS)],
        "size": [str(size) for size in numbers.integers(0, 9, ROWS)],
        "color": numbers.choice(["red", "green", "blue"], ROWS, p=[0.6, 0.3, 0.1]),
        "shop": [f"shop {shop}" for shop in numbers.zipf(1.5, ROWS)],
        "blank": [""] * ROWS,
        "sold": [str(sold) for sold in numbers.integers(0, 2, ROWS)],
    }
    missing = numbers.random((ROWS, len(cells))) < _SHARE_MISSING
    yield ",".join(cells)
    for row, gone in zip(zip(*cells.values(), strict=True), missing, strict=True):
        yield ",".join("" if g else c for c, g in zip(row, gone, strict=True))


def preprocessing_fn(
    inputs: dict[str, Any], custom_config: dict[str, int]
) -> dict[str, Any]:
    """Scales the price, and numbers the most frequent texts."""
    dense = {
        name: tf.squeeze(tf.sparse.to_dense(tensor, default_value=missing), 1)
        for name, missing in (("price", 0.0), ("color", ""), ("shop", ""), ("sold", 0))
        for tensor in [_one_column(inputs[name])]
    }
    return {
        "price_scaled": tft.scale_to_z_score(dense["price"]),
        "price_bucket": tft.bucketize(dense["price"], 4),
        "color_id": tft.compute_and_apply_vocabulary(dense["color"], num_oov_buckets=1),
        "shop_id": tft.compute_and_apply_vocabulary(
            dense["shop"], top_k=custom_config["shops"], num_oov_buckets=1
        ),
        "sold": dense["sold"],
    }


def _one_column(tensor: tf.SparseTensor) -> tf.SparseTensor:
    shape = [tensor.dense_shape[0], 1]
    return tf.SparseTensor(tensor.indices, tensor.values, shape)


def write_sales(root: Path, buckets: dict[str, int]) -> Artifact:
    """Ingests the sales into splits, which may be empty."""
    root.mkdir(parents=True, exist_ok=True)
    file = root.parent / f"{root.name}.csv"
    file.write_text("".join(f"{line}\n" for line in lines()))
    return write_examples(file, root, buckets)


def write_examples(
    file: Path, root: Path, buckets: dict[str, int], schema: str = SCHEMA
) -> Artifact:
    """Ingests a CSV file of a schema's columns into splits, which may be empty."""
    artifact = Examples()
    artifact.uri = str(root)
    artifact.split_names = encode_split_names(list(buckets))
    examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_PARQUET)
    examples_utils.set_file_format(artifact, FILE_FORMAT)
    directories = {split: root / f"Split-{split}" for split in buckets}
    # Several shards, as large data has them.
    shards = plan.divide([source.look_at(file)], 1 << 16)
    counts = root.parent / f"{root.name}-counts"
    job = writing.Job(SplitRule(buckets), directories, counts, len(shards))
    kinds = columns.kinds_of_schema(text_format.Parse(schema, schema_pb2.Schema()))
    for numbered in enumerate(shards):
        writing.write_shard(numbered, kinds, job)
    return artifact


def schema_artifact(root: Path, schema: str = SCHEMA) -> Artifact:
    """Writes a schema as an artifact."""
    artifact = Schema()
    artifact.uri = str(root)
    root.mkdir(parents=True)
    (root / "schema.pbtxt").write_text(schema)
    return artifact


def executor_in_process(
    executor: type[BaseBeamExecutor], temporary: Path
) -> BaseBeamExecutor:
    """Creates an executor as the launcher does for a run on this machine."""
    return executor(
        BaseBeamExecutor.Context(
            beam_pipeline_args=Config().beam_pipeline_args,
            tmp_dir=str(temporary),
            unique_id="1",
        )
    )


Properties = dict[str, Any]
