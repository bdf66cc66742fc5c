"""TFDV's statistics of shards: accumulated batch by batch, merged, written out.

These are TFDV's own generators, called on Arrow batches by our engine, so what they
find is what TFDV's Beam pipeline finds. The most frequent values and the number of
distinct ones come from TFDV's sketches, which are exact up to 1,024 and 16,384 distinct
values of a column and estimates of bounded size beyond.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.statistics.generators.stats_generator import (
    CombinerStatsGenerator,
)
from tensorflow_data_validation.statistics.stats_options import StatsOptions
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipeline.columnar import engine, progress, shards
from pipeline.columnar.engine import Runner
from pipeline.columnar.shards import Shard

ROWS_AT_ONCE = 100_000
"""Rows that one partial result describes: two row groups."""

_SEED = 1

Accumulators = list[Any]
"""One of each generator, in their order."""


@dataclass(frozen=True)
class Request:
    """Which statistics to compute.

    Attributes:
        options: TFDV's, as JSON: it travels to workers.
        columns: Only these are read; None means all.
        sample_rate: The share of the rows that is described, 0 to 1.
    """

    options: str
    columns: tuple[str, ...] | None = None
    sample_rate: float = 1.0

    def generators(self) -> list[CombinerStatsGenerator]:
        """Creates the generators, ready to accumulate."""
        options = StatsOptions.from_json(self.options)
        # Combiners only: TFDV's other generators are Beam transforms; see `beyond`.
        generators: list[CombinerStatsGenerator] = stats_impl.get_generators(
            options, in_memory=True
        )
        for generator in generators:
            generator.setup()
        return generators


def beyond(options: StatsOptions) -> str | None:
    """Returns the first option that only TFDV's Beam pipeline supports, or `None`."""
    if options.slicing_config or options.experimental_slice_functions:
        return "statistics by slice"
    if options.schema and options.label_feature:
        return "the lift of a label"
    if options.experimental_result_partitions > 1:
        return "partitioned results"
    return None


def describe(
    found: Sequence[Shard], request: Request, runner: Runner
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Computes the statistics of a split.

    Args:
        found: Its shards.
        request: What is wanted.
        runner: Who computes them.

    Returns:
        One data set; of no rows, one with 0 examples and no features.
    """
    pieces = [p for p in shards.split_up(found, ROWS_AT_ONCE) if p.rows]
    total = engine.aggregate(
        functools.partial(_accumulate, request),
        functools.partial(_merge, request),
        list(enumerate(pieces)),
        runner,
    )
    if total is None:
        empty = statistics_pb2.DatasetFeatureStatistics(num_examples=0)
        return statistics_pb2.DatasetFeatureStatisticsList(datasets=[empty])
    return stats_impl.extract_statistics_output(total, request.generators())


def _accumulate(request: Request, numbered: tuple[int, Shard]) -> Accumulators:
    generators = request.generators()
    found = [generator.create_accumulator() for generator in generators]
    for batch in _batches(request, *numbered):
        found = [
            generator.add_input(each, batch)
            for generator, each in zip(generators, found, strict=True)
        ]
    # What is kept until the merge, or sent to another worker, should be small.
    return [g.compact(each) for g, each in zip(generators, found, strict=True)]


def _batches(request: Request, number: int, piece: Shard) -> Iterator[pa.RecordBatch]:
    columns = request.columns
    if columns is not None:
        # An Examples artifact from another pipeline may lack a column of the schema.
        there = shards.schema_of([piece]).names
        columns = tuple(name for name in columns if name in there)
    # A seed per piece: the sample doesn't depend on who describes which piece.
    chance = np.random.default_rng([_SEED, number])
    for batch in shards.read_batches(piece, columns=columns):
        if request.sample_rate >= 1:
            yield batch
        else:
            kept = chance.random(batch.num_rows) < request.sample_rate
            yield batch.filter(pa.array(kept))
        progress.advance(batch.num_rows)


def _merge(request: Request, partials: list[Accumulators]) -> Accumulators:
    return [
        generator.merge_accumulators(list(each))
        for generator, each in zip(
            request.generators(), zip(*partials, strict=True), strict=True
        )
    ]
