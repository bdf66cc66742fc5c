"""The decision threshold."""

import json
from pathlib import Path

import numpy as np
import pytest

from models import decision
from models.decision import choose, read, threshold_of
from models.kept_predictions import EXTRAS
from models.names import MODEL_FILE

LABELS = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
SCORES = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.9])
ONES = np.ones(6)


def chosen(false_positive: float, false_negative: float) -> float:
    """The threshold for two costs."""
    costs = {"false_positive": false_positive, "false_negative": false_negative}
    return float(choose(LABELS, SCORES, ONES, costs)["threshold"])


def test_costs_choose_the_threshold() -> None:
    """An error that costs more is made less often."""
    assert chosen(1, 1) == pytest.approx(0.5)
    # To miss none of the positives costs one false alarm.
    assert 0.2 < chosen(1, 5) < 0.3
    assert 0.4 < chosen(5, 1) < 0.6


def test_the_least_cost_is_stated() -> None:
    """It is a row's mean cost on the rows that the threshold was chosen on."""
    costs = {"false_positive": 1.0, "false_negative": 5.0}

    found = choose(LABELS, SCORES, ONES, costs)

    assert found["chosen_on"] == {
        "split": "eval",
        "rows": 6,
        "cost": pytest.approx(1 / 6),
    }
    assert found["costs"] == costs


def test_no_other_threshold_costs_less() -> None:
    """Of random scores and weights the best cut is found, ties included."""
    numbers = np.random.default_rng(0)
    labels = numbers.integers(0, 2, 300).astype(float)
    scores = np.round(numbers.random(300), 1)
    weights = numbers.random(300)

    found = choose(labels, scores, weights, {"false_positive": 2, "false_negative": 3})

    def cost(threshold: float) -> float:
        decided = scores > threshold
        wrong = 2 * (decided & (labels == 0)) + 3 * (~decided & (labels == 1))
        return float((weights * wrong).sum() / weights.sum())

    least = min(cost(threshold) for threshold in np.arange(-0.05, 1.1, 0.1))
    assert cost(found["threshold"]) == pytest.approx(least)
    assert found["chosen_on"]["cost"] == pytest.approx(least)


def test_a_model_without_one_has_the_default(tmp_path: Path) -> None:
    """Other models are decided at a half; ours as their file says."""
    (tmp_path / EXTRAS).mkdir()

    assert read(tmp_path) == {}
    assert threshold_of(tmp_path) == decision.DEFAULT
    (tmp_path / EXTRAS / MODEL_FILE).write_text(json.dumps({"threshold": 0.25}))
    assert threshold_of(tmp_path) == 0.25
