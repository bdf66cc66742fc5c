"""Measures what one more span costs after a short and after a long history.

    python -m benchmarks spans                    two windows, ten minutes
    python -m benchmarks spans --windows all --rows 5000

For each window and each history, an output directory is filled by one run over the
history; then a span arrives, and the run that takes it in is measured. All spans have
the same number of rows. A window of "3" trains on the three newest spans, whatever the
history; a window of "all" trains on every span, so its Transform and Trainer have more
rows to pass over after the longer history. The figure that counts is processor time:
other jobs on the machine disturb it less than the wall time.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import results, trips
from benchmarks.measure import Measurement, measure_done
from benchmarks.pipeline import machine
from benchmarks.settings import BATCH, STEPS

HISTORIES = (3, 15)
ROWS = 20_000
WINDOWS = ("3", "all")
_PATTERN = "span-{SPAN}/*.csv"
_NEVER = "1000000"


@dataclass(frozen=True)
class Arrival:
    """What the run took that one more span made necessary.

    Attributes:
        window: The `--window` of the run.
        history: Number of spans that earlier runs had ingested.
        rows: Rows of each span.
        seconds: Wall time.
        cpu_seconds: Processor time of all its processes.
        nodes: Wall seconds of each node.
    """

    window: str
    history: int
    rows: int
    seconds: float
    cpu_seconds: float
    nodes: dict[str, float]


def arrive(window: str, history: int, rows: int, place: Path) -> Arrival:
    """Fills an output directory, and measures the run after one more span.

    Raises:
        RuntimeError: A run failed.
    """
    data, output = place / "data", place / "output"
    for span in range(1, history + 1):
        _put(data, span, rows)
    _run(data, output, window)
    _put(data, history + 1, rows)
    took = _run(data, output, window)
    return Arrival(
        window,
        history,
        rows,
        took.seconds,
        took.cpu_seconds,
        _seconds_by_node(output),
    )


def ratios(found: list[Arrival]) -> dict[str, float]:
    """Returns by window the processor time after the long history by the short's."""
    return {
        window: round(
            _of(found, window, max(HISTORIES)) / _of(found, window, min(HISTORIES)), 3
        )
        for window in dict.fromkeys(each.window for each in found)
    }


def _of(found: list[Arrival], window: str, history: int) -> float:
    return next(
        each.cpu_seconds
        for each in found
        if each.window == window and each.history == history
    )


def _seconds_by_node(output: Path) -> dict[str, float]:
    newest = max((output / "runs").glob("*/run.json"))
    nodes = json.loads(newest.read_text())["nodes"]
    return {name: round(node["seconds"], 2) for name, node in nodes.items()}


def _put(data: Path, span: int, rows: int) -> None:
    file = data / f"span-{span}" / "trips.csv"
    file.parent.mkdir(parents=True)
    trips.write(file, rows, seed=span)


def _run(data: Path, output: Path, window: str) -> Measurement:
    command = [sys.executable, "run_local.py", "--output", str(output)]
    command += ["--data", str(data), "--pattern", _PATTERN, "--window", window]
    command += ["--train-steps", str(STEPS), "--batch-size", str(BATCH)]
    # The rows are drawn with replacement, so most repeat another: the gate still counts
    # them.
    command += ["--model.patience", _NEVER, "--gate.max-duplicates", "1"]
    command += ["--gate.warn", "DELIVERED_AGAIN", "--quality.max-auc-loss", "1"]
    return measure_done(command, Path.cwd())


def main(arguments: list[str]) -> int:
    """Measures, prints each arrival and the ratios, and writes the results."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks spans",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--windows", nargs="*", default=list(WINDOWS))
    flags.add_argument("--rows", type=int, default=ROWS, help="of each span")
    given = flags.parse_args(arguments)
    found: list[Arrival] = []
    for window in given.windows:
        for history in HISTORIES:
            with tempfile.TemporaryDirectory(prefix="spans-") as place:
                found.append(arrive(window, history, given.rows, Path(place)))
            print(json.dumps(asdict(found[-1])))
            sys.stdout.flush()
    about = {"when": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine()}
    arrivals = {"arrivals": [asdict(each) for each in found]}
    report = {**about, **arrivals, "ratios": ratios(found)}
    names = (str(given.rows), "window", *given.windows)
    path = results.save("spans", report, *names)
    for window, ratio in ratios(found).items():
        print(f"window {window}: {max(HISTORIES)} spans / {min(HISTORIES)}: {ratio}")
    print(f"results are in {path}")
    return 0
