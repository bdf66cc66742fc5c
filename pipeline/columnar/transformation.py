"""TensorFlow Transform on shards: analysis on Beam, the graph on batches by our engine.

TFT's analysis exists on Beam only; its elements here are record batches of a row group.
The graph that it writes is then a function of tensors, and is called on whole batches.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform import beam as tft_beam
from tensorflow_transform.beam import analysis_graph_builder
from tensorflow_transform.beam.analyzer_cache import DatasetCache, DatasetKey
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io
from tfx_bsl.tfxio.tensor_adapter import TensorAdapter

from pipeline.columnar import (
    analysis_cache,
    batch_coder,
    engine,
    files,
    progress,
    shards,
)
from pipeline.columnar.analysis_cache import CACHED, Cache, Span
from pipeline.columnar.engine import Runner
from pipeline.columnar.shards import SUFFIX, Shard, ShardWriter, read_batches
from pipeline.columnar.tensors import FromTensors, ToTensors

ROWS_IN_SHARD = 100_000
"""About how many rows a transformed shard holds: two row groups of the raw one."""

ROWS_AT_ONCE = 16_384
"""Most rows that the graph is applied to at once by a worker: its columns, widened to
tensors and back, are several times the raw ones, and larger batches aren't faster."""

NAME = "transformed_examples"

_LOG = logging.getLogger(__name__)

Preprocess = Callable[..., Any]


@dataclass(frozen=True)
class Analysis:
    """What TFT is to compute: all that the transform graph must know of the rows.

    Attributes:
        schema: Of the raw rows.
        preprocess: The preprocessing function.
        graph: Directory of the transform graph, which is written.
        make_pipeline: Makes a Beam pipeline.
    """

    schema: schema_pb2.Schema
    preprocess: Preprocess
    graph: str
    make_pipeline: Callable[[], beam.Pipeline]


class BuiltAnalysis:
    """The Beam pipeline of an analysis, built but not run.

    Building it takes 1.3 s of Python, in which TFT traces the preprocessing function.
    That needs the schema only, so in this process it can be done before there are rows.
    """

    def __init__(
        self, analysis: Analysis, pieces: Sequence[Shard] | None = None
    ) -> None:
        """Builds it.

        Args:
            analysis: What TFT is to compute.
            pieces: The row groups to analyze; None if `run` gets them, which takes an
                engine in this process.
        """
        self.analysis = analysis
        self._pipeline = analysis.make_pipeline()
        given = (
            beam.Create([None]) | "Given" >> beam.FlatMap(_given)
            if pieces is None
            else beam.Create(pieces)
        )
        with _context(analysis):
            batches = _batches(self._pipeline, given, analysis.schema)
            _ = (
                (batches, ToTensors(analysis.schema).config)
                | "Analyze" >> tft_beam.AnalyzeDataset(analysis.preprocess)
                | "Write" >> tft_beam.WriteTransformFn(analysis.graph)
            )

    def run(self, pieces: Sequence[Shard] = ()) -> None:
        """Analyzes the rows, and writes the transform graph; only once."""
        _pieces[:] = pieces
        with self._pipeline:
            pass
        _complete(self.analysis)


# Of the analysis that runs in this process: what Beam pickles can't be changed later.
_pieces: list[Shard] = []


def _given(_: None) -> list[Shard]:
    return _pieces


def analyze(found: Sequence[Shard], analysis: Analysis) -> None:
    """Runs TFT's analysis on Beam, and writes the transform graph.

    Args:
        found: The shards to analyze.
        analysis: How.
    """
    BuiltAnalysis(analysis, shards.split_up(found)).run()


def find_cached(
    spans: Sequence[Span], analysis: Analysis, cache: Cache
) -> analysis_cache.Entries:
    """Finds the spans whose rows needn't be read again for an analysis.

    Args:
        spans: The shards to analyze.
        analysis: How.
        cache: What is known of the spans.

    Returns:
        The cached entries of each, by its key. None if an analyzer needs all rows: one
        that reads another's result, or that TFT can't cache; the log says so.
    """
    found = cache.find(spans)
    if not found:
        return {}
    entries = dict.fromkeys(analysis_cache.shared_entries(found), True)
    needed = analysis_graph_builder.get_analysis_dataset_keys(
        analysis.preprocess,
        TensorAdapter(ToTensors(analysis.schema).config).OriginalTypeSpecs(),
        {CACHED},
        {CACHED: DatasetCache(entries, None)},
        force_tf_compat_v1=False,
    )
    if needed:
        _LOG.warning("All spans are analyzed again: an analyzer needs their rows")
        return {}
    return found


