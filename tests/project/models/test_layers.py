"""The layers compute what they say, and start differently for each member."""

import keras
import numpy as np

from models.layers import MeanOfMembers, Network, Periodic, ScaledByMember

ROWS = np.array([[0.0, 1.0], [2.0, -3.0], [0.5, 0.5]], np.float32)


def test_each_number_has_sines_of_its_own() -> None:
    """The outputs of a number depend on that number alone."""
    keras.utils.set_random_seed(1)
    layer = Periodic(frequencies=5, width=3)

    before = layer(ROWS).numpy()
    after = layer(ROWS + np.array([0.0, 1.0], np.float32)).numpy()

    assert before.shape == (3, 6)
    assert (before[:, :3] == after[:, :3]).all()
    assert (before[:, 3:] != after[:, 3:]).any()
    # Sine and cosine of no turns: the same for each row.
    layer.turns.assign(np.zeros((2, 5)))
    assert (layer(ROWS).numpy() == layer(ROWS).numpy()[0]).all()


def test_a_threshold_is_learned_soon() -> None:
    """With sines the same steps fit a narrow range of a number better."""
    number = np.linspace(-2, 2, 400, dtype=np.float32)[:, None]
    inside = ((number > 0.2) & (number < 0.5)).astype(np.float32)
    losses = []
    for first in (Periodic(8, 4), keras.layers.Identity()):
        keras.utils.set_random_seed(1)
        layers = [keras.layers.Dense(16, "relu"), keras.layers.Dense(1, "sigmoid")]
        model = keras.Sequential([first, *layers])
        model.compile(
            keras.optimizers.Adam(0.02), "binary_crossentropy", jit_compile=False
        )

        found = model.fit(number, inside, epochs=30, batch_size=100, verbose=0)
        losses.append(found.history["loss"][-1])

    assert losses[0] < 0.7 * losses[1]


def test_members_scale_the_inputs_by_signs_first() -> None:
    """No two members of eight inputs start alike, and none loses an input."""
    keras.utils.set_random_seed(1)
    layer = ScaledByMember(4)

    found = layer(np.full((3, 8), 2.0, np.float32)).numpy()

    assert found.shape == (3, 4, 8)
    assert set(found.ravel().tolist()) == {-2.0, 2.0}
    assert len({tuple(member) for member in found[0]}) == 4


def test_metrics_are_of_the_mean() -> None:
    """In training too, where each member answers, errors that cancel out are none."""
    inputs = keras.Input((1,), name="x")
    answers = MeanOfMembers()(ScaledByMember(2)(inputs))
    model = Network({"x": inputs}, answers)
    model.layers[1].scales.assign([[0.0], [2.0]])
    model.compile(
        keras.optimizers.SGD(0.0),
        loss=lambda y, answers: keras.ops.mean(
            keras.ops.square(answers - keras.ops.reshape(y, (-1, 1, 1))), (1, 2)
        ),
        weighted_metrics=[keras.metrics.MeanSquaredError(name="error")],
        jit_compile=False,
    )
    ones = np.ones((4, 1), np.float32)

    found = model.fit({"x": ones}, ones[:, 0], verbose=0).history

    assert found["loss"] == [1.0]
    assert found["error"] == [0.0]
