"""Examples for the executors that come after ingestion."""

from pathlib import Path

from tfx.types import Artifact
from tfx.types.artifact_utils import encode_split_names
from tfx.types.standard_artifacts import Examples

from pipeline.ingestion import plan, source, writing
from pipeline.ingestion.splitting import SplitRule


def write_examples(file: Path, root: Path, buckets: dict[str, int]) -> Artifact:
    """Ingests a CSV file into splits, which may be empty."""
    artifact = Examples()
    artifact.uri = str(root)
    artifact.split_names = encode_split_names(list(buckets))
    directories = {split: root / f"Split-{split}" for split in buckets}
    shards = plan.divide([(source.look_at(file), False)])
    counts = root.parent / f"{root.name}-counts"
    job = writing.Job(SplitRule(buckets), directories, counts, len(shards))
    for numbered in enumerate(shards):
        writing.note_kinds(numbered, job)
    kinds = writing.noted_kinds(job)
    for numbered in enumerate(shards):
        writing.write_shard(numbered, kinds, job)
    return artifact
