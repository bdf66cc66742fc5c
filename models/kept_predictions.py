"""Predictions of a trained model for some rows, which are stored with the model.

A check of the exported model compares its answers with them. Rows are identified by a
digest of their transformed columns, so the file holds no data. This module imports
neither TensorFlow nor Keras.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.names import PREDICTIONS_FILE

ROWS = 64
"""How many rows are kept of the eval split: its first ones."""

EXTRAS = "assets.extra"

Columns = Mapping[str, npt.NDArray[Any]]


def digests(columns: Columns, names: Sequence[str]) -> list[str]:
    """Computes a digest per row.

    Args:
        columns: Numbers or texts, [N, ...] each.
        names: The columns that count.
    """
    # Adding 0 makes -0.0 and 0.0 the same bytes.
    held = {
        name: values + 0 if np.issubdtype(values.dtype, np.number) else values
        for name in sorted(names)
        for values in [np.asarray(columns[name])]
    }
    rows = len(next(iter(held.values())))
    return [
        hashlib.sha256(
            b"\0".join(name.encode() + _bytes(held[name][row]) for name in held)
        ).hexdigest()[:16]
        for row in range(rows)
    ]


def to_json(columns: Columns, names: Sequence[str], answers: Columns) -> str:
    """Formats predictions for `PREDICTIONS_FILE`.

    Args:
        columns: Transformed columns.
        names: Those that the model reads.
        answers: The model's outputs for these rows by name, [N, ...] each.
    """
    return json.dumps(
        {
            "columns": sorted(names),
            "rows": digests(columns, names),
            "answers": {name: np.asarray(v).tolist() for name, v in answers.items()},
        }
    )


def read(model: Path) -> dict[str, Any]:
    """Reads the predictions that are stored with a SavedModel.

    Returns:
        "columns", "rows" and "answers" of `to_json`; empty if the model has none.
    """
    file = model / EXTRAS / PREDICTIONS_FILE
    return json.loads(file.read_text()) if file.is_file() else {}


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return np.ascontiguousarray(value).tobytes()
