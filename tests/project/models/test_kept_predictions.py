"""Predictions that are stored with a model."""

import json
from pathlib import Path

import numpy as np

from models import kept_predictions
from models.kept_predictions import digests, read, to_json
from models.names import PREDICTIONS_FILE

COLUMNS = {
    "fare": np.array([0.5, -0.0, 0.5], np.float32),
    "hour": np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float32),
    "id": np.array([2, 3, 2]),
    "text": np.array([b"a", b"b", b"a"], object),
}


def test_equal_rows_have_equal_digests() -> None:
    """Only the named columns count, in whatever order; -0 is 0."""
    found = digests(COLUMNS, ["fare", "hour", "text"])
    zero = digests({"fare": np.array([0.0], np.float32)}, ["fare"])

    assert found[0] == found[2] != found[1]
    assert found == digests(COLUMNS, ["text", "hour", "fare"])
    assert zero == digests(COLUMNS, ["fare"])[1:2]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """The file has digests and answers of each row, and no value of a column."""
    scores = np.array([0.25, 0.5, 0.75], np.float32)
    text = to_json(COLUMNS, ["id", "fare"], {"probability": scores})
    (tmp_path / kept_predictions.EXTRAS).mkdir()
    (tmp_path / kept_predictions.EXTRAS / PREDICTIONS_FILE).write_text(text)

    found = read(tmp_path)

    assert found["columns"] == ["fare", "id"]
    assert found["rows"] == digests(COLUMNS, ["fare", "id"])
    assert found["answers"] == {"probability": [0.25, 0.5, 0.75]}
    assert set(json.loads(text)) == {"columns", "rows", "answers"}


def test_a_model_without_them_has_none(tmp_path: Path) -> None:
    """Models of other trainers hold no such file."""
    assert read(tmp_path) == {}
