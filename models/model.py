"""Builds the Keras model from the hyperparameters and the declared features."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras

from models.declarations import (
    FIRST_ID,
    AnyLabel,
    Binary,
    Boolean,
    Bucketized,
    Category,
    Classes,
    Cyclic,
    Feature,
    FreeText,
    IntegerCategory,
    Items,
    Numeric,
    Regression,
    Timestamp,
    Vocabulary,
    age_name,
    transformed_name,
    transformed_names,
)
from models.declared import FEATURES, LABEL
from models.hyperparameters import Hyperparameters
from models.layers import MeanOfMembers, Network, Periodic, ScaledByMember

# Layers have names of their own, by which `models.warm_start` finds their weights.
_HIDDEN = "hidden_"
FIRST_HIDDEN = f"{_HIDDEN}0"
SINES = "sines"
MEMBERS = "members"
HEADS = ("probability", "probabilities", "deviations")
"""Names of the last layer, of which a network has one."""

# A number further from the mean than this, in standard deviations, is not predicted:
# with a logarithm it would overflow before the first weights are any good.
_FARTHEST = 10.0
_WIDTH = 4  # Inputs that the sines of a number become.


@dataclass(frozen=True)
class LabelScale:
    """Mean and standard deviation of a regression's training labels.

    After their logarithm, if they are learned by it.
    """

    mean: float = 0.0
    deviation: float = 1.0


def build_model(
    hyperparameters: Hyperparameters,
    vocabulary_sizes: Mapping[str, int],
    features: tuple[Feature, ...] = FEATURES,
    label: AnyLabel = LABEL,
    scale: LabelScale = LabelScale(),
) -> keras.Model:
    """Builds a network that embeds categories and puts dense layers on top.

    Categories get embeddings in front of the hidden layers, where they are combined
    with each other; weights of their own to the output (wide & deep) gained nothing.
    Numbers enter as they are and as sines. What comes out is the mean of several
    members' answers; see `models.layers` for both.

    Args:
        hyperparameters: Sizes and regularization.
        vocabulary_sizes: Distinct values that each `Vocabulary` keeps, by its
            transformed name.
        features: The features that are the model's inputs.
        label: What it predicts.
        scale: Of a regression's labels.

    Returns:
        A model, not compiled, from a dict of transformed columns (float32 [N] or
        [N, any], int64 [N]) to float32 [N, 1], the probability of the label or the
        predicted number, or [N, classes], the probability of each class. In training
        there is one such answer for each member: [N, members, 1 or classes].
    """
    inputs: dict[str, keras.KerasTensor] = {}
    parts: list[keras.KerasTensor] = []
    for feature in features:
        names = transformed_names(feature)
        match feature:
            case Bucketized() | IntegerCategory() | Vocabulary():
                (name,) = names
                inputs[name] = keras.Input((), name=name, dtype="int64")
                ids = id_count(feature, vocabulary_sizes)
                layer = _embedding(hyperparameters, ids, embedding_name(name))
                parts.append(layer(inputs[name]))
            case _:
                for name in names:
                    inputs[name] = _number_input(feature, name)
                    parts.append(_as_column(inputs[name]))
    quantities = [_as_column(inputs[name]) for name in _quantity_names(features)]
    if quantities and hyperparameters.frequencies:
        sines = Periodic(hyperparameters.frequencies, _WIDTH, name=SINES)
        parts.append(sines(_joined(quantities)))
    hidden = _joined(parts)
    hidden = ScaledByMember(hyperparameters.members, name=MEMBERS)(hidden)
    for number, units in enumerate(hyperparameters.hidden_layers):
        hidden = keras.layers.Dense(
            units,
            activation="relu",
            kernel_regularizer=_penalty(hyperparameters),
            name=f"{_HIDDEN}{number}",
        )(hidden)
        hidden = keras.layers.Dropout(hyperparameters.dropout)(hidden)
    return Network(inputs, _head(label, scale, hidden))


def embedding_name(name: str) -> str:
    """Returns the name of the layer that embeds a transformed column."""
    return f"embedding_of_{name}"


def input_widths(
    hyperparameters: Hyperparameters, features: tuple[Feature, ...] = FEATURES
) -> dict[str, int]:
    """Returns how many rows of the first layer's weights each input has, in order.

    The sines of a number are an input like any other, named by `sines_name`.
    """
    widths: dict[str, int] = {}
    for feature in features:
        for name in transformed_names(feature):
            if isinstance(feature, Bucketized | IntegerCategory | Vocabulary):
                widths[name] = hyperparameters.embedding_width
            else:
                shape = _number_input(feature, name).shape[1:]
                widths[name] = int(shape[0]) if shape else 1
    if hyperparameters.frequencies:
        widths |= {sines_name(name): _WIDTH for name in _quantity_names(features)}
    return widths


def sines_name(name: str) -> str:
    """Returns the name in `input_widths` of the sines of a transformed column."""
    return f"{SINES} of {name}"


def id_count(feature: Category, vocabulary_sizes: Mapping[str, int]) -> int:
    """Returns the number of ids of a category, including "missing" and "unseen"."""
    match feature:
        case Bucketized(boundaries=boundaries):
            return FIRST_ID + len(boundaries) + 1
        case IntegerCategory(minimum=minimum, maximum=maximum):
            return FIRST_ID + maximum - minimum + 1
        case Vocabulary():
            return FIRST_ID + vocabulary_sizes[transformed_name(feature)]


def _quantity_names(features: tuple[Feature, ...]) -> list[str]:
    """Returns the transformed names of numbers that may take any value."""
    names = []
    for feature in features:
        match feature:
            case Numeric():
                names.append(transformed_name(feature))
            case Timestamp(age=True):
                names.append(age_name(feature))
    return names


def _joined(parts: list[keras.KerasTensor]) -> keras.KerasTensor:
    return keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]


def _number_input(feature: Feature, name: str) -> keras.KerasTensor:
    match feature:
        case Cyclic():
            shape: tuple[int, ...] = (2,)
        case Timestamp(parts=parts):
            shape = () if name == age_name(feature) else (2 * len(parts),)
        case Items(buckets=buckets) | FreeText(buckets=buckets):
            shape = (buckets,)
        case Numeric() | Boolean() | Bucketized() | IntegerCategory() | Vocabulary():
            # Scalars per row, as Transform writes them, so that no signature has to
            # reshape.
            shape = ()
    return keras.Input(shape, name=name, dtype="float32")


def _as_column(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return tensor if len(tensor.shape) > 1 else keras.layers.Reshape((1,))(tensor)


def _head(
    label: AnyLabel, scale: LabelScale, hidden: keras.KerasTensor
) -> keras.KerasTensor:
    """Answers of each member in training, else their mean."""
    match label:
        case Binary():
            answers = _answers(hidden, 1, "probability", activation="sigmoid")
            return MeanOfMembers()(answers)
        case Classes(values=values):
            answers = _answers(
                hidden, len(values), "probabilities", activation="softmax"
            )
            return MeanOfMembers()(answers)
        case Regression(log=log):
            number = MeanOfMembers()(_answers(hidden, 1, "deviations"))
            number = keras.ops.clip(number, -_FARTHEST, _FARTHEST)
            number = number * scale.deviation + scale.mean
            return keras.ops.expm1(number) if log else number


def _answers(
    hidden: keras.KerasTensor, outputs: int, name: str, activation: str | None = None
) -> keras.KerasTensor:
    """Adds an output layer of its own to each member: [N, members, outputs]."""
    shape = (hidden.shape[1], outputs)
    layer = keras.layers.EinsumDense(
        "nmh,mho->nmo", shape, activation=activation, bias_axes="mo", name=name
    )
    return layer(hidden)


def _embedding(
    hyperparameters: Hyperparameters, ids: int, name: str
) -> keras.layers.Layer:
    return keras.layers.Embedding(
        ids,
        hyperparameters.embedding_width,
        embeddings_regularizer=_penalty(hyperparameters),
        name=name,
    )


def _penalty(hyperparameters: Hyperparameters) -> keras.Regularizer | None:
    return keras.regularizers.L2(hyperparameters.l2) if hyperparameters.l2 else None
