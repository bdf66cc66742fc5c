"""The same job as a plain script, without a pipeline: a lower bound to compare with.

    python -m benchmarks.plain DATA OUTPUT

Reads the CSV files, describes each column, splits the rows, computes the features of
`models/features.py` with pandas and NumPy, trains the same Keras model for the same
steps, computes the same metrics overall and by slice with scikit-learn, and saves model
and results. No schema, no gate, no lineage, no cache, no transform graph to serve with.
"""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from pyarrow import csv
from sklearn import metrics

from benchmarks.settings import BATCH, STEPS
from models import features, tasks
from models.declarations import (
    FIRST_ID,
    MISSING_ID,
    UNSEEN_ID,
    Bucketized,
    Cyclic,
    IntegerCategory,
    Numeric,
    Vocabulary,
    missing_name,
    transformed_name,
)
from models.hyperparameters import Hyperparameters
from models.model import LabelScale, build_model

Columns = dict[str, np.ndarray[Any, Any]]

# As in models/preprocessing.py, which imports TFT.
_CLIP = 5.0
_BIG_TIP_PERCENT = 20
_HISTOGRAM_BINS = 10
_TOP_VALUES = 20
_CALIBRATION_BINS = 10


def main(data: Path, output: Path) -> None:
    """Runs all of it and writes statistics, metrics and the model."""
    keras.utils.set_random_seed(1)
    # Arrow's reader: a slow lower bound would flatter the pipeline.
    rows = pd.concat([csv.read_csv(p).to_pandas() for p in sorted(data.glob("*.csv"))])
    # By a generator rather than a hash of the row: it is faster, and nothing has to
    # stay in its split on the next day.
    part = np.random.default_rng(1).choice(3, len(rows), p=[0.7, 0.1, 0.2])
    splits = [rows[part == number].reset_index(drop=True) for number in range(3)]
    described = [describe(split) for split in splits]
    train, evaluation, test = splits
    learned = Learned(train)
    model = build_model(Hyperparameters(), learned.vocabulary_sizes())
    fit(model, learned, train, evaluation)
    inputs, label = learned.inputs(test), labels(test)
    probability = model.predict(inputs, batch_size=8192, verbose=0)[:, 0]
    found = {"overall": scores(label, probability)}
    for column in features.SLICE_COLUMNS:
        for value, index in test.groupby(column).indices.items():
            found[f"{column} {value}"] = scores(label[index], probability[index])
    output.mkdir(parents=True, exist_ok=True)
    (output / "statistics.json").write_text(json.dumps(described, default=float))
    (output / "metrics.json").write_text(json.dumps(found, default=float))
    model.save(output / "model.keras")
    print(f"AUC {found['overall']['auc']:.4f} on {len(test):,} rows")


