"""Predicts a Parquet file once, in a process of its own that is measured from outside.

    python -m benchmarks.predict_once ours|plain MODEL DATA OUT SECONDS

Writes the seconds from opening the data to the finished file, and the processor time of
that, to SECONDS.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from benchmarks.prediction import OURS, PLAIN
from models.declarations import MISSING_FLOAT, MISSING_INTEGER, MISSING_TEXT
from pipeline.prediction.batch import Job, predict
from pipeline.prediction.raw_model import RawModel

_BATCH = 20_000

Predict = Callable[[Path, Path], None]


def ours(model: Path) -> Predict:
    """Loads the model as `throughline predict` does."""
    loaded = RawModel(model)

    def run(data: Path, out: Path) -> None:
        predict(Job(data, out), loaded, {})

    return run


def plain(model: Path) -> Predict:
    """Loads the model as a notebook would."""
    loaded = tf.saved_model.load(str(model))

    def run(data: Path, out: Path) -> None:
        frame = pd.read_parquet(data)
        answer = loaded.signatures["serving_raw"]
        specs = answer.structured_input_signature[1]
        scores = []
        for start in range(0, len(frame), _BATCH):
            batch = frame.iloc[start : start + _BATCH]
            inputs = {
                name: tf.constant(_filled(batch[name], spec.dtype), spec.dtype)
                for name, spec in specs.items()
            }
            scores.append(answer(**inputs)["probability"].numpy())
        frame["probability"] = np.concatenate(scores)
        frame.to_parquet(out)

    return run


def _filled(column: pd.Series, dtype: tf.DType) -> object:
    if dtype == tf.string:
        return column.fillna(MISSING_TEXT).to_numpy(object)
    missing = MISSING_FLOAT if dtype.is_floating else MISSING_INTEGER
    return column.fillna(missing).to_numpy(dtype.as_numpy_dtype)


def main(which: str, model: Path, data: Path, out: Path, seconds: Path) -> None:
    """Predicts, and notes how long it took."""
    run = {OURS: ours, PLAIN: plain}[which](model)
    started, worked = time.monotonic(), time.process_time()
    run(data, out)
    took = [time.monotonic() - started, time.process_time() - worked]
    seconds.write_text(json.dumps(took))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
