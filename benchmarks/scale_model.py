"""Extrapolates the cost of a run on Flink from what `benchmarks engines` measured.

    python -m benchmarks scale                     reads benchmarks/results/engines/

It takes two sizes, fits a line for the run in-process and one for the cluster, and
prints processor time and the shortest duration for data up to 1 TB. What it assumes:

1. Processor time grows linearly with the rows above the smaller of the two sizes. It
   was measured up to the larger one; beyond that it is an extrapolation.
2. A terabyte has the sample's 129 bytes and 17 columns per row. Wider rows cost more.
3. The in-process run uses all cores of one machine, a cluster one core per worker, and
   both divide the work that grows with the rows evenly. `make test-clusters` asserts
   that the busier of two workers has at most 60 % of it.
4. What doesn't grow with the rows (imports, tracing of TensorFlow functions, training,
   the start of jobs) isn't divided. Training takes a fixed number of batches and
   evaluates a fixed number of rows (`--eval-steps`), on one machine, whatever the
   engine.
5. Reading and writing are not the limit. At 1 TB every worker would have to read from a
   shared file system at several times its own pace of computing: this wasn't measured.
6. Workers of the cluster are as fast as the cores that were measured.
7. One process reads CSV files from one end to the other before they are divided into
   shards, because only the quotes tell where records end: `plan.divide` takes 0.11 s of
   a core for 134 MB. This isn't divided. Parquet files have row groups instead.
8. A TaskManager gets ten million rows at most. That many were tried on one: Beam's
   Flink runner keeps what a stage emits, here the rows for Transform's analysis, in
   Java's heap until the stage ends. Fewer workers are "too few" in the table.

It also prints from how many rows a cluster is faster than one machine, and how fast its
workers read.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import results, trips

SIZES = (1e9, 1e10, 1e11, 1e12)
"""Bytes of text."""
CORES = (2, 16)
WORKERS = (2, 16, 128, 1024)
_SHARD_BYTES = 64 << 20
ROWS_OF_WORKER = 10_000_000
PLANNED_BYTES_PER_SECOND = 1.2e9
_PLANNING = trips.BYTES_IN_ROW / PLANNED_BYTES_PER_SECOND


@dataclass(frozen=True)
class Line:
    """Processor seconds of a run.

    Attributes:
        fixed: Without rows.
        per_row: For each row.
    """

    fixed: float
    per_row: float

    def seconds(self, rows: float) -> float:
        """Returns the processor time for a number of rows."""
        return self.fixed + self.per_row * rows

    def duration(self, rows: float, cores: int) -> float:
        """Returns the shortest duration on a number of cores."""
        divided = (self.per_row - _PLANNING) / cores
        return self.fixed + (_PLANNING + divided) * rows


def fit(runs: Sequence[dict[str, Any]], task_managers: int) -> Line:
    """Draws a line through the smallest and the largest run of an engine.

    Args:
        runs: As `benchmarks engines` wrote them.
        task_managers: Of the cluster; 0 for the run in-process.

    Raises:
        ValueError: There are not two sizes, or more rows took less time.
    """
    of = sorted(
        (run["rows"], run["cpu_seconds"])
        for run in runs
        if run["task_managers"] == task_managers
    )
    if not of or of[0][0] == of[-1][0]:
        raise ValueError(
            f"runs with {task_managers} TaskManagers have {len(of)} sizes, and two are "
            "needed: python -m benchmarks engines --rows N"
        )
    (few, short), (many, long) = of[0], of[-1]
    per_row = (long - short) / (many - few)
    if per_row <= 0:
        raise ValueError(
            f"{many} rows took {long} s and {few} rows {short} s; measure again on a "
            "machine that does nothing else"
        )
    return Line(short - per_row * few, per_row)


def table(local: Line, cluster: Line) -> str:
    """Formats processor hours and shortest durations, one line for each size."""
    heads = [
        *("text", "rows", "shards", "CPU h in-process", "CPU h on Flink"),
        *(f"{cores} cores" for cores in CORES),
        *(f"{workers} workers" for workers in WORKERS),
    ]
    lines = [f"| {' | '.join(heads)} |", "|" + "---:|" * len(heads)]
    for size in SIZES:
        rows = size / trips.BYTES_IN_ROW
        cells = [
            f"{size / 1e9:,.0f} GB",
            f"{rows / 1e6:,.0f} M",
            f"{max(16, size / _SHARD_BYTES):,.0f}",
            *(f"{line.seconds(rows) / 3600:.1f}" for line in (local, cluster)),
            *(_duration(local.duration(rows, cores)) for cores in CORES),
            *(
                _duration(cluster.duration(rows, workers))
                if rows <= workers * ROWS_OF_WORKER
                else "too few"
                for workers in WORKERS
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def break_even(local: Line, cluster: Line, cores: int, workers: int) -> float | None:
    """Returns the rows from which a cluster is faster than one machine; None if never.

    Args:
        local: The run in-process.
        cluster: The run on the cluster.
        cores: Of the one machine.
        workers: Of the cluster.
    """
    gained = (local.per_row - _PLANNING) / cores
    gained -= (cluster.per_row - _PLANNING) / workers
    if gained <= 0:
        return None
    return max(0.0, (cluster.fixed - local.fixed) / gained)


def summary(local: Line, cluster: Line) -> str:
    """Reports where a cluster begins to pay, and what its workers have to read."""
    ratio = cluster.per_row / local.per_row
    lines = [
        f"{name}: {line.fixed:.0f} s, and {line.per_row * 1e6:.1f} s per million rows."
        for name, line in (("in-process", local), ("Flink", cluster))
    ]
    lines.append(f"A row costs {ratio:.1f} times as much on Flink.")
    for cores in CORES:
        for workers in WORKERS:
            rows = break_even(local, cluster, cores, workers)
            at_most = workers * ROWS_OF_WORKER
            possible = rows is not None and rows <= at_most
            from_ = f"from {rows / 1e6:,.1f} M rows" if possible else "never"
            lines.append(f"{workers} workers are faster than {cores} cores: {from_}.")
    pace = trips.BYTES_IN_ROW / cluster.per_row / 1e6
    lines.append(
        f"A worker gets through {pace:.1f} MB of text per second of its core, so "
        f"{WORKERS[-1]} workers read {pace * WORKERS[-1]:,.0f} MB/s from storage."
    )
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours > 1 else f"{seconds / 60:.0f} min"


def main(arguments: list[str]) -> int:
    """Prints the extrapolation."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--results", type=Path, default=results.DIRECTORY / "engines")
    flags.add_argument("--workers", type=int, default=2, help="measured TaskManagers")
    given = flags.parse_args(arguments)
    runs = [
        run
        for path in sorted(given.results.glob("*.json"))
        for run in json.loads(path.read_text())["runs"]
    ]
    try:
        local, cluster = fit(runs, 0), fit(runs, given.workers)
    except ValueError as error:
        print(f"scale: {error}", file=sys.stderr)
        return 1
    print(table(local, cluster))
    print(summary(local, cluster))
    return 0
