"""What training and its messages need to know of the three kinds of task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from models.declarations import AnyLabel, Binary, Classes, Regression
from models.input import Table
from models.model import LabelScale


@dataclass(frozen=True)
class Measure:
    """The metric that is shown beside the loss, and that a search compares.

    Attributes:
        name: Its name in the learning curves, after "eval_".
        title: What it is called in messages.
        direction: Whether its largest or its smallest value is the best.
    """

    name: str
    title: str
    direction: Literal["max", "min"] = "max"


@dataclass(frozen=True)
class Training:
    """How a network is trained for a label.

    Attributes:
        loss: What is minimized; of answers [N, outputs], or [N, members, outputs], of
            which it is the members' mean.
        metrics: What is also measured on each evaluation.
        shown: The one of them that is shown beside the loss.
    """

    loss: Any
    metrics: list[Any]
    shown: Measure


def measure_of(label: AnyLabel) -> Measure:
    """Returns the metric of a label, without creating anything of TensorFlow."""
    match label:
        case Binary():
            return Measure("auc", "AUC")
        case Classes():
            return Measure("accuracy", "accuracy")
        case Regression():
            return Measure("rmse", "RMSE", "min")


def training_of(label: AnyLabel, scale: LabelScale) -> Training:
    """Returns loss and metrics for a label."""
    match label:
        case Binary():
            return Training(
                _binary_crossentropy,
                [keras.metrics.AUC(name="auc")],
                measure_of(label),
            )
        case Classes():
            return Training(
                _crossentropy,
                [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
                measure_of(label),
            )
        case Regression(log=log):
            return Training(
                _unexplained(scale, log=log),
                [keras.metrics.RootMeanSquaredError(name="rmse")],
                measure_of(label),
            )


def label_scale(label: AnyLabel, train: Table) -> LabelScale:
    """Measures the labels of the training rows; the same for any order of them.

    Args:
        label: The declaration; only a regression's labels are read.
        train: The training rows.
    """
    if not isinstance(label, Regression):
        return LabelScale()
    count, total, squares = 0, 0.0, 0.0
    for rows in train.batches(None, (label.name,)):
        numbers = rows[label.name].astype(np.float64)
        numbers = np.log1p(np.maximum(numbers, 0.0)) if label.log else numbers
        count += len(numbers)
        total += float(numbers.sum())
        squares += float((numbers**2).sum())
    mean = total / count
    # A label of one value has no deviation to divide by.
    deviation = max(squares / count - mean**2, 0.0) ** 0.5 or 1.0
    return LabelScale(mean, deviation)


def _unexplained(scale: LabelScale, *, log: bool) -> Callable[..., tf.Tensor]:
    """Returns the squared error as a share of the labels' variance.

    Predicting the mean has a loss of about 1, whatever the label's unit.
    """

    def loss(labels: tf.Tensor, predictions: tf.Tensor) -> tf.Tensor:
        labels = tf.cast(_like(labels, predictions), predictions.dtype)
        if log:
            labels = tf.math.log1p(tf.maximum(labels, 0.0))
            # A prediction is above -1: it is an exponential minus 1.
            predictions = tf.math.log1p(predictions)
        return _by_row(tf.square((labels - predictions) / scale.deviation))

    return loss


def _binary_crossentropy(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    labels = tf.broadcast_to(_like(labels, probabilities), tf.shape(probabilities))
    labels = tf.cast(labels, probabilities.dtype)
    return _by_row(keras.ops.binary_crossentropy(labels, probabilities))


def _crossentropy(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    found = _like(labels, probabilities)[..., 0]
    found = tf.broadcast_to(found, tf.shape(probabilities)[:-1])
    return _by_row(keras.ops.sparse_categorical_crossentropy(found, probabilities))


def _like(labels: tf.Tensor, answers: tf.Tensor) -> tf.Tensor:
    """Reshapes labels [N] or [N, 1] to [N, 1], or to [N, 1, 1] for members."""
    return tf.reshape(labels, [-1, *[1] * (len(answers.shape) - 1)])


def _by_row(losses: tf.Tensor) -> tf.Tensor:
    """Averages the losses of a row's members."""
    return tf.reduce_mean(tf.reshape(losses, [tf.shape(losses)[0], -1]), axis=1)
