"""Compares the model with boosted trees on the same rows, under three conditions.

    python -m benchmarks models [--out DIRECTORY] [--seeds N] [--only CONDITION]

Runs the pipeline, and trains scikit-learn's HistGradientBoosting, and LightGBM if it is
installed (`pip install lightgbm`; the project itself has no use for it), on the rows of
its splits: learning from `train`, stopping by `eval`, AUC on `test`. Trees get the raw
columns, categories as categories. Takes about 2 minutes on two quiet cores.
"""

import argparse
import importlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from data import taxi
from models import features
from models.declared import RAW_COLUMNS
from pipeline.columnar.shards import read_batches, shards_of
from pipeline.quality import results

PROJECT = Path(__file__).parents[1]
_TIME = "trip_start_timestamp"
_NEWEST = 0.8
"""The time-forward split learns from the oldest trips: this share of them."""
_ROUNDS = 500
_PATIENCE = 20
_BIG_TIP = 5  # Tips above a fifth of the fare.

Splits = Mapping[str, tuple[pd.DataFrame, np.ndarray]]
Fit = Callable[[Splits, int], np.ndarray]


def main(arguments: list[str]) -> int:
    """Prints each AUC as it is measured, and a table at the end.

    If a directory is given, the AUCs measured so far are in its models.json.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, help="keep the runs and the results here")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each model")
    parser.add_argument("--only", help="one condition: hash, time or card")
    given = parser.parse_args(arguments)
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        out = given.out or Path(temporary)
        for name, flags in _conditions(out).items():
            if given.only not in {None, name}:
                continue
            for model, area in _compared(out / name, flags, given.seeds):
                found.setdefault(name, {}).setdefault(model, []).append(area)
                print(f"{name:6}{model:24}{area:.4f}", flush=True)
                # A measurement of an hour may be stopped.
                (out / "models.json").write_text(json.dumps(found, indent=1))
    print()
    for name, areas in found.items():
        for model, values in areas.items():
            shown = ", ".join(f"{value:.4f}" for value in values)
            print(f"{name:6}{model:24}{np.mean(values):.4f}  ({shown})")
    return 0


def _conditions(out: Path) -> dict[str, list[str]]:
    """Returns the flags of each condition."""
    file = taxi.write_sample(out / "sample")
    times = csv.read_csv(file)[_TIME].to_numpy()
    newest = str(int(np.quantile(times, _NEWEST)))
    return {
        "hash": [],
        "time": ["--splits.time-column", _TIME, "--splits.test-from", newest],
        "card": ["--label-policy", "card-trips"],
    }


def _compared(out: Path, flags: list[str], seeds: int) -> Iterator[tuple[str, float]]:
    """Yields the names of models and their AUCs on the test split, one per seed."""
    for seed in range(1, seeds + 1):
        yield "this model", _run(out / f"seed-{seed}", flags, seed)
    examples = next(iter((out / "seed-1").glob("artifacts/ExampleGen/examples/*")))
    splits = read_splits(examples, only_card="card-trips" in flags)
    for name, fit in _trees():
        test = splits["test"][1]
        for seed in range(1, seeds + 1):
            yield name, float(roc_auc_score(test, fit(splits, seed)))


def _run(out: Path, flags: list[str], seed: int) -> float:
    """Runs the pipeline; returns the AUC that its Evaluator measured."""
    # Whatever the AUC is, it is what is asked for here.
    command = ["run_local.py", "--output", str(out), "--min-auc", "0.01"]
    subprocess.run(
        [sys.executable, *command, "--seed", str(seed), *flags],
        cwd=PROJECT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    # A directory that is given again may hold those of earlier runs.
    found = out.glob("artifacts/Evaluator/evaluation/*")
    evaluation = max(found, key=lambda path: path.stat().st_mtime)
    return results.read_metrics(evaluation)[results.CANDIDATE][results.OVERALL]["auc"]


def read_splits(examples: Path, *, only_card: bool = False) -> Splits:
    """Reads what trees learn from: raw features and label, by name of the split.

    Args:
        examples: The artifact of ExampleGen.
        only_card: Only trips that were paid by card, of which all tips are known.
    """
    return {
        name: _table(examples / f"Split-{name}", only_card=only_card)
        for name in ("train", "eval", "test")
    }


def _table(directory: Path, *, only_card: bool) -> tuple[pd.DataFrame, np.ndarray]:
    """Reads the raw features and the label of a split, as trees take them."""
    batches = [b for s in shards_of(directory) for b in read_batches(s)]
    rows = pa.Table.from_batches(batches)
    columns = {
        name: [cell[0] if cell else None for cell in rows[name].to_pylist()]
        for name in rows.schema.names
    }
    frame = pd.DataFrame({name: columns[name] for name in RAW_COLUMNS})
    for name in (features.PAYMENT_TYPE, features.COMPANY):
        frame[name] = frame[name].str.decode("utf-8")
    tips, fare = (
        np.round(np.array(columns[name], float) * 100)
        for name in (features.TIPS, features.FARE)
    )
    known = np.isfinite(tips) & np.isfinite(fare)
    if only_card:
        known &= (frame[features.PAYMENT_TYPE] == "Credit Card").to_numpy()
    return frame[known], (tips * _BIG_TIP > fare)[known].astype(int)


def _coded(splits: Splits, most: int) -> dict[str, pd.DataFrame]:
    """Encodes texts as categories of the training rows, at most so many."""
    train = splits["train"][0]
    known = {
        name: train[name].value_counts().index[: most - 1]
        for name in (features.PAYMENT_TYPE, features.COMPANY)
    }
    found = {}
    for split, (frame, _) in splits.items():
        coded = frame.copy()
        for name, values in known.items():
            coded[name] = pd.Categorical(frame[name], categories=values)
        for name in coded.columns.difference(list(known)):
            coded[name] = coded[name].astype(float)
        found[split] = coded
    return found


def _trees() -> Iterator[tuple[str, Fit]]:
    yield "HistGradientBoosting", hist_gradient_boosting
    if importlib.util.find_spec("lightgbm"):
        yield "LightGBM", _lightgbm


def hist_gradient_boosting(splits: Splits, seed: int) -> np.ndarray:
    """Learns from `train`, stops by `eval`.

    Args:
        splits: As `read_splits` returns them.
        seed: Of its random numbers.

    Returns:
        The probability of each row of `test`.
    """
    coded = _coded(splits, most=250)
    best: tuple[float, Any] | None = None
    # It can only stop by a part of its own training rows, so the number of rounds is
    # chosen by `eval` from a few.
    for rounds in (50, 100, 200, 400):
        model = HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=rounds,
            early_stopping=False,
            categorical_features="from_dtype",
            random_state=seed,
        ).fit(coded["train"], splits["train"][1])
        scores = model.predict_proba(coded["eval"])[:, 1]
        area = roc_auc_score(splits["eval"][1], scores)
        if best is None or area > best[0]:
            best = area, model
    assert best is not None  # noqa: S101 - the loop has run
    return best[1].predict_proba(coded["test"])[:, 1]


def _lightgbm(splits: Splits, seed: int) -> np.ndarray:
    lightgbm: Any = importlib.import_module("lightgbm")
    coded = _coded(splits, most=10_000)
    model = lightgbm.LGBMClassifier(
        n_estimators=_ROUNDS, learning_rate=0.05, random_state=seed, verbose=-1
    ).fit(
        coded["train"],
        splits["train"][1],
        eval_set=[(coded["eval"], splits["eval"][1])],
        eval_metric="auc",
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
    )
    return model.predict_proba(coded["test"])[:, 1]
