"""Metrics of classes and numbers: scikit-learn's values, from sums and row by row."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_model_analysis as tfma
from sklearn import metrics as sklearn
from tensorflow_model_analysis.proto import config_pb2

from models.declarations import Task
from pipeline.config import Quality
from pipeline.quality.aggregates import Scored
from pipeline.quality.eval_config import eval_config
from pipeline.quality.evaluation import Evaluation, summed_batch
from pipeline.quality.results import (
    OVERALL,
    read_class_matrix,
    read_intervals,
    read_metrics,
    read_reasons,
)
from pipeline.quality.scoring import Answers
from tests.pipeline.quality.stock_tfma import Rows, by_tfma

ROWS = 4_000
CLASSES = 4
CHANCE = np.random.default_rng(5)
LABELS = CHANCE.choice(CLASSES, ROWS, p=[0.5, 0.2, 0.2, 0.1])
WEIGHTS = CHANCE.choice([0.0, 1.0, 2.5], ROWS)
SCORES = CHANCE.dirichlet(np.ones(CLASSES), ROWS)
SCORES[np.arange(ROWS), LABELS] += 0.4
SCORES = (SCORES / SCORES.sum(axis=1, keepdims=True)).astype(np.float32)
PART = np.where(LABELS == 0, "zero", "other")
NUMBERS = CHANCE.gamma(2.0, 1000.0, ROWS)
PREDICTED = NUMBERS * 0.9 + CHANCE.normal(0, 300.0, ROWS)


def evaluated(path: Path, task: Task, labels: Any, scores: Any) -> bool:
    """Evaluates rows as the Evaluator does; returns whether the model is blessed."""
    # Without a baseline nothing is compared with it.
    config = tfma.utils.update_eval_config_with_defaults(
        eval_config(Quality(slice_columns=("part",)), task),
        has_baseline=False,
        rubber_stamp=True,
    )
    evaluation = Evaluation(config.SerializeToString(), ())
    partials = []
    for rows in np.array_split(np.arange(len(labels)), 3):
        batch = pa.RecordBatch.from_pydict({"part": PART[rows]})
        scored = Scored(labels[rows].astype(float), scores[rows], WEIGHTS[rows])
        partials.append(summed_batch(evaluation.plan, batch, {"": Answers(scored, {})}))
    path.mkdir(parents=True, exist_ok=True)
    return evaluation.finish(evaluation.merge(partials), str(path), "rows of a test")


def test_classes_are_measured_as_by_scikit_learn(tmp_path: Path) -> None:
    """Accuracy, log loss and macro one-vs-rest AUC, with weights, in any batches."""
    assert evaluated(tmp_path, "classes", LABELS, SCORES)

    found = read_metrics(tmp_path)["candidate"]
    best, weights = SCORES.argmax(axis=1), {"sample_weight": WEIGHTS}
    # scikit-learn's own macro average takes no weights per class.
    areas = [
        sklearn.roc_auc_score(each == LABELS, SCORES[:, each], **weights)
        for each in range(CLASSES)
    ]
    majority = WEIGHTS[LABELS == 0].sum() / WEIGHTS.sum()
    accuracy = sklearn.accuracy_score(LABELS, best, **weights)
    expected = {
        "accuracy": accuracy,
        "majority_share": majority,
        "accuracy_gain": accuracy - majority,
        "log_loss": sklearn.log_loss(LABELS, SCORES, **weights),
    }
    overall = found[OVERALL]
    assert {n: overall[n] for n in expected} == pytest.approx(expected, rel=1e-6)
    assert overall["auc"] == pytest.approx(np.mean(areas), abs=1e-4)
    # Of one class there is no area.
    assert "auc" not in found[("part", "zero"),]
    assert found[("part", "zero"),]["majority_share"] == 1.0
    matrix = read_class_matrix(tmp_path)["candidate"]
    assert sum(matrix.values()) == pytest.approx(WEIGHTS.sum())
    assert matrix[1, 1] == WEIGHTS[(LABELS == 1) & (best == 1)].sum()


def test_numbers_are_measured_as_by_scikit_learn(tmp_path: Path) -> None:
    """R2, RMSE and MAE, with weights, in any batches."""
    assert evaluated(tmp_path, "regression", NUMBERS, PREDICTED)

    found = read_metrics(tmp_path)["candidate"][OVERALL]
    weights = {"sample_weight": WEIGHTS}
    squared = sklearn.mean_squared_error(NUMBERS, PREDICTED, **weights)
    expected = {
        "r2": sklearn.r2_score(NUMBERS, PREDICTED, **weights),
        "rmse": squared**0.5,
        "mean_absolute_error": sklearn.mean_absolute_error(
            NUMBERS, PREDICTED, **weights
        ),
    }
    assert {n: found[n] for n in expected} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("task", "scores", "said"),
    [
        ("classes", np.eye(CLASSES)[np.zeros(ROWS, int)], "accuracy_gain is 0"),
        ("regression", np.full(ROWS, np.average(NUMBERS, weights=WEIGHTS)), "r2 is 0;"),
        ("regression", NUMBERS[::-1], "r2 is -"),
    ],
)
def test_the_naive_baseline_is_not_blessed(
    tmp_path: Path, task: Task, scores: Any, said: str
) -> None:
    """Neither the most frequent class, nor the mean, nor worse."""
    labels = LABELS if task == "classes" else NUMBERS

    assert not evaluated(tmp_path, task, labels, scores.astype(np.float64))
    # The last digits of a 0 are rounding.
    (reason,) = read_reasons(tmp_path)
    assert said in reason or "e-" in reason


@pytest.mark.parametrize(
    ("task", "metric"), [("classes", "accuracy_gain"), ("regression", "r2")]
)
def test_what_is_gated_has_an_interval(tmp_path: Path, task: Task, metric: str) -> None:
    """It holds the value, and is about as wide as theory says."""
    one = task == "classes"
    evaluated(tmp_path, task, LABELS if one else NUMBERS, SCORES if one else PREDICTED)

    value = read_metrics(tmp_path)["candidate"][OVERALL][metric]
    low, high = read_intervals(tmp_path)["candidate"][OVERALL][metric]
    assert low < value < high
    assert high - low < 0.1


def test_tfma_computes_the_same_row_by_row(tmp_path: Path) -> None:
    """TFX's own Evaluator can compute our metrics, and TFMA's agree with ours."""
    names = ("R2", "RMSE", "MeanAbsoluteError", "MeanSquaredError")
    module = "pipeline.quality.task_metrics"
    config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(label_key="label")],
        slicing_specs=[config_pb2.SlicingSpec()],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(
                        class_name=name, module=module if name[0] == "R" else ""
                    )
                    for name in names
                ]
            )
        ],
    )
    some = slice(0, 50)
    column = {"part": [["x"]] * 50}
    rows = Rows(column, list(NUMBERS[some]), list(WEIGHTS[some]), list(PREDICTED[some]))

    theirs = read_metrics(by_tfma(rows, config, tmp_path / "tfma"))["candidate"]

    weights = {"sample_weight": WEIGHTS[some]}
    expected = sklearn.r2_score(NUMBERS[some], PREDICTED[some], **weights)
    assert theirs[OVERALL]["r2"] == pytest.approx(expected)
    squared = theirs[OVERALL]["mean_squared_error"]
    assert theirs[OVERALL]["rmse"] == pytest.approx(squared**0.5)
