"""Examples for the executors that come after ingestion."""

from pathlib import Path

from tfx.types import Artifact
from tfx.types.artifact_utils import encode_split_names
from tfx.types.standard_artifacts import Examples

from pipeline.components import csv_ingestion


def write_examples(file: Path, root: Path, buckets: dict[str, int]) -> Artifact:
    """Ingests a CSV file into splits, which may be empty."""
    artifact = Examples()
    artifact.uri = str(root)
    artifact.split_names = encode_split_names(list(buckets))
    directories = {split: f"{root}/Split-{split}" for split in buckets}
    types = csv_ingestion.column_types([file], None)
    csv_ingestion.write_shards((0, str(file)), directories, types, buckets, 1)
    return artifact
