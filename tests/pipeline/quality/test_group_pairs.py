"""Paired sums of classes and numbers: scikit-learn's metrics, whole rows' errors."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from sklearn import metrics as reference

from pipeline.quality.aggregates import Floats, Scored, merged, tabled
from pipeline.quality.aggregates import Partial as Sums
from pipeline.quality.comparisons import comparison
from pipeline.quality.group_pairs import GROUPS, group_of
from pipeline.quality.pairs import Estimates, standard_error
from pipeline.quality.slices import Members

ROWS = 3000
NAMES = ("rain", "sun", "snow")
NONE = (0.5, 0.5)


def everywhere(rows: int) -> Members:
    """One slice with all rows."""
    return Members(((),), np.zeros(rows, np.int64), np.arange(rows))


def estimated(
    task: str, first: Scored, second: Scored, names: Sequence[str] = NAMES
) -> Estimates:
    """Sums rows of one slice in two batches, and estimates."""
    how = comparison(task, names if task == "classes" else (), NONE)  # type: ignore[arg-type]
    half = len(first.labels) // 2
    parts = []
    for chosen in (slice(0, half), slice(half, None)):
        one, other = (
            Scored(*(v[chosen] for v in vars(model).values()))
            for model in (first, second)
        )
        inside = everywhere(len(one.labels))
        tables = tuple(
            tabled(kind.width, kind.quantities(one, other), inside)
            for kind in how.kinds
        )
        parts.append(Sums(((),), tables))
    return how.estimates(merged(how.kinds, parts).tables, 0, 7)


def numbers(noise: float, seed: int = 3) -> Scored:
    """Labels with a long tail, and predictions that are off by some noise."""
    labels = np.random.default_rng(1).lognormal(2, 1, ROWS)
    error = np.random.default_rng(seed).normal(0.1, noise, ROWS)
    return Scored(labels, labels * np.exp(error), np.ones(ROWS))


def classes(noise: float, seed: int = 3) -> Scored:
    """Three classes of unequal size, and probabilities that are right for most."""
    chance = np.random.default_rng(1)
    labels = chance.choice(3, ROWS, p=[0.6, 0.3, 0.1])
    shared = chance.normal(0, 1.0, (ROWS, 3))
    own = np.random.default_rng(seed).normal(0, noise, (ROWS, 3))
    logits = 1.5 * np.eye(3)[labels] + shared + own
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Scored(labels.astype(float), scores, np.ones(ROWS))


def of_numbers(labels: Floats, scores: Floats) -> dict[str, float]:
    """scikit-learn's metrics of numbers."""
    return {
        "r2": reference.r2_score(labels, scores),
        "rmse": reference.mean_squared_error(labels, scores) ** 0.5,
        "mae": reference.mean_absolute_error(labels, scores),
        "mean_error": float(scores.mean() - labels.mean()),
    }


def of_classes(labels: Floats, scores: Floats) -> dict[str, float]:
    """scikit-learn's metrics of classes."""
    best = scores.argmax(axis=1)
    accuracy = reference.accuracy_score(labels, best)
    each = {"labels": range(len(NAMES)), "average": None}
    recall = reference.recall_score(labels, best, **each)
    precision = reference.precision_score(labels, best, **each)
    return {
        "accuracy": accuracy,
        "accuracy_gain": accuracy - np.bincount(labels.astype(int)).max() / len(best),
        "auc": reference.roc_auc_score(labels, scores, multi_class="ovr"),
        "log_loss": reference.log_loss(labels, scores),
        **{f"recall of {n}": recall[at] for at, n in enumerate(NAMES)},
        **{f"precision of {n}": precision[at] for at, n in enumerate(NAMES)},
        **{f"selection_rate of {n}": (best == at).mean() for at, n in enumerate(NAMES)},
    }


CASES = {
    "regression": (numbers, of_numbers, "rmse"),
    "classes": (classes, of_classes, "auc"),
}


@pytest.mark.parametrize("task", CASES)
def test_metrics_are_the_reference_s(task: str) -> None:
    """Each metric of both models is scikit-learn's, whatever the batches."""
    make, expected, _ = CASES[task]
    first, second = make(0.3), make(0.9, 4)

    found = estimated(task, first, second)

    for model, own in ((first, found.candidate), (second, found.other)):
        wanted = expected(model.labels, model.predictions)
        assert set(wanted) == set(own)
        # The area is of 512 buckets of the log-odds.
        assert {n: own[n][0] for n in wanted} == pytest.approx(wanted, abs=5e-4)
    assert found.rows == pytest.approx(ROWS)


