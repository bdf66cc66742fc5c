"""Compares the main job with TFX's taxi template and with a plain script, in turns.

    make bench                                three turns at each size, about an hour
    make bench ROWS=15002 ARGS="--turns 1"    one turn at the sample's size, 2 minutes

Each run starts without a cache, reads the same CSV file, and trains the same number of
steps with the same batch size; early stopping is disabled in the main job. The template
is copied from the installed wheel with all its features and steps enabled; the plain
script is `benchmarks/plain.py`. The rows are sampled from the taxi sample with a fixed
seed; at ten million rows only the main job runs. Results are written to
benchmarks/results/; `python -m benchmarks readme` updates the README's table from them.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import results, stock, trips
from benchmarks.measure import Measurement, measure
from benchmarks.settings import BATCH, STEPS

ROWS = (15_002, 300_000, 1_000_000, 10_000_000)
# Above this, only the main job: the template would take more than an hour.
_MOST_FOR_ALL = 1_000_000
# More evaluations than the steps hold: training never stops early.
_NEVER = "1000000"
_PACKAGES = ("tfx", "tensorflow", "apache-beam", "pyarrow", "keras")

Run = Callable[[Path, Path], Measurement]
"""Runs one candidate on a data directory, in a directory of its own."""


def run_main_job(data: Path, directory: Path) -> Measurement:
    """Runs the main job without a cache."""
    command = [sys.executable, "run_local.py", "--output", str(directory / "output")]
    flags = ["--train-steps", str(STEPS), "--batch-size", str(BATCH)]
    # The rows are drawn with replacement, so most repeat another: the gate still counts
    # them, and doesn't stop for them. Repetition also makes a group of few trips look
    # like one of many, whose error rate is certain.
    flags += ["--model.patience", _NEVER, "--gate.max-duplicates", "1"]
    flags += ["--quality.max-error-rate-gap", "1"]
    return measure([*command, "--data", str(data), *flags], Path.cwd())


def run_template(data: Path, directory: Path) -> Measurement:
    """Runs the stock template without a cache."""
    stock.write_template(directory, data, steps=STEPS, batch=BATCH)
    return measure([sys.executable, "local_runner.py"], directory)


def run_plain_script(data: Path, directory: Path) -> Measurement:
    """Runs the plain script."""
    command = [sys.executable, "-m", "benchmarks.plain", str(data)]
    return measure([*command, str(directory / "plain")], Path.cwd())


CANDIDATES: dict[str, Run] = {
    "stock": run_template,
    "ours": run_main_job,
    "plain": run_plain_script,
}


def seconds_by_node(directory: Path) -> dict[str, float]:
    """Reads from the metadata store how long each node took; empty without a store."""
    found: dict[str, float] = {}
    for path in directory.rglob("metadata.db"):
        # SQL on MLMD's tables, so that this process imports no TFX and the stock
        # template's store is read in the same way.
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            for name, began, ended in store.execute(
                "SELECT t.name, e.create_time_since_epoch,"
                " e.last_update_time_since_epoch FROM Execution e"
                " JOIN Type t ON e.type_id = t.id ORDER BY e.id"
            ):
                short = name.rpartition(".")[2]
                # Resolvers share a class, so their times are added.
                found[short] = round(found.get(short, 0) + (ended - began) / 1000, 2)
    return found


@contextmanager
def _data_of(rows: int, place: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="trips-", dir=place) as directory:
        trips.write(Path(directory) / "trips.csv", rows, seed=1)
        yield Path(directory)


def machine() -> dict[str, Any]:
    """Describes the machine and the packages that decide about the figures."""
    return {
        "processor": platform.processor() or platform.machine(),
        # What this process may use, which a container limits; cpu_count is the host's.
        "cores": len(os.sched_getaffinity(0)),
        "memory_megabytes": os.sysconf("SC_PAGE_SIZE")
        * os.sysconf("SC_PHYS_PAGES")
        // 1_000_000,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _flags(arguments: list[str]) -> argparse.Namespace:
    flags = argparse.ArgumentParser(
        prog="make bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--turns", type=int, default=3)
    flags.add_argument("--rows", default=",".join(map(str, ROWS)))
    flags.add_argument("--only", choices=CANDIDATES, nargs="*", default=[*CANDIDATES])
    flags.add_argument(
        "--directory",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="directory for temporary files; 10 GB for ten million rows",
    )
    return flags.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measures, prints each turn and the table; fails if a run failed."""
    flags = _flags(arguments)
    turns: list[dict[str, Any]] = []
    for rows in (int(text) for text in flags.rows.split(",")):
        names = flags.only if rows <= _MOST_FOR_ALL else ["ours"]
        with _data_of(rows, flags.directory) as data:
            # Candidates alternate: a machine that slows down in an hour slows all of
            # them.
            for turn in range(flags.turns):
                for name in names:
                    # A new directory each time, so that no cache or store of an earlier
                    # turn is found.
                    with tempfile.TemporaryDirectory(dir=flags.directory) as place:
                        took = CANDIDATES[name](data, Path(place))
                        nodes = seconds_by_node(Path(place))
                    which = {"rows": rows, "turn": turn + 1, "candidate": name}
                    turns.append({**which, **asdict(took), "nodes": nodes})
                    print(json.dumps(turns[-1]), flush=True)
                    if took.exit_code:
                        return 1
    path = results.write(
        {
            "when": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": machine(),
            "steps": STEPS,
            "batch": BATCH,
            "turns": turns,
        }
    )
    print(f"{results.table(turns)}\n{path}")
    return 0
