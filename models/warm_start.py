"""Initial weights from an earlier model, where they fit.

A network may differ from the one before: a vocabulary has other tokens, a feature was
added, a layer is wider. Weights are matched by what they belong to, never by position:
rows of an embedding by their token, rows of the first layer, of the members' scales and
of the sines by their input, all others by the layer's name and their shape. What
doesn't fit keeps its random initial values, and the result says what and why.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft

from models import signatures
from models.declarations import (
    FIRST_ID,
    UNSEEN_ID,
    Feature,
    Vocabulary,
    transformed_name,
)
from models.hyperparameters import Hyperparameters
from models.kept_predictions import EXTRAS
from models.model import (
    FIRST_HIDDEN,
    HEADS,
    MEMBERS,
    SINES,
    embedding_name,
    input_widths,
)
from models.names import WEIGHTS_FILE

Array = npt.NDArray[np.float32]

_PREDICTED = ("task", "label", "classes")


@dataclass
class Taken:
    """What a network has of an earlier model.

    Attributes:
        found: Whether there was an earlier model.
        taken: Names of the weights that are the earlier model's.
        new_rows: Of these, what is new in them, by name.
        left: Why the others were not taken, by name.
    """

    found: bool = True
    taken: list[str] = field(default_factory=list)
    new_rows: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> str:
        """Says in a few words how much was taken."""
        if not self.found:
            return "no model is live, so the initial weights were random"
        count = len(self.taken) + len(self.left)
        return f"began with {len(self.taken)} of {count} weights of the live model"

    def __str__(self) -> str:
        """Returns all of it in one line."""
        parts = [self.count]
        parts += [f"{name}: {what}" for name, what in self.new_rows.items()]
        parts += [f"random {name}: {why}" for name, why in self.left.items()]
        return "; ".join(parts)

    def to_json(self) -> str:
        """Returns it as JSON."""
        return json.dumps(asdict(self), indent=1)


def described(
    model: keras.Model,
    transform: tft.TFTransformOutput,
    hyperparameters: Hyperparameters,
    features: tuple[Feature, ...],
) -> dict[str, Any]:
    """Describes what the weights of a model belong to, as JSON values.

    Returns:
        "weights", the name of each in the order in which the model is saved; "inputs",
        the first layer's rows of each input, in order; "tokens" of each vocabulary, by
        transformed name; "predicts", what it predicts.
    """
    names = [transformed_name(f) for f in features if isinstance(f, Vocabulary)]
    predicts = signatures.described()
    return {
        "weights": [weight.path for weight in model.weights],
        "inputs": input_widths(hyperparameters, features),
        "tokens": {
            name: [
                token.decode("utf-8", "surrogateescape")
                for token in transform.vocabulary_by_name(name)
            ]
            for name in names
        },
        # As JSON has it: a tuple of classes is read as a list.
        "predicts": json.loads(
            json.dumps({name: predicts.get(name) for name in _PREDICTED})
        ),
    }


def start(model: keras.Model, about: Mapping[str, Any], base: str | None) -> Taken:
    """Replaces a network's initial weights by those of an earlier model.

    Args:
        model: The network; its weights are changed in place.
        about: What `described` returns of it.
        base: Directory of the earlier SavedModel; `None` if there is none.

    Returns:
        What was taken, and what wasn't.
    """
    if not base:
        return Taken(found=False)
    taken = Taken()
    place = f"{base}/{EXTRAS}/{WEIGHTS_FILE}"
    if not tf.io.gfile.exists(place):
        why = "the live model was saved without its weights' names"
        taken.left = {weight.path: why for weight in model.trainable_variables}
        return taken
    with tf.io.gfile.GFile(place) as file:
        before = json.loads(file.read())
    saved = tf.train.load_checkpoint(f"{base}/variables/variables")
    places = {name: index for index, name in enumerate(before["weights"])}
    for weight in model.trainable_variables:
        name = weight.path
        if name not in places:
            taken.left[name] = "the live model has none of that name"
            continue
        old = saved.get_tensor(f"weights/{places[name]}/.ATTRIBUTES/VARIABLE_VALUE")
        found = _fitted(name, np.asarray(weight), old, before, about)
        if isinstance(found, str):
            taken.left[name] = found
            continue
        values, new = found
        weight.assign(values)
        taken.taken.append(name)
        if new:
            taken.new_rows[name] = new
    return taken


def _fitted(
    name: str,
    random: Array,
    old: Array,
    before: Mapping[str, Any],
    about: Mapping[str, Any],
) -> tuple[Array, str] | str:
    """Returns initial values with what is new in them, or why the old don't fit."""
    layer, _, kind = name.partition("/")
    if layer in HEADS and before["predicts"] != about["predicts"]:
        return "the live model predicts something else"
    differs = f"its shape is {old.shape} in the live model and {random.shape} here"
    for column, tokens in about["tokens"].items():
        if layer == embedding_name(column):
            known = before["tokens"].get(column, [])
            alike = random.shape[1:] == old.shape[1:]
            return _by_token(random, old, known, tokens) if alike else differs
    has_hidden = any(each.startswith(FIRST_HIDDEN) for each in about["weights"])
    first = (FIRST_HIDDEN,) if has_hidden else HEADS
    if layer in (MEMBERS, SINES) or (kind == "kernel" and layer in first):
        # Each member has scales, and an output layer, of its own.
        axis = 1 if layer in (MEMBERS, *HEADS) else 0
        there, here = (_widths(each["inputs"], layer) for each in (before, about))
        return _by_input(random, old, there, here, axis) or differs
    return (old, "") if random.shape == old.shape else differs


def _widths(inputs: Mapping[str, int], layer: str) -> dict[str, int]:
    """Returns how many rows of a layer's weights each input has, in order."""
    if layer != SINES:
        return dict(inputs)
    return {name: 1 for name in inputs if name.startswith(f"{SINES} of ")}


def _by_token(
    random: Array, old: Array, before: list[str], now: list[str]
) -> tuple[Array, str]:
    """Moves each row of an embedding to its token's new place.

    A new token begins where it was until now: as one that was not seen.
    """
    rows = {token: FIRST_ID + index for index, token in enumerate(before)}
    values = random.copy()
    values[:FIRST_ID] = old[:FIRST_ID]
    for index, token in enumerate(now):
        values[FIRST_ID + index] = old[rows.get(token, UNSEEN_ID)]
    new = sum(token not in rows for token in now)
    return values, f"{new} of {len(now)} tokens are new" if new else ""


def _by_input(
    random: Array,
    old: Array,
    before: Mapping[str, int],
    now: Mapping[str, int],
    axis: int,
) -> tuple[Array, str] | None:
    """Moves what belongs to an input, along an axis, to the input's new place."""
    old, values = np.moveaxis(old, axis, 0), np.moveaxis(random.copy(), axis, 0)
    if len(old) != sum(before.values()) or old.shape[1:] != values.shape[1:]:
        return None
    places, at = {}, 0
    for name, width in before.items():
        places[name] = (at, width)
        at += width
    at, new = 0, []
    for name, width in now.items():
        start, had = places.get(name, (0, 0))
        if had == width:
            values[at : at + width] = old[start : start + width]
        else:
            new.append(name)
        at += width
    text = f"random rows of the inputs {', '.join(new)}" if new else ""
    return np.moveaxis(values, 0, axis), text
