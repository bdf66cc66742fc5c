"""The decision threshold of a model: chosen by costs, and stored with the model.

`assets.extra/model.json` of a SavedModel holds it. Model servers ignore that directory;
the Evaluator, batch prediction and our server read it. This module imports neither
TensorFlow nor Keras.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.kept_predictions import EXTRAS
from models.names import MODEL_FILE

DEFAULT = 0.5
"""The threshold of a model that has none of its own."""

Floats = npt.NDArray[np.float64]


def choose(
    labels: Floats,
    scores: Floats,
    weights: Floats,
    costs: Mapping[str, float],
) -> dict[str, Any]:
    """Chooses the threshold above which a row is decided as positive.

    Args:
        labels: [N], 0 or 1.
        scores: [N], probabilities.
        weights: [N].
        costs: Of a "false_positive" and of a "false_negative", in any unit.

    Returns:
        "threshold", "costs", and "chosen_on": the number of "rows" and the mean "cost"
        of one.
    """
    order = np.argsort(scores, kind="stable")
    ranked, labels, weights = scores[order], labels[order], weights[order]
    positive, negative = weights * labels, weights * (1 - labels)
    # At cut k the rows from k on are decided as positive.
    missed = np.concatenate([[0.0], np.cumsum(positive)])
    wrongly = np.concatenate([np.cumsum(negative[::-1])[::-1], [0.0]])
    cost = costs["false_negative"] * missed + costs["false_positive"] * wrongly
    # Only between rows of different scores can there be a cut.
    possible = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])
    # Below 0, or a score of 0 would never be above the lowest cut.
    bounds = np.concatenate([[-1e-6], ranked, [1.0]])
    cuts = (bounds[:-1] + bounds[1:]) / 2
    best = np.flatnonzero(possible & np.isclose(cost, cost[possible].min()))
    # Of equally good cuts the one nearest to what a calibrated model would need, so
    # that the choice doesn't rest on one row.
    needed = costs["false_positive"] / (
        costs["false_positive"] + costs["false_negative"]
    )
    at = best[np.argmin(np.abs(cuts[best] - needed))]
    return {
        "threshold": float(cuts[at]),
        "costs": dict(costs),
        "chosen_on": {
            "split": "eval",
            "rows": len(scores),
            "cost": float(cost[at] / max(weights.sum(), 1e-12)),
        },
    }


def read(model: Path) -> dict[str, Any]:
    """Reads what is stored with a SavedModel; empty if it has no `MODEL_FILE`."""
    file = model / EXTRAS / MODEL_FILE
    return json.loads(file.read_text()) if file.is_file() else {}


def threshold_of(model: Path) -> float:
    """Returns the threshold of a SavedModel; `DEFAULT` if it has none of its own."""
    return float(read(model).get("threshold", DEFAULT))
