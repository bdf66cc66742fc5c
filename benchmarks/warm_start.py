"""Measures what a warm start saves when a span arrives.

    python -m benchmarks warm-start               about a minute
    python -m benchmarks warm-start --seeds 1 2 3

For each seed, a model of the first span becomes live. Then the second span arrives, and
two models learn from it with the same settings: one from random weights, and one from
the live model's. Counted are the steps after which each first reached the AUC on the
eval split of the one from random weights: its best one, and that of the weights that
were kept, which have the least loss. The spans are the halves of the sample, by the
time of the trips.
"""

import argparse
import csv
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import measure_done
from data import taxi

_PATTERN = "span-{SPAN}/*.csv"
_TIME = "trip_start_timestamp"


@dataclass(frozen=True)
class Saved:
    """What a warm start saved.

    Attributes:
        seed: Of both trainings.
        target: Best AUC on the eval split that the cold training reached.
        cold_steps: Steps after which the cold training first had it.
        warm_steps: Steps after which the warm one had it; `None` if it never did.
        warm_auc: Best AUC on the eval split that the warm training reached.
        kept_auc: AUC of the weights that the cold training kept.
        cold_kept_step: Step of these.
        warm_kept_step: Steps after which the warm training first had that AUC.
    """

    seed: int
    target: float
    cold_steps: int
    warm_steps: int | None
    warm_auc: float
    kept_auc: float
    cold_kept_step: int
    warm_kept_step: int | None


def compare(seed: int, place: Path) -> Saved:
    """Trains on the first half, then on the second half from both beginnings.

    Raises:
        RuntimeError: A run failed.
    """
    _put_spans(place / "data", 1)
    _run(place, seed)
    _put_spans(place / "data", 2)
    # Not to the end: if the first became live, the second would begin with it.
    cold = _run(place, seed, "--to", "Trainer")
    warm = _run(place, seed, "--to", "Trainer", "--warm-start")
    target = max(cold["eval_auc"])
    kept = min(range(len(cold["step"])), key=cold["eval_loss"].__getitem__)
    return Saved(
        seed,
        round(target, 4),
        _first(cold, target) or 0,
        _first(warm, target),
        round(max(warm["eval_auc"]), 4),
        round(cold["eval_auc"][kept], 4),
        int(cold["step"][kept]),
        _first(warm, cold["eval_auc"][kept]),
    )


def _first(curves: dict[str, list[float]], target: float) -> int | None:
    """Returns the first step at which an AUC was reached."""
    pairs = zip(curves["step"], curves["eval_auc"], strict=True)
    return next((int(step) for step, auc in pairs if auc >= target), None)


def _put_spans(data: Path, count: int) -> None:
    with taxi.write_sample(data.parent / "sample").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row[_TIME]))
    half = len(rows) // 2
    for number, part in enumerate((rows[:half], rows[half:])[:count], 1):
        path = data / f"span-{number}" / "trips.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(part)


def _run(place: Path, seed: int, *flags: str) -> dict[str, list[float]]:
    """Runs the pipeline; returns the learning curves."""
    output = place / "output"
    command = [sys.executable, "run_local.py", "--output", str(output)]
    command += ["--data", str(place / "data"), "--pattern", _PATTERN]
    command += ["--seed", str(seed), "--gate.warn", "DRIFT", "LABEL_RATE"]
    # The first half alone is judged as any model is; slices of it differ by chance.
    command += ["--quality.max-slice-auc-loss", "1", *flags]
    measure_done(command, Path.cwd())
    runs = output / "artifacts" / "Trainer" / "model_run"
    newest = max(runs.iterdir(), key=lambda path: int(path.name))
    curves: dict[str, list[float]] = json.loads((newest / "history.json").read_text())
    return curves


def main(arguments: list[str]) -> int:
    """Measures, and prints a line of JSON for each seed."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks warm-start",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--seeds", type=int, nargs="+", default=[1])
    for seed in flags.parse_args(arguments).seeds:
        with tempfile.TemporaryDirectory(prefix="warm-start-") as place:
            print(json.dumps(asdict(compare(seed, Path(place)))))
        sys.stdout.flush()
    return 0