@pytest.mark.parametrize("task", CASES)
def test_errors_are_those_of_resampled_rows(task: str) -> None:
    """Of one model, and, smaller, of the paired difference of two."""
    make, expected, metric = CASES[task]
    first, second = make(0.3), make(0.4, 4)
    chance = np.random.default_rng(5)

    found = estimated(task, first, second)

    drawn = []
    for _ in range(80):
        rows = chance.integers(0, ROWS, ROWS)
        drawn.append(
            [
                expected(model.labels[rows], model.predictions[rows])[metric]
                for model in (first, second)
            ]
        )
    alone, other = np.transpose(drawn)
    values = found.candidate[metric][1:], found.other[metric][1:]
    assert standard_error(values[0]) == pytest.approx(alone.std(), rel=0.35)
    paired = standard_error(values[0] - values[1])
    assert paired == pytest.approx((alone - other).std(), rel=0.35)
    assert paired < np.hypot(alone.std(), other.std())


@pytest.mark.parametrize("task", CASES)
def test_a_model_does_not_differ_from_itself(task: str) -> None:
    """The difference has no error at all, whatever the sample."""
    make, _, _ = CASES[task]

    found = estimated(task, make(0.3), make(0.3))

    for name, values in found.candidate.items():
        # Sums of columns are added up in another order.
        difference = np.nan_to_num(values - found.other[name])
        assert np.abs(difference).max() < 1e-9, name


@pytest.mark.parametrize("task", CASES)
def test_weights_count_like_repeated_rows(task: str) -> None:
    """A row of weight 2 is two rows in each metric, and one row in its error."""
    make, _, metric = CASES[task]
    once = make(0.3)
    heavy = Scored(once.labels, once.predictions, np.full(ROWS, 2.0))

    first, second = estimated(task, once, once), estimated(task, heavy, heavy)

    assert second.candidate[metric] == pytest.approx(first.candidate[metric])
    assert second.rows == pytest.approx(first.rows)


def test_equal_labels_have_no_r2() -> None:
    """Nothing varies that could be explained; the errors are there."""
    same = Scored(np.full(50, 0.1), np.linspace(0, 1, 50), np.ones(50))

    found = estimated("regression", same, same)

    assert np.isnan(found.candidate["r2"]).all()
    assert found.candidate["mae"][0] == pytest.approx(
        np.abs(same.predictions - 0.1).mean()
    )


def test_of_many_classes_only_what_costs_little_is_computed() -> None:
    """A row would be in hundreds of cells for its areas."""
    chance = np.random.default_rng(1)
    scores = chance.dirichlet(np.ones(150), 400)
    model = Scored(chance.choice(150, 400).astype(float), scores, np.ones(400))

    found = estimated("classes", model, model, [str(n) for n in range(150)])

    assert set(found.candidate) == {"accuracy", "accuracy_gain", "log_loss"}
    right = (scores.argmax(axis=1) == model.labels).mean()
    assert found.candidate["accuracy"][0] == pytest.approx(right)


@pytest.mark.parametrize("make", [numbers, classes])
def test_rows_are_in_the_same_group_in_any_order(
    make: Callable[[float], Scored],
) -> None:
    """Groups are about equally large, and don't depend on the batch."""
    model = make(0.3)
    order = np.random.default_rng(2).permutation(ROWS)
    mixed = Scored(*(v[order] for v in vars(model).values()))

    groups = group_of(model, model)

    assert np.array_equal(group_of(mixed, mixed), groups[order])
    counts = np.bincount(groups, minlength=GROUPS)
    assert counts.min() > 0
    assert counts.std() == pytest.approx((ROWS / GROUPS) ** 0.5, rel=0.35)


def test_the_rows_of_a_constant_model_are_spread() -> None:
    """Equal rows are in different groups, or their error would be that of one row."""
    same = Scored(np.zeros(ROWS), np.ones(ROWS), np.ones(ROWS))

    assert len(np.unique(group_of(same, same))) == GROUPS


def test_the_calibration_of_classes_counts_all_rows_once() -> None:
    """By the probability of the likeliest class of the first model."""
    first, second = classes(0.5), classes(1.0, seed=4)
    how = comparison("classes", NAMES, NONE)
    tables = [
        tabled(kind.width, kind.quantities(first, second), everywhere(ROWS))
        for kind in how.kinds
    ]

    found = how.calibration(tables, 0)

    top = first.predictions.max(axis=1)
    right = first.predictions.argmax(axis=1) == first.labels
    means = [each["prediction"] / each["weight"] for each in found]
    assert means == sorted(means)
    assert sum(each["weight"] for each in found) == ROWS
    assert sum(each["prediction"] for each in found) == pytest.approx(top.sum())
    assert sum(each["label"] for each in found) == right.sum()
    assert comparison("binary", (), NONE).calibration(tables, 0) == []
