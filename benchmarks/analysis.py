"""Compares the analysis of a window with and without cached spans, in turns.

    python -m benchmarks analysis                 three sizes, ten minutes
    python -m benchmarks analysis --rows 20000 --turns 1

Of each size, a span is ingested once and stands for all spans of a window. TFT's
analysis of the sample's features then reads the rows of all of them, as a run without
an analyzer cache does, or those of the newest one and what is cached of the others.
The seconds are processor time of the analysis alone, in one process that has imported
and used TensorFlow before.
"""

import argparse
import functools
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from tfx.utils import io_utils

from benchmarks import results, trips
from benchmarks.pipeline import machine
from models.preprocessing import preprocessing_fn
from pipeline.columnar import shards, transformation
from pipeline.columnar.analysis_cache import Cache, Span
from pipeline.columnar.transformation import Analysis
from pipeline.config import Config
from pipeline.ingestion import columns, plan, source, writing
from pipeline.ingestion.splitting import SplitRule

HISTORIES = (0, 3, 15)
ROWS = (20_000, 300_000, 1_000_000)
_SHARD_BYTES = 16 << 20


@dataclass(frozen=True)
class Compared:
    """What the analysis of one more span took.

    Attributes:
        rows: Rows of each span.
        history: Number of earlier spans.
        all_rows: Processor seconds of the analysis of all rows, the median turn.
        cached: Those of the analysis of the newest span, with the others cached.
    """

    rows: int
    history: int
    all_rows: float
    cached: float


class Window:
    """A span on disk that stands for all spans of a window."""

    def __init__(self, place: Path, rows: int) -> None:
        """Ingests the span."""
        self._place = place
        self._config = Config()
        self._schema = io_utils.SchemaReader().read(str(self._config.schema))
        file = place / "trips.csv"
        trips.write(file, rows, seed=1)
        parts = plan.divide([source.look_at(file)], _SHARD_BYTES)
        splits = {"train": place / "rows"}
        job = writing.Job(SplitRule({"train": 1}), splits, place / "counts", len(parts))
        kinds = columns.kinds_of_schema(self._schema)
        for numbered in enumerate(parts):
            writing.write_shard(numbered, kinds, job)
        file.unlink()
        self._shards = tuple(shards.shards_of(splits["train"]))
        self._runs = 0
        self._cached = place / "cached"
        self._written = place

    def _analysis(self) -> Analysis:
        self._runs += 1
        settings = {"label_policy": self._config.label_policy}
        arguments = self._config.beam_pipeline_args
        return Analysis(
            self._schema,
            functools.partial(preprocessing_fn, custom_config=settings),
            str(self._place / f"graph-{self._runs}"),
            lambda: beam.Pipeline(options=PipelineOptions(arguments)),
        )

    def analyze(self, spans: int) -> None:
        """Analyzes the rows of a number of spans, without a cache."""
        transformation.analyze(list(self._shards) * spans, self._analysis())

    def analyze_newest(self, history: int) -> None:
        """Analyzes a span after others, which are cached."""
        target = self._place / f"cache-{self._runs}"
        spans = [Span(f"span{n}", self._shards) for n in range(history)]
        spans.append(Span("newest", self._shards))
        cache, analysis = Cache(str(self._cached), str(target)), self._analysis()
        cached = transformation.find_cached(spans, analysis, cache)
        new = [span for span in spans if span.key not in cached]
        transformation.analyze_spans(new, cached, analysis, cache)
        self._written = target / "newest.parquet"

    def fill(self, history: int) -> None:
        """Caches what the newest span has as that of earlier ones."""
        self._cached.mkdir(exist_ok=True)
        for number in range(history):
            for kind in (".parquet", ".json"):
                target = self._cached / f"span{number}{kind}"
                shutil.copy(self._written.with_suffix(kind), target)


def compare(window: Window, rows: int, history: int, turns: int) -> Compared:
    """Measures both ways, in turns."""
    window.fill(history)
    all_rows, cached = [], []
    for _ in range(turns):
        all_rows.append(_cpu_seconds(lambda: window.analyze(history + 1)))
        cached.append(_cpu_seconds(lambda: window.analyze_newest(history)))
    medians = (round(statistics.median(each), 2) for each in (all_rows, cached))
    return Compared(rows, history, *medians)


def _cpu_seconds(do: Callable[[], None]) -> float:
    before = os.times()
    do()
    after = os.times()
    return after.user + after.system - before.user - before.system


def main(arguments: list[str]) -> int:
    """Measures, prints each comparison, and writes the results."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks analysis",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--rows", type=int, nargs="*", default=list(ROWS))
    flags.add_argument("--histories", type=int, nargs="*", default=list(HISTORIES))
    flags.add_argument("--turns", type=int, default=3)
    given = flags.parse_args(arguments)
    found: list[Compared] = []
    for rows in given.rows:
        with tempfile.TemporaryDirectory(prefix="analysis-") as place:
            window = Window(Path(place), rows)
            window.analyze(1)
            window.analyze_newest(0)
            for history in given.histories:
                found.append(compare(window, rows, history, given.turns))
                print(json.dumps(asdict(found[-1])))
                sys.stdout.flush()
    about = {"when": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine()}
    report = {**about, "turns": given.turns, "compared": [asdict(f) for f in found]}
    path = results.save("analysis", report, *map(str, given.rows))
    print(f"results are in {path}")
    return 0
