"""Models that are worse than another one, to be pushed by mistake."""

import shutil
from pathlib import Path

import tensorflow as tf

from models import names

_HIGHEST = 50.0


def save(model: Path, target: Path) -> Path:
    """Saves a model that answers the opposite of another one, by `serving_raw` only.

    Args:
        model: A SavedModel with the files that are served.
        target: Directory of the new one.

    Returns:
        The target.
    """
    loaded = tf.saved_model.load(str(model))
    signature = loaded.signatures[names.SERVING_RAW]

    class Opposite(tf.Module):
        """Answers something else."""

        def __init__(self) -> None:
            super().__init__()
            self.model = loaded

        @tf.function
        def raw(self, **columns: tf.Tensor) -> dict[str, tf.Tensor]:
            """Answers rows."""
            return _opposite(dict(signature(**columns)))

    opposite = Opposite()
    inputs = {
        name: tf.TensorSpec(spec.shape, spec.dtype, name=name)
        for name, spec in signature.structured_input_signature[1].items()
    }
    raw = opposite.raw.get_concrete_function(**inputs)
    tf.saved_model.save(opposite, str(target), signatures={names.SERVING_RAW: raw})
    shutil.copytree(model / "assets.extra", target / "assets.extra")
    return target


def _opposite(answers: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    if names.PROBABILITIES in answers:
        moved = tf.roll(answers[names.PROBABILITIES], shift=1, axis=1)
        return {**answers, names.PROBABILITIES: moved}
    if names.PREDICTION in answers:
        return {names.PREDICTION: _HIGHEST - answers[names.PREDICTION]}
    return {names.PROBABILITY: 1.0 - answers[names.PROBABILITY]}
