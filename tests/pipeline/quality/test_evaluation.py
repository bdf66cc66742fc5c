"""Evaluation on columns is equal to TFMA's pipeline."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.proto import config_pb2

from tests.pipeline.quality.stock_tfma import Rows, by_columns, by_tfma

COUNT = 600
LOG_LOSS = "binary_crossentropy"
METRICS = (
    ("AUC", ""),
    ("AUC", '"name": "auc_200", "num_thresholds": 200, "summation_method": "majoring"'),
    ("AUC", '"name": "pr_minoring", "curve": "PR", "summation_method": "minoring"'),
    ("AUCPrecisionRecall", ""),
    ("BinaryAccuracy", ""),
    ("BinaryAccuracy", '"name": "accuracy_7", "threshold": 0.7'),
    ("Precision", '"name": "precision_at", "thresholds": [0.25, 0.5]'),
    ("Recall", ""),
    ("SensitivityAtSpecificity", '"specificity": 0.8'),
    ("BinaryCrossEntropy", ""),
    ("Calibration", ""),
    ("MeanLabel", ""),
    ("MeanPrediction", ""),
    ("ExampleCount", ""),
    ("WeightedExampleCount", ""),
    ("CalibrationPlot", ""),
    ("ConfusionMatrixPlot", '"num_thresholds": 20'),
    # Ours doesn't know it, and has TFMA's combiner see the rows.
    ("MeanSquaredError", ""),
)
SLICES = (
    config_pb2.SlicingSpec(),
    config_pb2.SlicingSpec(feature_keys=["color"]),
    config_pb2.SlicingSpec(feature_keys=["hour"]),
    config_pb2.SlicingSpec(feature_keys=["tags", "color"]),
    config_pb2.SlicingSpec(feature_keys=["color"], feature_values={"hour": "3"}),
    config_pb2.SlicingSpec(feature_values={"color": "red"}),
    config_pb2.SlicingSpec(feature_keys=["speed"]),
)
NONE_PREDICTED = "gray"  # The color of which all labels are 0.


def eval_config() -> config_pb2.EvalConfig:
    """An EvalConfig with most metrics, and thresholds of both kinds."""
    metrics = [
        config_pb2.MetricConfig(class_name=name, config=f"{{{settings}}}")
        for name, settings in METRICS
    ]
    metrics[0].threshold.value_threshold.lower_bound.value = 0.6
    metrics[0].threshold.change_threshold.absolute.value = 0.02
    metrics[
        0
    ].threshold.change_threshold.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
    metrics[4].per_slice_thresholds.add(
        slicing_specs=[SLICES[1]],
        threshold={"value_threshold": {"lower_bound": {"value": 0.67}}},
    )
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(label_key="label", example_weight_key="weight")
        ],
        slicing_specs=SLICES,
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
    )


def some_rows(count: int) -> Rows:
    """Rows with missing and repeated values, weights of 0, and a slice of one class."""
    numbers = np.random.default_rng(7)
    colors = numbers.choice(["red", "green", "blue", NONE_PREDICTED], count)
    truth = numbers.random(count)
    labels = (numbers.random(count) < truth) * (colors != NONE_PREDICTED) * 1.0
    noise = numbers.normal(0, [[0.15], [0.3]], (2, count))
    # Scores of a model: 32 bits, and some of them 0 and 1 but for rounding.
    scores = np.clip(truth + noise, 0.0001, 0.9999).astype(np.float32)
    weights = numbers.choice([0.0, 0.5, 1.0, 1.7], count)
    hours = numbers.integers(0, 6, count)
    tags = [[b"a"], [b"a", b"b", b"a"], [], [b"c"]]
    return Rows(
        {
            "color": [[str(color).encode()] for color in colors],
            "hour": [[int(hour)] if hour else [] for hour in hours],
            "tags": [tags[number] for number in numbers.integers(0, 4, count)],
            "speed": [[float(speed)] for speed in numbers.choice([0.5, 1.25], count)],
        },
        labels.tolist(),
        weights.tolist(),
        scores[0].astype(np.float64).tolist(),
        scores[1].astype(np.float64).tolist(),
    )


@dataclass(frozen=True)
class Both:
    """The directories of two evaluations of the same rows."""

    tfma: Path
    columns: Path


@pytest.fixture(scope="module")
def rows() -> Rows:
    """The rows of this module."""
    return some_rows(COUNT)


@pytest.fixture(scope="module")
def both(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Evaluates the rows with TFMA, and with our code in four batches."""
    path = tmp_path_factory.mktemp("evaluations")
    config = eval_config()
    return Both(
        by_tfma(rows, config, path / "tfma"),
        by_columns(rows, config, path / "columns", batches=4),
    )


Numbers = dict[tuple[Any, ...], float]


def metrics_in(path: Path) -> Numbers:
    """Returns each number of each metric, by slice, key and position."""
    return dict(_numbers(tfma.load_metrics(str(path)), "metric_keys_and_values"))


def plots_in(path: Path) -> Numbers:
    """Returns each number of each plot, by slice, key and position."""
    return dict(_numbers(tfma.load_plots(str(path)), "plot_keys_and_values"))


def _numbers(records: Any, field: str) -> Iterator[tuple[tuple[Any, ...], float]]:
    for record in records:
        where = record.slice_key.SerializeToString()
        for entry in getattr(record, field):
            name = (where, entry.key.SerializeToString(), str(entry.key))
            value = json_format.MessageToDict(
                entry.value, always_print_fields_with_no_presence=True
            )
            for place, number in _leaves(value):
                yield (*name, place), number


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Flattens a message's numbers."""
    if isinstance(value, dict | list):
        named = value.items() if isinstance(value, dict) else enumerate(value)
        for at, each in named:
            yield from _leaves(each, f"{place}.{at}")
    elif value in {"NaN", "Infinity", "-Infinity"} or isinstance(value, float):
        yield place, float(value)


def is_log_loss(key: tuple[Any, ...]) -> bool:
    """Whether a metric is the log loss, which differs from TFMA's."""
    return f'name: "{LOG_LOSS}"' in key[2]


def test_metrics_equal_those_of_tfma(both: Both) -> None:
    """All metrics of all slices, models and differences are equal."""
    theirs, ours = metrics_in(both.tfma), metrics_in(both.columns)

    assert len(ours) > 1000
    assert not set(ours) - set(theirs)
    compared = {key: theirs[key] for key in ours if not is_log_loss(key)}
    assert {key: ours[key] for key in compared} == pytest.approx(
        compared, abs=1e-6, nan_ok=True
    )


def test_undefined_metrics_are_absent(both: Both) -> None:
    """Metrics that we omit are NaN in TFMA, or of a slice with one class."""
    theirs, ours = metrics_in(both.tfma), metrics_in(both.columns)

    lacking = set(theirs) - set(ours)

    assert lacking
    gray = NONE_PREDICTED.encode()
    assert [k for k in lacking if not math.isnan(theirs[k]) and gray not in k[0]] == []
    auc = [key for key in lacking if 'name: "auc"' in key[2] and gray in key[0]]
    assert auc
    assert {theirs[key] for key in auc} == {0.0}


def test_plots_equal_those_of_tfma(both: Both) -> None:
    """All plots of all slices and models are equal."""
    theirs, ours = plots_in(both.tfma), plots_in(both.columns)

    assert len(ours) > 10000
    assert ours == pytest.approx(theirs, abs=1e-6, nan_ok=True)
