"""Compares the main job with TFX's own taxi template, in turns on this machine.

    make bench                       three turns, about ten minutes
    make bench ARGS="--turns 1"      one turn

Both start from nothing each time, read the same 15,002 trips, and train the same number
of steps with the same batch size; ours has early stopping switched off. The template is
copied from the installed wheel with all its features and all its steps enabled.
"""

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks import stock
from benchmarks.measure import Measurement, measure

STEPS = 1000
BATCH = 200
# More evaluations than the steps hold: training never stops early.
NEVER = "1000000"


def ours(directory: Path) -> Measurement:
    """Runs our main job from nothing."""
    command = [sys.executable, "run_local.py", "--output", str(directory / "output")]
    flags = ["--train-steps", str(STEPS), "--batch-size", str(BATCH)]
    return measure([*command, *flags, "--patience", NEVER], Path.cwd())


def theirs(directory: Path) -> Measurement:
    """Runs the stock template from nothing."""
    stock.lay_out(directory, steps=STEPS, batch=BATCH)
    return measure([sys.executable, "local_runner.py"], directory)


def table(results: dict[str, list[Measurement]]) -> str:
    """Formats medians and the median of the turns' ratios, as the README shows them."""
    lines = ["| | stock template | Throughline | ratio |", "|---|---|---|---|"]
    for name, title, unit in (
        ("seconds", "wall time", "s"),
        ("cpu_seconds", "processor time", "s"),
        ("peak_megabytes", "peak memory", "MB"),
        ("lines", "lines printed", ""),
    ):
        pairs = [
            (getattr(a, name), getattr(b, name))
            for a, b in zip(results["stock"], results["ours"], strict=True)
        ]
        stock_median = statistics.median(a for a, _ in pairs)
        ours_median = statistics.median(b for _, b in pairs)
        ratio = statistics.median(b / a for a, b in pairs)
        lines.append(
            f"| {title} | {stock_median:,.0f} {unit} | {ours_median:,.0f} {unit} "
            f"| {ratio:.2f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Measures, prints each turn and the table; fails if a run failed."""
    flags = argparse.ArgumentParser(
        prog="make bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--turns", type=int, default=3)
    turns = flags.parse_args(arguments).turns
    results: dict[str, list[Measurement]] = {"stock": [], "ours": []}
    for turn in range(turns):
        for name, run in (("stock", theirs), ("ours", ours)):
            with tempfile.TemporaryDirectory() as directory:
                result = run(Path(directory))
            print(f"turn {turn + 1} {name}: {json.dumps(asdict(result))}", flush=True)
            if result.exit_code:
                return 1
            results[name].append(result)
    print(table(results))
    return 0
