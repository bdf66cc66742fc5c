"""Statistics of shards: the same from local workers and from Beam."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from tensorflow_data_validation.statistics.stats_options import StatsOptions

from pipeline.columnar import shards, statistics
from pipeline.columnar.engine import Runner, Workers
from pipeline.columnar.shards import ShardWriter
from pipeline.columnar.statistics import Request

ROWS = 450_000
"""Rows of one column: five partial results."""


def test_statistics_are_the_same_in_each_form(tmp_path: Path, runner: Runner) -> None:
    """The statistics are equal to the last bit, whoever computes them."""
    numbers = np.random.default_rng(1).normal(size=ROWS).astype(np.float32)
    batch = pa.RecordBatch.from_pydict({"fare": numbers})
    with ShardWriter(tmp_path / "data" / "a.parquet", batch.schema) as writer:
        writer.write(batch)
    found = shards.shards_of(tmp_path / "data")
    request = Request(StatsOptions().to_json(), sample_rate=0.9)

    one = statistics.describe(found, request, Workers(1))
    other = statistics.describe(found, request, runner)

    assert 0.89 * ROWS < one.datasets[0].num_examples < 0.91 * ROWS
    assert other == one
