"""The layers of the model that Keras doesn't have.

Two of them make several networks of one, the members, whose answers are averaged. The
members share embeddings and hidden layers; each scales the inputs by numbers of its own
and ends in an output layer of its own. Each is trained to be right alone; their mean is
less affected by the noise of few rows than any of them, and they take much less time
than separate networks. The method is TabM-mini of "TabM: Advancing Tabular Deep
Learning with Parameter-Efficient Ensembling" (Gorishniy et al., 2024).
"""

import math
from typing import Any

import keras


class Periodic(keras.layers.Layer):
    """Sines and cosines of numbers, [N, numbers] to [N, numbers * width].

    A network on scaled numbers learns smooth functions first, and thresholds late or
    never. Of a number's sines, with frequencies that are learned, it makes steep ones
    soon. PLR of "On Embeddings for Numerical Features in Tabular Deep Learning"
    (Gorishniy et al., 2022).
    """

    def __init__(self, frequencies: int, width: int, **options: Any) -> None:
        """Creates the layer.

        Args:
            frequencies: Of each number, in turns per standard deviation.
            width: Outputs of each number.
            options: Keras' own, such as a name.
        """
        super().__init__(**options)
        self.frequencies = frequencies
        self.width = width

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates frequencies, and a small dense layer of each number's own."""
        numbers = input_shape[-1]
        points = 2 * self.frequencies
        largest = 1 / math.sqrt(points)
        self.turns = self.add_weight(
            shape=(numbers, self.frequencies),
            initializer=keras.initializers.RandomNormal(stddev=_FIRST_FREQUENCIES),
            name="turns",
        )
        self.kernel = self.add_weight(
            shape=(numbers, points, self.width),
            initializer=keras.initializers.RandomUniform(-largest, largest),
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(numbers, self.width), initializer="zeros", name="bias"
        )

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Computes the outputs."""
        angles = 2 * math.pi * inputs[:, :, None] * self.turns
        points = keras.ops.concatenate(
            [keras.ops.sin(angles), keras.ops.cos(angles)], axis=-1
        )
        outputs = keras.ops.einsum("nip,ipw->niw", points, self.kernel) + self.bias
        outputs = keras.ops.relu(outputs)
        return keras.ops.reshape(outputs, (-1, inputs.shape[1] * self.width))


class ScaledByMember(keras.layers.Layer):
    """Multiplies the inputs [N, width] by each member's scales: [N, members, width]."""

    def __init__(self, members: int, **options: Any) -> None:
        """Creates the layer.

        Args:
            members: Number of members.
            options: Keras' own, such as a name.
        """
        super().__init__(**options)
        self.members = members

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the scales [members, width]: random signs, so that members differ."""
        self.scales = self.add_weight(
            shape=(self.members, input_shape[-1]), initializer=_signs, name="scales"
        )

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Computes the members' inputs."""
        return inputs[:, None, :] * self.scales


class MeanOfMembers(keras.layers.Layer):
    """The members' mean, [N, outputs]; in training all of them, [N, members, outputs].

    With a loss of the mean, members would make up for each other's errors instead of
    being right alone: one larger network, which learns the noise as well.
    """

    def call(
        self, answers: keras.KerasTensor, *, training: bool = False
    ) -> keras.KerasTensor:
        """Averages, unless in training."""
        return answers if training else keras.ops.mean(answers, axis=1)


class Network(keras.Model):
    """A model whose metrics are those of its members' mean, in training too."""

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Updates the metrics with a batch, [N, outputs] or [N, members, outputs]."""
        mean = y_pred if len(y_pred.shape) == _RANK else keras.ops.mean(y_pred, axis=1)
        found: dict[str, Any] = super().compute_metrics(x, y, mean, sample_weight)
        return found


_FIRST_FREQUENCIES = 0.1
"""Standard deviation of the first frequencies: most are half a turn or less over the
middle 95 % of the rows. Higher ones fit the noise."""
_RANK = 2  # Of answers that are the members' mean.


def _signs(shape: tuple[int, ...], dtype: str | None = None) -> keras.KerasTensor:
    """Returns -1 and 1 at random, by the seed of `keras.utils.set_random_seed`."""
    random = keras.initializers.RandomUniform(-1.0, 1.0)(shape, dtype)
    return keras.ops.where(random < 0, -1.0, 1.0)
