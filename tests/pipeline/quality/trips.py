"""Trips of the sample with their labels, and scores that are made without training."""

import csv
import functools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from data import taxi
from models.groups import GROUPS
from pipeline.config import Quality
from pipeline.quality.aggregates import Floats, Scored
from pipeline.quality.gated import Gated
from pipeline.quality.gates import BEST, LIVE, Judged, Settings

ROWS = 5000


@functools.cache
def rows() -> tuple[pa.RecordBatch, Floats]:
    """Some real trips as list columns, and whether they tipped more than a fifth."""
    with (
        tempfile.TemporaryDirectory() as directory,
        taxi.write_sample(Path(directory)).open(newline="") as file,
    ):
        trips = list(csv.DictReader(file))[:ROWS]
    labels = np.array(
        [
            round(float(t["tips"]) * 100) * 5 > round(float(t["fare"]) * 100)
            for t in trips
        ]
    )
    columns = {
        "payment_type": pa.array([[t["payment_type"].encode()] for t in trips]),
        "company": pa.array([[t["company"].encode()] for t in trips]),
        "trip_start_hour": pa.array([[int(t["trip_start_hour"])] for t in trips]),
        "pickup_community_area": pa.array(
            [
                [int(t["pickup_community_area"])]
                if t["pickup_community_area"]
                else None
                for t in trips
            ]
        ),
    }
    return pa.RecordBatch.from_pydict(columns), labels.astype(np.float64)


@functools.cache
def logits() -> Floats:
    """Log-odds of a good model: card trips, and a part of what it can't know."""
    batch, labels = rows()
    card = np.array(batch.column("payment_type").flatten()) == b"Credit Card"
    chance = np.random.default_rng(1).normal(0, 1, len(labels))
    return np.asarray(6.0 * card - 5.5 + 1.5 * (labels - 0.5) + chance)


def scored(logit: Floats) -> Scored:
    """Scores by log-odds."""
    _, labels = rows()
    return Scored(labels, 1 / (1 + np.exp(-logit)), np.ones(len(labels)))


def noisy(logit: Floats, scale: float, seed: int = 2) -> Floats:
    """Adds noise to log-odds, as training on noisy labels would."""
    return logit + np.random.default_rng(seed).normal(0, scale, len(logit))


def in_slice(column: str, value: bytes) -> np.ndarray:
    """Which trips are in a slice."""
    return np.array(rows()[0].column(column).flatten()) == value


def judged(
    candidate: Floats,
    live: Floats | None = None,
    best: Floats | None = None,
    *,
    quality: Quality | None = None,
    thresholds: Sequence[float] = (0.5, 0.5, 0.5),
) -> Judged:
    """Judges log-odds as the Evaluator does, in two batches that are merged."""
    asked = quality or replace(
        Quality(), min_auc=0.93, slice_columns=("payment_type", "company")
    )
    settings = Settings(
        asked.all_rules,
        asked.confidence,
        asked.min_slice_rows,
        tuple(group.name for group in GROUPS),
    )
    known = [(LIVE, live), (BEST, best)]
    rivals = [(name, scored(each)) for name, each in known if each is not None]
    gated = Gated(
        settings.to_json(),
        tuple(thresholds[: len(rivals) + 1]),
        tuple(name for name, _ in rivals),
    )
    batch, _ = rows()
    models = [scored(candidate), *(each for _, each in rivals)]
    return gated.judge(gated.summed(batch, models))
