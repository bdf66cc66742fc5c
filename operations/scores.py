"""What requests were answered, as metrics of the task read it.

A binary model and one of numbers answer one number per row, which the request log has
as `PREDICTION`; a model of several classes answers a probability of each, `SCORES`.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import declared
from operations.requests import PREDICTION, SCORES
from pipeline.quality.aggregates import Floats

ANSWER = SCORES if declared.TASK == "classes" else PREDICTION
"""The column that holds the answers of this project's model."""


def is_known(answers: pa.Array) -> pa.Array:
    """Returns which answers are of a model of this project's task.

    Args:
        answers: The column `ANSWER`.
    """
    if not pa.types.is_list(answers.type):
        return pc.is_valid(answers)
    # Another version may have had other classes.
    count = len(declared.CLASSES)
    return pc.fill_null(pc.equal(pc.list_value_length(answers), count), False)  # noqa: FBT003


def predicted(answers: pa.Array) -> pa.Array:
    """Returns what each row was predicted to be; null where it is unknown.

    Args:
        answers: The column `ANSWER`.

    Returns:
        The number or probability as it is, or the most probable class, binary.
    """
    if not pa.types.is_list(answers.type):
        return answers
    known = np.asarray(is_known(answers))
    names = pa.array([str(each).encode() for each in declared.CLASSES], pa.binary())
    numbers = np.zeros(len(answers), np.int64)
    if known.any():
        numbers[known] = values_of(answers.filter(pa.array(known))).argmax(axis=1)
    return names.take(pa.array(numbers, mask=~known))


def confidence(answers: pa.Array) -> pa.Array:
    """Returns what tells how sure an answer is, 0 to 1: float64, null where unknown.

    Args:
        answers: The column `ANSWER`.

    Returns:
        The probability of yes, or of the most probable class; null of numbers.
    """
    if declared.TASK == "regression":
        return pa.nulls(len(answers), pa.float64())
    if not pa.types.is_list(answers.type):
        return answers.cast(pa.float64())
    known = np.asarray(is_known(answers))
    highest = np.zeros(len(answers))
    if known.any():
        highest[known] = values_of(answers.filter(pa.array(known))).max(axis=1)
    return pa.array(highest, mask=~known)


def values_of(answers: pa.Array) -> Floats:
    """Returns known answers as metrics read them: [N], or [N, classes].

    Args:
        answers: The column `ANSWER`, of rows for which `is_known` holds.
    """
    if not pa.types.is_list(answers.type):
        return np.asarray(answers, np.float64)
    flat = np.asarray(answers.flatten(), np.float64)
    return flat.reshape(len(answers), len(declared.CLASSES))
