"""Trials of networks with fewer features, which nothing is saved of.

The rows stay transformed as they were, with all features: a network that doesn't read
some of them is the one that would be trained if they weren't declared.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft

from models import signatures, trainer
from models.declared import FEATURES, LABEL, RAW_COLUMNS
from models.hyperparameters import Hyperparameters
from models.model import build_model
from models.trainer import TrainingArguments

Columns = Mapping[str, npt.NDArray[Any]]


class Trial:
    """A network that was trained without some features."""

    def __init__(self, arguments: TrainingArguments, without: Collection[str]) -> None:
        """Trains it.

        Args:
            arguments: Files, logs and settings of the training; nothing else is
                written.
            without: Raw columns whose features it doesn't get.

        Raises:
            ValueError: A setting cannot train, or a split has no labelled rows.
        """
        features = tuple(each for each in FEATURES if each.column not in without)
        self._model = trainer.train(arguments, features).model

    @property
    def weights(self) -> int:
        """Number of trained weights."""
        return int(self._model.count_params())

    def __call__(self, rows: Columns) -> npt.NDArray[np.float64]:
        """Predicts.

        Args:
            rows: Transformed columns by name, each [N, ...]; others are ignored.

        Returns:
            What the model's signatures call its scores: float64 [N], or [N, classes].
        """
        inputs = {t.name: tf.constant(rows[t.name]) for t in self._model.inputs}
        answers = signatures.answers_of(LABEL, self._model(inputs, training=False))
        return np.asarray(answers[signatures.scores_of(LABEL)], np.float64)


def weights_by_column(
    transform: tft.TFTransformOutput, hyperparameters: Hyperparameters
) -> dict[str, int]:
    """Counts the weights that a network has because of each raw column.

    Args:
        transform: Has the sizes of the vocabularies.
        hyperparameters: Sizes of the network.

    Returns:
        The weights that it wouldn't have without the column, by name.
    """
    sizes = trainer.vocabulary_sizes(transform)
    whole = build_model(hyperparameters, sizes).count_params()
    found = {}
    for column in RAW_COLUMNS:
        rest = tuple(each for each in FEATURES if each.column != column)
        left = build_model(hyperparameters, sizes, rest).count_params() if rest else 0
        found[column] = int(whole - left)
    return found