def describe(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Describes each column: counts, moments, quantiles and a histogram, or values."""
    found: dict[str, dict[str, Any]] = {}
    for name, column in rows.items():
        present = column.dropna()
        facts: dict[str, Any] = {"rows": len(column), "missing": column.isna().sum()}
        if column.dtype == object:
            counts = present.value_counts()
            facts |= {
                "unique": len(counts),
                "top": counts.head(_TOP_VALUES).to_dict(),
                "average_length": present.str.len().mean(),
            }
        else:
            counts, edges = np.histogram(present, _HISTOGRAM_BINS)
            facts |= present.describe().to_dict() | {
                "zeros": (present == 0).sum(),
                "deciles": present.quantile(np.linspace(0, 1, 11)).tolist(),
                "histogram": [counts.tolist(), edges.tolist()],
            }
        found[str(name)] = facts
    return found


class Learned:
    """Moments and vocabularies of the features, computed from the training rows."""

    def __init__(self, train: pd.DataFrame) -> None:
        """Computes both."""
        self._moments = {}
        self._words = {}
        for feature in features.FEATURES:
            if isinstance(feature, Numeric):
                values = _number(train, feature)
                self._moments[feature] = np.nanmean(values), np.nanstd(values)
            if isinstance(feature, Vocabulary):
                # Of the training rows only, like Transform's analyzers.
                counts = train[feature.column].value_counts()
                kept = counts[counts >= feature.min_count].head(feature.max_size)
                self._words[feature] = {
                    word: number + FIRST_ID for number, word in enumerate(kept.index)
                }

    def vocabulary_sizes(self) -> Mapping[str, int]:
        """Returns how many values each vocabulary holds, by transformed name."""
        return {transformed_name(f): len(words) for f, words in self._words.items()}

    def inputs(self, rows: pd.DataFrame) -> Columns:
        """Computes the inputs of the model, by transformed name."""
        found: Columns = {}
        for feature in features.FEATURES:
            name, column = transformed_name(feature), rows[feature.column]
            missing = column.isna().to_numpy()
            match feature:
                case Numeric():
                    mean, deviation = self._moments[feature]
                    scaled = (_number(rows, feature) - mean) / deviation
                    clipped = np.clip(np.nan_to_num(scaled), -_CLIP, _CLIP)
                    found[name] = clipped.astype(np.float32)
                    if feature.flag_missing:
                        found[missing_name(feature)] = missing.astype(np.float32)
                case Bucketized():
                    # right: a value equal to a boundary is in the bucket above it, as
                    # in Bucketize.
                    bucket = np.searchsorted(feature.boundaries, column, side="right")
                    found[name] = np.where(missing, MISSING_ID, bucket + FIRST_ID)
                case Cyclic():
                    angle = column.to_numpy() * (2 * math.pi / feature.period)
                    points = np.stack([np.sin(angle), np.cos(angle)], axis=1)
                    found[name] = np.nan_to_num(points).astype(np.float32)
                case IntegerCategory():
                    code = column.fillna(-1).to_numpy()
                    seen = (code >= feature.minimum) & (code <= feature.maximum)
                    ids = np.where(seen, code - feature.minimum + FIRST_ID, UNSEEN_ID)
                    found[name] = np.where(missing, MISSING_ID, ids).astype(np.int64)
                case Vocabulary():
                    ids = column.map(self._words[feature]).fillna(UNSEEN_ID)
                    found[name] = np.where(missing, MISSING_ID, ids).astype(np.int64)
        return found


def _number(rows: pd.DataFrame, feature: Numeric) -> np.ndarray[Any, Any]:
    values = rows[feature.column].to_numpy(np.float64)
    return np.log1p(np.maximum(values, 0)) if feature.log else values


def labels(rows: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Computes the label [N]: 1 if the tip is more than 20 % of the fare, in cents."""
    tips, fare = (
        (rows[name].fillna(0) * 100).round().to_numpy()
        for name in (features.TIPS, features.FARE)
    )
    big: np.ndarray[Any, Any] = tips * 100 > fare * _BIG_TIP_PERCENT
    return big.astype(np.int64)


def fit(
    model: keras.Model, learned: Learned, train: pd.DataFrame, evaluation: pd.DataFrame
) -> None:
    """Trains for the benchmark's steps; evaluates as often as the Trainer does."""
    settings = Hyperparameters()
    rounds = STEPS // settings.steps_per_evaluation
    schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, STEPS)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=tasks.training_of(features.LABEL, LabelScale()).loss,
        weighted_metrics=[keras.metrics.AUC(name="auc")],
        steps_per_execution=settings.steps_per_evaluation,
        jit_compile=False,
    )
    inputs, label = learned.inputs(train), labels(train)
    order = np.random.default_rng(1)

    def batches() -> Any:
        while True:
            rows = order.permutation(len(label))
            # The rest of an epoch is dropped, so that all batches have one shape and
            # the step is traced once.
            for start in range(0, len(rows) - BATCH + 1, BATCH):
                chosen = rows[start : start + BATCH]
                yield {n: v[chosen] for n, v in inputs.items()}, label[chosen]

    import tensorflow as tf

    first = next(batches())
    signature = tf.nest.map_structure(
        lambda v: tf.TensorSpec((None, *v.shape[1:]), v.dtype), first
    )
    model.fit(
        tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(8),
        epochs=rounds,
        steps_per_epoch=settings.steps_per_evaluation,
        validation_data=(learned.inputs(evaluation), labels(evaluation)),
        validation_batch_size=8192,
        verbose=0,
    )


def scores(
    label: np.ndarray[Any, Any], probability: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """Computes the metrics that the pipeline's Evaluator computes."""
    found = {
        "rows": len(label),
        "accuracy": ((probability > 0.5) == label).mean(),  # noqa: PLR2004 - one half
        "log_loss": metrics.log_loss(label, probability, labels=[0, 1]),
        "mean_label": label.mean(),
        "mean_prediction": probability.mean(),
    }
    # Undefined for rows of one class, such as trips paid in cash in a small slice.
    if 0 < found["mean_label"] < 1:
        bins = np.minimum(
            (probability * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1
        )
        found |= {
            "auc": metrics.roc_auc_score(label, probability),
            "auc_pr": metrics.average_precision_score(label, probability),
            "calibration": probability.sum() / label.sum(),
            "calibration_plot": [
                np.bincount(bins, weights, _CALIBRATION_BINS).tolist()
                for weights in (None, label, probability)
            ],
        }
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
