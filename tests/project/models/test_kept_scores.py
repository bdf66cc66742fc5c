"""The distribution of a model's answers, as it is stored with the model."""

from pathlib import Path

import numpy as np
import pytest

from models import kept_scores
from models.kept_predictions import EXTRAS
from models.names import SCORES_FILE


def test_few_answers_are_kept_one_by_one() -> None:
    """Numbers in ascending order, texts with how many rows have them."""
    answers = {
        "probability": np.array([0.5, 0.25, 0.5], np.float32),
        "class": np.array([b"red", b"blue", b"red"], object),
    }

    text = kept_scores.to_json(answers)

    assert text == (
        '{"probability": [[0.25, 1], [0.5, 1], [0.5, 1]], '
        '"class": [["blue", 1], ["red", 2]]}'
    )


def test_many_answers_are_kept_as_quantiles(tmp_path: Path) -> None:
    """Each number stands for the rows up to the next; none is lost."""
    answers = np.random.default_rng(1).random(12_345)
    (tmp_path / EXTRAS).mkdir()
    text = kept_scores.to_json({"prediction": answers})
    (tmp_path / EXTRAS / SCORES_FILE).write_text(text)

    kept = kept_scores.read(tmp_path)["prediction"]

    values, rows = zip(*kept, strict=True)
    assert len(kept) == kept_scores.POINTS
    assert sum(rows) == len(answers)
    assert list(values) == sorted(values)
    place = np.searchsorted(np.cumsum(rows), len(answers) / 2)
    assert values[place] == pytest.approx(np.median(answers), abs=0.001)


def test_a_model_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    """Nothing can be compared then, which is no error here."""
    assert kept_scores.read(tmp_path) == {}
