"""The quality that scores make likely, without labels."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from operations import expected
from operations.windows import SCORE_BINS, Scores

NUMBERS = np.random.default_rng(1)


def scores_of(values: np.ndarray) -> Scores:
    """Puts scores into bins."""
    place = np.minimum((values * SCORE_BINS).astype(int), SCORE_BINS - 1)
    return Scores(
        np.bincount(place, minlength=SCORE_BINS),
        np.bincount(place, values, SCORE_BINS).astype(np.float64),
    )


def plot(values: np.ndarray, labels: np.ndarray) -> list[dict[str, float]]:
    """Buckets of a calibration plot."""
    place = (values * 1000).astype(int)
    return [
        {
            "weight": float((place == n).sum()),
            "label": float(labels[place == n].sum()),
            "prediction": float(values[place == n].sum()),
        }
        for n in range(1000)
        if (place == n).any()
    ]


def drawn(count: int, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels; with a power other than 1, the scores are not calibrated."""
    share = NUMBERS.beta(0.6, 1.4, count)
    return share**power, (NUMBERS.random(count) < share).astype(float)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_truth_is_in_the_interval(power: float) -> None:
    """Also if the scores aren't calibrated: the labels of the test split do that."""
    calibration = plot(*drawn(5_000, power))
    scores, labels = drawn(20_000, power)

    found = expected.estimate(scores_of(scores), calibration, "binary")

    assert found is not None
    truth = {
        expected.AUC: roc_auc_score(labels, scores),
        expected.BINARY_ACCURACY: accuracy_score(labels, scores > 0.5),
        expected.LOG_LOSS: log_loss(labels, scores),
    }
    assert found.metrics.keys() == truth.keys()
    for name, value in truth.items():
        estimate = found.metrics[name]
        # Half the interval more: by chance one of these in twenty is outside.
        slack = (estimate.high - estimate.low) / 2
        assert estimate.low - slack < value < estimate.high + slack, name
        assert estimate.low < estimate.value < estimate.high
        assert estimate.high - estimate.low < 0.1


def test_the_accuracy_of_classes_is_in_the_interval() -> None:
    """Of an overconfident model too: its likeliest class is right less often."""
    top = NUMBERS.uniform(1 / 3, 1, 25_000)
    right = (NUMBERS.random(25_000) < top**2).astype(float)
    calibration = plot(top[:5_000] * 0.999, right[:5_000])

    found = expected.estimate(scores_of(top[5_000:]), calibration, "classes")

    assert found is not None
    (accuracy,) = found.metrics.values()
    slack = (accuracy.high - accuracy.low) / 2
    assert found.metrics.keys() == {expected.ACCURACY}
    assert accuracy.low - slack < right[5_000:].mean() < accuracy.high + slack
    assert accuracy.high - accuracy.low < 0.1


def test_easier_rows_are_expected_to_be_answered_better() -> None:
    """The estimate follows the scores."""
    calibration = plot(*drawn(5_000))
    easy = np.concatenate([NUMBERS.uniform(0, 0.1, 500), NUMBERS.uniform(0.9, 1, 500)])
    hard = NUMBERS.uniform(0.4, 0.6, 1000)

    values = [
        found.metrics[expected.AUC].value
        for scores in (easy, hard)
        if (found := expected.estimate(scores_of(scores), calibration, "binary"))
    ]

    assert values[0] > 0.9
    assert values[1] < 0.7


def test_scores_that_the_test_split_lacks_are_counted() -> None:
    """There the calibration is a guess."""
    scores, labels = drawn(2_000)
    calibration = [b for b in plot(scores, labels) if b["prediction"] < b["weight"] / 2]

    asked = scores_of(np.array([0.1, 0.9, 0.95, 0.2]))

    found = expected.estimate(asked, calibration, "binary")

    assert found is not None
    assert found.outside == 0.5


def test_nothing_is_estimated_from_nothing() -> None:
    """No scores, or no labels of the test split."""
    none = Scores(np.zeros(SCORE_BINS, int), np.zeros(SCORE_BINS))

    assert expected.estimate(none, plot(*drawn(100)), "binary") is None
    assert expected.estimate(scores_of(np.array([0.5])), [], "binary") is None


def test_isotonic_is_what_scikit_learn_computes() -> None:
    """The same pools, for shares with weights."""
    weights = NUMBERS.integers(1, 9, 60).astype(float)
    positives = np.floor(weights * NUMBERS.random(60))

    ours = expected.isotonic(positives, weights)

    theirs = IsotonicRegression().fit_transform(
        np.arange(60), positives / weights, sample_weight=weights
    )
    assert ours == pytest.approx(theirs)