def analyze_spans(
    new: Sequence[Span],
    cached: analysis_cache.Entries,
    analysis: Analysis,
    cache: Cache,
) -> None:
    """Does what `analyze` does, and doesn't read the rows of cached spans.

    The graph is the one of `analyze`, but for the last bits of its numbers: they are
    64-bit sums, added in another order.

    Args:
        new: The shards to analyze.
        cached: The spans that are analyzed with them; see `find_cached`.
        analysis: How.
        cache: Has the values of the cached spans, and gets those of the new ones.
    """
    config = ToTensors(analysis.schema).config
    cache.copy(cached)
    with analysis.make_pipeline() as pipeline, _context(analysis):
        datasets: dict[DatasetKey, Any] = {
            DatasetKey(span.key): _batches(
                pipeline,
                beam.Create(shards.split_up(span.shards)),
                analysis.schema,
                name=str(number),
            )
            for number, span in enumerate(new)
        }
        known: dict[DatasetKey, DatasetCache] = {}
        if cached:
            datasets[CACHED] = None
            known[CACHED] = cache.read(cached, pipeline)
        transform_fn, computed = (
            datasets,
            known,
            config,
        ) | "Analyze" >> tft_beam.AnalyzeDatasetWithCache(
            analysis.preprocess, pipeline=pipeline
        )
        _ = transform_fn | "Write" >> tft_beam.WriteTransformFn(analysis.graph)
        cache.write(computed, pipeline)
    _complete(analysis)


def _context(analysis: Analysis) -> tft_beam.Context:
    """Returns TFT's settings while a pipeline is built."""
    return tft_beam.Context(
        temp_dir=_temporary(analysis),
        # Each phase of analyzers has its own copy of the reading, and Beam fuses both:
        # batches are read again for each phase, and none is kept between phases.
        use_deep_copy_optimization=True,
    )


def _temporary(analysis: Analysis) -> str:
    return files.join(analysis.graph, ".analysis")


def _complete(analysis: Analysis) -> None:
    """Completes the directory of a graph that was written."""
    metadata_io.write_metadata(
        dataset_metadata.DatasetMetadata(analysis.schema),
        files.join(analysis.graph, tft.TFTransformOutput.RAW_METADATA_DIR),
    )
    files.remove_directory(_temporary(analysis))


def _batches(
    pipeline: beam.Pipeline,
    pieces: beam.PTransform,
    schema: schema_pb2.Schema,
    name: str = "",
) -> beam.PCollection[pa.RecordBatch]:
    batch_coder.use()
    read = functools.partial(_raw_batches, schema)
    return (
        pipeline
        | f"Shards{name}" >> pieces
        # The type selects the coder.
        | f"Read{name}" >> beam.FlatMap(read).with_output_types(pa.RecordBatch)
    )


@dataclass(frozen=True)
class Task:
    """A shard to transform.

    Attributes:
        graph: Directory of the transform graph.
        source: The raw rows.
        target: The file to write.
    """

    graph: str
    source: Shard
    target: str


def apply(graph: str, found: Sequence[Shard], directory: str, runner: Runner) -> int:
    """Transforms a split.

    Args:
        graph: Directory of the transform graph.
        found: The split's shards.
        directory: Gets the transformed shards, in the order of the raw rows.
        runner: Who transforms them.

    Returns:
        How many rows were transformed.
    """
    # A split without rows still has one shard, which says what its columns are.
    pieces = shards.split_up(found, ROWS_IN_SHARD) or list(found[:1])
    names = [f"{NAME}-{n:05d}-of-{len(pieces):05d}{SUFFIX}" for n in range(len(pieces))]
    tasks = [
        Task(graph, piece, files.join(directory, name))
        for piece, name in zip(pieces, names, strict=True)
    ]
    return sum(engine.map_shards(transform_shard, tasks, runner))


def transform_shard(task: Task) -> int:
    """Transforms a shard and writes it; returns how many rows it has."""
    graph = _graph(task.graph)
    with ShardWriter(task.target, graph.from_tensors.arrow_schema) as writer:
        for batch in read_batches(task.source, rows=ROWS_AT_ONCE):
            writer.write(graph.from_tensors(graph(graph.to_tensors(batch))))
            progress.advance(batch.num_rows)
    return writer.written


class Graph:
    """A transform graph with the conversions before and after it."""

    def __init__(self, directory: str) -> None:
        """Loads it."""
        # TFT loads parts of it when they are first used, so the copy stays.
        self._files = ExitStack()
        copy = self._files.enter_context(files.local_copy(directory))
        self._output = tft.TFTransformOutput(copy)
        self.to_tensors = ToTensors(self._output.raw_metadata.schema)
        self.from_tensors = FromTensors(self._output.transformed_metadata.schema)

    def __call__(self, tensors: dict[str, Any]) -> dict[str, tf.Tensor]:
        """Transforms a batch of raw tensors."""
        transformed: dict[str, tf.Tensor] = self._output.transform_raw_features(tensors)
        return transformed


@functools.lru_cache(maxsize=1)
def _graph(directory: str) -> Graph:
    """Loads a graph once per worker process, however many shards it transforms."""
    return Graph(directory)


def _raw_batches(schema: schema_pb2.Schema, piece: Shard) -> Any:
    to_tensors = ToTensors(schema)
    there = shards.schema_of([piece]).names
    columns = [name for name in to_tensors.columns if name in there]
    for batch in read_batches(piece, columns=columns):
        yield to_tensors.conformed(batch)
        progress.advance(batch.num_rows)
