"""Paired sums: metrics are scikit-learn's, errors those of whole resampled rows."""

import numpy as np
import pytest
from sklearn import metrics as reference

from pipeline.quality import pairs
from pipeline.quality.aggregates import Floats, Scored, table_of
from pipeline.quality.pairs import Estimates, Pair, estimates, standard_error
from tests.pipeline.quality.trips import logits, noisy, scored

THRESHOLDS = (0.4, 0.6)


def estimated(first: Scored, second: Scored) -> Estimates:
    """Sums rows of one slice, and estimates."""
    cells, quantities = Pair(THRESHOLDS).quantities(first, second)
    table = table_of(cells, quantities, np.arange(len(cells)))
    return estimates([table], 0, seed=7)


def test_metrics_are_the_reference_s() -> None:
    """Each metric of both models is scikit-learn's, at each model's own threshold."""
    first, second = scored(logits()), scored(noisy(logits(), 1.0))

    found = estimated(first, second)

    for model, threshold, own in (
        (first, THRESHOLDS[0], found.candidate),
        (second, THRESHOLDS[1], found.other),
    ):
        labels, scores = model.labels, model.predictions
        decided = scores > threshold
        tn, fp, fn, tp = reference.confusion_matrix(labels, decided).ravel()
        expected = {
            "auc": reference.roc_auc_score(labels, scores),
            "accuracy": reference.accuracy_score(labels, decided),
            "precision": reference.precision_score(labels, decided),
            "recall": reference.recall_score(labels, decided),
            "log_loss": reference.log_loss(labels, scores),
            "false_positive_rate": fp / (fp + tn),
            "false_negative_rate": fn / (fn + tp),
            "selection_rate": decided.mean(),
            "calibration_error": scores.mean() - labels.mean(),
        }
        # The area is of 1,024 buckets of the log-odds.
        assert {name: own[name][0] for name in expected} == pytest.approx(
            expected, abs=2e-4
        )
    assert found.rows == pytest.approx(len(first.labels))
    assert found.positives == pytest.approx(first.labels.sum())


def test_the_error_of_a_difference_is_paired() -> None:
    """It is what resampling whole rows gives, and far below that of one model."""
    first, second = scored(logits()), scored(noisy(logits(), 0.5))
    numbers = np.random.default_rng(3)

    found = estimated(first, second)
    differences = found.candidate["auc"][1:] - found.other["auc"][1:]

    drawn: list[float] = []
    for _ in range(60):
        rows = numbers.integers(0, len(first.labels), len(first.labels))
        areas = [
            reference.roc_auc_score(model.labels[rows], model.predictions[rows])
            for model in (first, second)
        ]
        drawn.append(areas[0] - areas[1])
    assert standard_error(differences) == pytest.approx(np.std(drawn), rel=0.3)
    alone = standard_error(found.candidate["auc"][1:])
    assert standard_error(differences) < alone / 2


def test_a_model_does_not_differ_from_itself() -> None:
    """The difference has no error at all, whatever the sample."""
    found = estimated(scored(logits()), scored(logits()))

    difference: Floats = found.candidate["auc"] - found.other["auc"]
    assert np.abs(difference).max() < 1e-12


def test_weights_count_like_repeated_rows() -> None:
    """A row of weight 2 is two rows in each metric, and one row in its error."""
    first = scored(logits())
    heavy = Scored(first.labels, first.predictions, np.full(len(first.labels), 2.0))

    once, twice = estimated(first, first), estimated(heavy, heavy)

    assert twice.candidate["auc"][0] == pytest.approx(once.candidate["auc"][0])
    assert twice.rows == pytest.approx(once.rows)


def test_rows_of_one_class_have_no_area() -> None:
    """What is undefined is NaN, with no error."""
    ones = np.ones(20)

    found = estimated(Scored(ones, ones / 2, ones), Scored(ones, ones / 3, ones))

    assert np.isnan(found.candidate["auc"]).all()
    assert np.isnan(found.candidate["false_positive_rate"][0])
    assert np.isnan(standard_error(found.candidate["auc"][1:]))
    assert found.candidate["recall"][0] == 1.0
    assert len(found.candidate["recall"]) == pairs.REPLICATES + 1
