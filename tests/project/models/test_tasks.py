"""Each kind of task learns what its labels say."""

from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import tasks
from models.declarations import AnyLabel, Binary, Classes, Numeric, Regression
from models.hyperparameters import Hyperparameters
from models.model import LabelScale, build_model

ROWS = np.linspace(-2, 2, 400, dtype=np.float32)
SETTINGS = Hyperparameters(hidden_layers=(16,), dropout=0.0)


def trained(label: AnyLabel, labels: np.ndarray) -> tuple[Any, dict[str, float]]:
    """Trains a small network on one feature."""
    keras.utils.set_random_seed(1)
    table = cast("Any", SimpleNamespace(batches=lambda _, names: [{"label": labels}]))
    scale = tasks.label_scale(label, table)
    model = build_model(SETTINGS, {}, (Numeric("x"),), label, scale)
    training = tasks.training_of(label, scale)
    model.compile(
        optimizer=keras.optimizers.Adam(0.02),
        loss=training.loss,
        weighted_metrics=training.metrics,
        jit_compile=False,
    )
    found = model.fit({"x_scaled": ROWS}, labels, epochs=40, batch_size=100, verbose=0)
    assert training.shown.name in found.history
    return model, {name: values[-1] for name, values in found.history.items()}


@pytest.mark.parametrize(
    ("label", "direction"),
    [
        (Binary(column="y"), "max"),
        (Classes(column="y", values=(0, 1)), "max"),
        (Regression(column="y"), "min"),
    ],
)
def test_a_search_knows_what_is_better(label: AnyLabel, direction: str) -> None:
    """AUC and accuracy are to be high, an error is to be low."""
    measure = tasks.measure_of(label)

    assert measure.direction == direction
    assert measure == tasks.training_of(label, LabelScale()).shown


def test_classes_are_told_apart() -> None:
    """Three ranges of a number are three classes."""
    labels = np.digitize(ROWS, [-0.7, 0.7])

    model, last = trained(Classes(column="y", values=(0, 1, 2)), labels)

    assert last["accuracy"] > 0.9
    best = model.predict({"x_scaled": ROWS[[0, 200, 399]]}, verbose=0).argmax(axis=1)
    assert best.tolist() == [0, 1, 2]


@pytest.mark.parametrize("log", [False, True])
def test_numbers_are_predicted_in_their_unit(*, log: bool) -> None:
    """Prices in thousands, of which the mean alone would explain nothing."""
    labels = (np.exp(ROWS) * 1000).astype(np.float32)

    model, last = trained(Regression(column="y", log=log), labels)

    assert last["loss"] < 0.05
    predicted = model.predict({"x_scaled": ROWS}, verbose=0)[:, 0]
    assert np.abs(predicted - labels).mean() < 0.1 * labels.std()


def test_a_scale_is_of_the_labels_as_they_are_learned() -> None:
    """Mean and deviation, after the logarithm if there is one; 1 for a constant."""
    table = cast(
        "Any",
        SimpleNamespace(batches=lambda _, names: [{"label": np.array([1.0, 3.0])}]),
    )
    same = cast(
        "Any",
        SimpleNamespace(batches=lambda _, names: [{"label": np.array([4.0, 4.0])}]),
    )

    assert tasks.label_scale(Regression(column="y"), table) == LabelScale(2.0, 1.0)
    assert tasks.label_scale(Regression(column="y"), same) == LabelScale(4.0, 1.0)
    assert tasks.label_scale(Binary(column="y"), table) == LabelScale()
    assert tasks.label_scale(Regression(column="y", log=True), table).mean == (
        pytest.approx(np.log(2) * 1.5)
    )


@pytest.mark.parametrize(
    ("label", "labels", "answers"),
    [
        (Binary(column="y"), [0, 1], [[[0.1], [0.4]], [[0.7], [0.8]]]),
        (
            Classes(column="y", values=("a", "b")),
            [0, 1],
            [[[0.9, 0.1], [0.6, 0.4]], [[0.3, 0.7], [0.2, 0.8]]],
        ),
        (Regression(column="y"), [2.0, 5.0], [[[1.0], [2.5]], [[5.0], [4.0]]]),
        (Regression(column="y", log=True), [2, 5], [[[1.0], [2.5]], [[5.0], [4.0]]]),
    ],
)
def test_the_loss_of_members_is_the_mean_of_their_losses(
    label: AnyLabel, labels: list[float], answers: list[list[list[float]]]
) -> None:
    """One loss per row, as if each member were measured alone."""
    loss = tasks.training_of(label, LabelScale(3.0, 2.0)).loss
    members = tf.constant(answers)

    found = loss(tf.constant(labels), members)

    alone = [loss(tf.constant(labels), members[:, at]) for at in range(2)]
    np.testing.assert_allclose(found, np.mean(alone, axis=0), rtol=1e-6)
    assert found.shape == (2,)
    assert (np.abs(alone[0] - alone[1]) > 0.001).all()


def test_the_losses_are_those_of_keras() -> None:
    """Cross-entropies of a binary label and of classes."""
    yes = tf.constant([0, 1])
    of_label = tf.constant([[0.2], [0.9]])
    of_classes = tf.constant([[0.2, 0.8], [0.1, 0.9]])

    binary = tasks.training_of(Binary(column="y"), LabelScale()).loss
    classes = tasks.training_of(
        Classes(column="y", values=("a", "b")), LabelScale()
    ).loss

    np.testing.assert_allclose(
        np.mean(binary(yes, of_label)),
        keras.losses.BinaryCrossentropy()(yes, of_label),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        np.mean(classes(yes, of_classes)),
        keras.losses.SparseCategoricalCrossentropy()(yes, of_classes),
        rtol=1e-6,
    )
