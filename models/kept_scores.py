"""The distribution of a trained model's answers, which is stored with the model.

Later data is compared with it: what the model answers for new rows, against what it
answered for the rows of its eval split. The file holds no data. This module imports
neither TensorFlow nor Keras.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.kept_predictions import EXTRAS
from models.names import SCORES_FILE

POINTS = 1000
"""Numbers that are kept of an answer, with how many rows each stands for."""

Kept = Mapping[str, Sequence[tuple[Any, int]]]
"""By answer: values, ascending, and how many rows have each, or up to the next one."""


def to_json(answers: Mapping[str, npt.NDArray[Any]]) -> str:
    """Formats the distribution of answers for `SCORES_FILE`.

    Args:
        answers: Numbers or texts (as bytes), [N] each, by name.
    """
    return json.dumps({name: _counted(values) for name, values in answers.items()})


def read(model: Path) -> Kept:
    """Reads what is stored with a SavedModel; empty if that was not stored yet."""
    file = model / EXTRAS / SCORES_FILE
    return json.loads(file.read_text()) if file.is_file() else {}


def _counted(values: npt.NDArray[Any]) -> list[tuple[Any, int]]:
    if not np.issubdtype(values.dtype, np.number):
        return sorted(Counter(value.decode() for value in values.tolist()).items())
    groups = np.array_split(np.sort(values), min(POINTS, len(values)) or 1)
    return [(float(group[0]), len(group)) for group in groups if len(group)]
