"""Thresholds and blessings, on real evaluations."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from pipeline.config import Quality
from pipeline.quality.eval_config import eval_config
from pipeline.quality.results import (
    OVERALL,
    read_intervals,
    read_metrics,
    read_reasons,
)
from pipeline.quality.titles import SHOWN
from tests.pipeline.quality.stock_tfma import Rows, by_columns

QUALITY = Quality(min_auc=0.8, max_auc_loss=0.05, slice_columns=("payment_type",))
# Eight rows: card, then cash.
PAYMENTS = [b"Card"] * 4 + [b"Cash"] * 4
LABELS = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
PERFECT = [0.9, 0.8, 0.2, 0.1, 0.9, 0.8, 0.2, 0.1]
# In each half 3 of 4 pairs are in the right order, and so are 12 of all 16.
GOOD = [0.9, 0.3, 0.4, 0.1, 0.9, 0.3, 0.4, 0.1]
# Right for cards (4 of 4) and all wrong for cash.
MIXED = [0.9, 0.8, 0.2, 0.1, 0.1, 0.2, 0.3, 0.4]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of a candidate, with or without a baseline."""

    path: Path
    blessed: bool


def _evaluate(
    path: Path,
    candidate: Sequence[float],
    *,
    baseline: Sequence[float] | None = None,
    weights: Sequence[float] = (1.0,) * 8,
    labels: Sequence[float] = LABELS,
    payments: Sequence[bytes] = PAYMENTS,
    quality: Quality = QUALITY,
) -> Evaluation:
    """Evaluates predictions, with the pipeline's metrics, slices and thresholds."""
    columns = {"payment_type": [[value] for value in payments]}
    rows = Rows(columns, labels, weights, candidate, baseline)
    by_columns(rows, eval_config(quality), path)
    result = tfma.load_validation_result(str(path))
    return Evaluation(path, bool(result.validation_ok))


@pytest.fixture
def evaluate(tmp_path: Path) -> Callable[..., Evaluation]:
    """Evaluates predictions in a directory of the test's own."""
    return functools.partial(_evaluate, tmp_path / "evaluation")


Evaluate = Callable[..., Evaluation]


def test_thresholds_bind_overall_only() -> None:
    """Only the overall AUC decides; slices don't."""
    (metrics,) = eval_config(QUALITY).metrics_specs

    deciding = [
        metric.class_name
        for metric in metrics.metrics
        if metric.HasField("threshold")
        or metric.per_slice_thresholds
        or metric.cross_slice_thresholds
    ]
    (auc,) = (metric for metric in metrics.metrics if metric.class_name == "AUC")
    (overall,) = auc.per_slice_thresholds
    assert deciding == ["AUC"]
    assert list(overall.slicing_specs) == [config_pb2.SlicingSpec()]
    assert not metrics.thresholds
    assert not metrics.per_slice_thresholds


def test_slices_are_the_columns_that_were_asked_for() -> None:
    """There is a slice of all rows and one for each value of a slice column."""
    config = eval_config(Quality(slice_columns=("company", "trip_start_hour")))

    assert [list(spec.feature_keys) for spec in config.slicing_specs] == [
        [],
        ["company"],
        ["trip_start_hour"],
    ]


def test_a_candidate_at_the_threshold_is_blessed(evaluate: Evaluate) -> None:
    """A candidate that equals the threshold is blessed."""
    evaluation = evaluate(PERFECT, quality=replace(QUALITY, min_auc=1.0))

    assert evaluation.blessed
    assert read_reasons(evaluation.path) == []


def test_a_bad_slice_does_not_decide(evaluate: Evaluate) -> None:
    """A bad slice doesn't prevent a blessing."""
    evaluation = evaluate(MIXED, quality=replace(QUALITY, min_auc=0.4))

    metrics = read_metrics(evaluation.path)["candidate"]
    assert evaluation.blessed
    assert metrics[(("payment_type", "Cash"),)]["auc"] == pytest.approx(0.0, abs=1e-3)
    assert metrics[OVERALL]["auc"] == pytest.approx(0.625, abs=1e-3)


def test_metrics_of_each_slice_are_read(evaluate: Evaluate) -> None:
    """`read_metrics` returns numbers by model and slice."""
    evaluation = evaluate(GOOD)

    models = read_metrics(evaluation.path)
    assert list(models) == ["candidate"]
    assert set(models["candidate"]) == {
        OVERALL,
        (("payment_type", "Card"),),
        (("payment_type", "Cash"),),
    }
    overall = models["candidate"][OVERALL]
    assert set(SHOWN["binary"]) <= set(overall)
    assert overall["example_count"] == 8
    assert overall["auc"] == pytest.approx(0.75, abs=1e-3)
    assert overall["binary_accuracy"] == pytest.approx(0.75)
    assert overall["calibration"] == pytest.approx(0.85)
    card = models["candidate"][(("payment_type", "Card"),)]
    assert card["example_count"] == 4
    assert card["auc"] == pytest.approx(0.75, abs=1e-3)


