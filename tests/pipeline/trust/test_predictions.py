"""Prediction drift: other answers are found, and the same ones are not."""

import json

import numpy as np
import pyarrow as pa
import pytest

from models import kept_scores
from pipeline.trust import drift, predictions
from pipeline.trust.policy import Exhibit, Finding, Policy, Value
from pipeline.trust.predictions import Scores

CLASSES = np.array([b"card", b"cash"], object)


def answers_of(
    task: str, rows: int, *, moved: bool, seed: int
) -> dict[str, np.ndarray]:
    """Returns what a model of a task may answer; moved a little, or not at all."""
    numbers = np.random.default_rng(seed)
    chances = numbers.beta(2, 3 if moved else 5, rows).astype(np.float32)
    if task == "binary":
        return {"probability": chances}
    if task == "regression":
        return {"prediction": chances * 100 - 20}
    share = 0.45 if moved else 0.3
    return {
        "class": CLASSES[(numbers.random(rows) > share).astype(int)],
        "probability": chances,
    }


def compared(task: str, *, moved: bool) -> list[Finding | Value | Exhibit]:
    """Compares 5,000 stored answers with 2,000 new ones."""
    before = answers_of(task, 5_000, moved=False, seed=1)
    now = answers_of(task, 2_000, moved=moved, seed=2)
    kept = json.loads(kept_scores.to_json(before))
    columns = {
        name: pa.array([v.decode() for v in values] if name == "class" else values)
        for name, values in now.items()
    }
    scores = Scores.of(kept, pa.RecordBatch.from_pydict(columns))
    assert str(scores) == "5,000 answers, and 2,000 now"
    return list(predictions.find_drift(scores, Policy()))


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        ("binary", {"predicted probability"}),
        ("regression", {"predicted number"}),
        ("classes", {"predicted class", "predicted probability"}),
    ],
)
def test_answers_that_moved_are_found(task: str, columns: set[str]) -> None:
    """Of each kind of task, with both histograms."""
    found = compared(task, moved=True)

    findings = [each for each in found if isinstance(each, Finding)]
    assert {each.column for each in findings} == columns
    assert {each.anomaly for each in findings} == {"PREDICTION_DRIFT"}
    assert "against the live model's eval data is" in findings[0].text
    exhibits = [each for each in found if isinstance(each, Exhibit)]
    assert {each.anomaly for each in exhibits} == {"PREDICTION_DRIFT"}
    assert all(sum(now for *_, now in e.bins) == pytest.approx(1) for e in exhibits)


@pytest.mark.parametrize("task", ["binary", "regression", "classes"])
def test_the_same_answers_are_measured_and_are_no_finding(task: str) -> None:
    """What was measured is kept with its threshold, so that it can be plotted."""
    found = compared(task, moved=False)

    assert all(isinstance(each, Value) for each in found)
    measures = {each.measure for each in found if isinstance(each, Value)}
    assert "missing_share" not in measures
    assert {"jensen_shannon", "l_infinity"} >= measures - {"unseen_share"}
    assert {each.against for each in found if isinstance(each, Value)} == {
        "live model's eval"
    }


def test_a_season_is_no_finding() -> None:
    """A divergence that would be one of a column isn't one of a model's answers."""
    numbers = np.random.default_rng(1)
    before, now = numbers.beta(2, 5, 20_000), numbers.beta(2, 3.8, 20_000)
    kept = json.loads(kept_scores.to_json({"probability": before}))
    scores = Scores.of(kept, pa.RecordBatch.from_pydict({"probability": now}))

    (value,) = predictions.find_drift(scores, Policy())

    assert isinstance(value, Value)
    smallest = predictions.SMALLEST_EFFECT
    assert drift.SMALLEST_EFFECT[drift.JENSEN_SHANNON] < value.value < smallest
    assert (value.threshold, value.because) == (smallest, drift.BY_EFFECT)


def test_answers_that_were_not_stored_are_not_compared() -> None:
    """A model that answers more than it did then is compared by what it did."""
    kept = {"probability": [(0.1, 1), (0.2, 2)]}
    batch = pa.RecordBatch.from_pydict({"probability": [0.1], "class": ["card"]})

    scores = Scores.of(kept, batch)

    assert list(scores.now.columns) == ["predicted probability"]
    assert scores.before.rows == 3
