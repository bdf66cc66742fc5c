"""Answers of the request log as metrics read them."""

import numpy as np
import pyarrow as pa
import pytest

from models import declared
from operations import scores


def test_numbers_are_answers_as_they_are() -> None:
    """A missing one is unknown."""
    answers = pa.array([0.25, None, 3.0])

    assert scores.is_known(answers).to_pylist() == [True, False, True]
    assert scores.predicted(answers) is answers
    assert scores.values_of(answers.drop_null()).tolist() == [0.25, 3.0]


def test_a_row_is_of_its_most_probable_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of another number of classes are another label's, and unknown."""
    monkeypatch.setattr(declared, "CLASSES", ("rain", "sun"))
    answers = pa.array([[0.2, 0.8], None, [0.1, 0.2, 0.7], [0.6, 0.4]])

    known = scores.is_known(answers)

    assert known.to_pylist() == [True, False, False, True]
    assert scores.predicted(answers).to_pylist() == [b"sun", None, None, b"rain"]
    kept = scores.values_of(answers.filter(known))
    assert np.array_equal(kept, [[0.2, 0.8], [0.6, 0.4]])


def test_the_likeliest_class_tells_how_sure_an_answer_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of yes or no the probability of yes does, and of numbers nothing."""
    numbers = pa.array([0.25, None])
    classes = pa.array([[0.2, 0.8], None, [0.6, 0.4]])
    monkeypatch.setattr(declared, "CLASSES", ("rain", "sun"))

    assert scores.confidence(numbers).to_pylist() == [0.25, None]
    assert scores.confidence(classes).to_pylist() == [0.8, None, 0.6]
    monkeypatch.setattr(declared, "TASK", "regression")
    assert scores.confidence(numbers).to_pylist() == [None, None]