def test_rows_that_weigh_nothing_do_not_count(evaluate: Evaluate) -> None:
    """Rows with an unknown label have no weight in any metric."""
    evaluation = evaluate(MIXED, weights=[1.0] * 4 + [0.0] * 4)

    overall = read_metrics(evaluation.path)["candidate"][OVERALL]
    assert evaluation.blessed
    assert overall["auc"] == pytest.approx(1.0, abs=1e-3)
    assert overall["mean_label"] == pytest.approx(0.5)
    assert overall["example_count"] == 4
    assert overall["weighted_example_count"] == 4


def test_a_missed_threshold_is_told(evaluate: Evaluate) -> None:
    """The reason has the AUC and the threshold."""
    evaluation = evaluate(GOOD)

    assert not evaluation.blessed
    assert read_reasons(evaluation.path) == [
        "overall: auc is 0.75; it must be at least 0.8"
    ]


def test_a_candidate_as_good_as_the_baseline(evaluate: Evaluate) -> None:
    """A candidate that equals the baseline is blessed, also if no loss is allowed."""
    quality = replace(QUALITY, max_auc_loss=0.0)

    evaluation = evaluate(PERFECT, baseline=PERFECT, quality=quality)

    models = read_metrics(evaluation.path)
    assert evaluation.blessed
    assert read_reasons(evaluation.path) == []
    assert list(models) == ["candidate", "baseline"]
    assert models["candidate"] == models["baseline"]


def test_a_candidate_within_the_allowed_loss(evaluate: Evaluate) -> None:
    """A loss within max_auc_loss is blessed."""
    quality = replace(QUALITY, min_auc=0.7, max_auc_loss=0.26)

    evaluation = evaluate(GOOD, baseline=PERFECT, quality=quality)

    models = read_metrics(evaluation.path)
    assert evaluation.blessed
    assert models["candidate"][OVERALL]["auc"] == pytest.approx(0.75, abs=1e-3)
    assert models["baseline"][OVERALL]["auc"] == pytest.approx(1.0, abs=1e-3)


def test_a_lost_comparison_is_told(evaluate: Evaluate) -> None:
    """The reason has the loss compared with the baseline."""
    quality = replace(QUALITY, min_auc=0.7)

    evaluation = evaluate(GOOD, baseline=PERFECT, quality=quality)

    assert not evaluation.blessed
    assert read_reasons(evaluation.path) == [
        "overall: auc is 0.25 below the baseline's; at most 0.05 is allowed"
    ]


def test_both_misses_are_told(evaluate: Evaluate) -> None:
    """Both missed thresholds are reported."""
    evaluation = evaluate(GOOD, baseline=PERFECT)

    assert sorted(read_reasons(evaluation.path)) == [
        "overall: auc is 0.25 below the baseline's; at most 0.05 is allowed",
        "overall: auc is 0.75; it must be at least 0.8",
    ]


def test_rows_without_any_weight_are_no_reason_to_bless(evaluate: Evaluate) -> None:
    """A test split without known labels is not blessed, with a reason."""
    evaluation = evaluate(PERFECT, weights=[0.0] * 8)

    assert not evaluation.blessed
    assert read_reasons(evaluation.path) == [
        "overall: auc has no value: undefined on these rows, such as those of one class"
    ]
    assert "auc" not in read_metrics(evaluation.path)["candidate"][OVERALL]


def test_a_slice_of_one_class_is_no_reason_to_refuse(evaluate: Evaluate) -> None:
    """An undefined AUC of a slice is absent, and doesn't prevent a blessing."""
    evaluation = evaluate(PERFECT, labels=[1.0, 1.0, 0.0, 0.0] + [0.0] * 4)

    metrics = read_metrics(evaluation.path)["candidate"]
    cash = metrics[(("payment_type", "Cash"),)]
    assert evaluation.blessed
    assert "auc" not in cash
    assert "calibration" not in cash
    assert cash["mean_label"] == 0.0
    assert cash["example_count"] == 4


def test_the_metric_that_decides_has_an_interval(evaluate: Evaluate) -> None:
    """Only the overall AUC has an interval, for both models."""
    evaluation = evaluate(GOOD, baseline=PERFECT)

    intervals = read_intervals(evaluation.path)
    assert set(intervals) == {"candidate", "baseline"}
    (low, high) = intervals["candidate"][OVERALL]["auc"]
    assert set(intervals["candidate"]) == {OVERALL}
    assert 0.0 <= low < 0.75 < high <= 1.0
    assert intervals["baseline"][OVERALL]["auc"] == pytest.approx((1.0, 1.0), abs=1e-3)


def test_an_empty_test_split_blesses_nothing(evaluate: Evaluate) -> None:
    """An empty test split is not blessed, with a reason."""
    evaluation = evaluate([], weights=[], labels=[], payments=[])

    assert not evaluation.blessed
    assert read_reasons(evaluation.path) == [
        "no threshold was checked: the test split gave no metric"
    ]
