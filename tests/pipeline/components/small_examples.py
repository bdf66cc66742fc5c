"""Examples for the executors that come after ingestion."""

from pathlib import Path
from typing import Any

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
from pipeline.trust import schema_review
from schema import SCHEMA_PATH


def write_examples(file: Path, root: Path, buckets: dict[str, int]) -> Artifact:
    """Ingests a CSV file of the sample's columns into splits, which may be empty."""
    artifact = Examples()
    artifact.uri = str(root)
    artifact.split_names = encode_split_names(list(buckets))
    examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_PARQUET)
    examples_utils.set_file_format(artifact, FILE_FORMAT)
    directories = {split: root / f"Split-{split}" for split in buckets}
    # Several shards, as large data has them.
    shards = plan.divide([(source.look_at(file), False)], 1 << 18)
    counts = root.parent / f"{root.name}-counts"
    job = writing.Job(SplitRule(buckets), directories, counts, len(shards))
    kinds = columns.kinds_of_schema(schema_review.read(SCHEMA_PATH))
    for numbered in enumerate(shards):
        writing.write_shard(numbered, kinds, job)
    return artifact


def reviewed_schema(root: Path) -> Artifact:
    """Lays the project's schema out as an artifact."""
    artifact = Schema()
    artifact.uri = str(root)
    root.mkdir(parents=True)
    (root / "schema.pbtxt").write_text(SCHEMA_PATH.read_text())
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
