"""Compares `throughline predict` with a plain loop over the saved model, in turns.

    python -m benchmarks predict                      three turns, two minutes
    python -m benchmarks predict --rows 1000000 --turns 1

Needs a live model: `make run` first, or --output. Each turn is a process of its own,
which reads the same Parquet file and writes all its columns and the scores as Parquet.
The plain loop is what one would write in a notebook: pandas, batches of 20,000 rows,
the signature for raw values. The seconds are those from opening the data to the
finished file, without imports and loading the model; the first call's warm-up counts.
"""

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pyarrow import csv, parquet

from benchmarks import trips
from benchmarks.measure import measure
from pipeline.config import local
from pipeline.registry import versions

OURS, PLAIN = "ours", "plain"


@dataclass(frozen=True)
class Turn:
    """What one prediction took.

    Attributes:
        rows_per_second: From opening the data to the finished file.
        rows_per_cpu_second: The same by processor time, which other jobs on the machine
            disturb less.
        process_seconds: From the process's start to its end.
        peak_megabytes: Most memory at once.
    """

    rows_per_second: float
    rows_per_cpu_second: float
    process_seconds: float
    peak_megabytes: float


def predict(which: str, model: Path, data: Path, rows: int, place: Path) -> Turn:
    """Predicts a file once, in a process of its own.

    Raises:
        RuntimeError: It failed, or wrote another number of rows.
    """
    out, seconds = place / f"{which}.parquet", place / "seconds"
    command = [sys.executable, "-m", "benchmarks.predict_once", which]
    took = measure([*command, *map(str, (model, data, out, seconds))], Path.cwd())
    written = parquet.read_metadata(out).num_rows if out.exists() else 0
    if took.exit_code or written != rows:
        raise RuntimeError(
            f"{which} ended with {took.exit_code} and wrote {written:,} of {rows:,} "
            f"rows; to see why, run: {' '.join(command)} MODEL DATA OUT SECONDS"
        )
    out.unlink()
    speed, by_cpu = (round(rows / each) for each in json.loads(seconds.read_text()))
    return Turn(speed, by_cpu, took.seconds, took.peak_megabytes)


def main(arguments: list[str]) -> int:
    """Measures, prints each turn and the medians; fails if a run failed."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--turns", type=int, default=3)
    flags.add_argument("--rows", type=int, default=1_000_000)
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--output", type=Path, default=local().output)
    given = flags.parse_args(arguments)
    live = versions.live(replace(local(), output=given.output).serving_directory)
    if live is None:
        print(f"no model is live in {given.output}; `make run` makes one")
        return 2
    turns: dict[str, list[Turn]] = {PLAIN: [], OURS: []}
    with tempfile.TemporaryDirectory(prefix="predict-") as directory:
        place = Path(directory)
        trips.write(place / "trips.csv", given.rows, given.seed)
        data = place / "trips.parquet"
        parquet.write_table(csv.read_csv(place / "trips.csv"), data)
        for turn in range(given.turns):
            for which, found in turns.items():
                found.append(predict(which, live.path, data, given.rows, place))
                print(f"turn {turn + 1} {which}: {json.dumps(asdict(found[-1]))}")
                sys.stdout.flush()
    for what in ("rows_per_second", "rows_per_cpu_second"):
        plain, ours = (
            statistics.median(getattr(turn, what) for turn in turns[which])
            for which in (PLAIN, OURS)
        )
        print(
            f"{what}: plain loop {plain:,.0f}, throughline predict {ours:,.0f}, ratio "
            f"{ours / plain:.2f}"
        )
    return 0
