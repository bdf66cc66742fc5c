"""Builds the Keras model from the hyperparameters and the declared features."""

from collections.abc import Mapping

import keras

from models.features import (
    FEATURES,
    FIRST_ID,
    Bucketized,
    Category,
    Cyclic,
    Feature,
    IntegerCategory,
    Numeric,
    Vocabulary,
    missing_name,
    transformed_name,
)
from models.hyperparameters import Hyperparameters


def build_model(
    hyperparameters: Hyperparameters,
    vocabulary_sizes: Mapping[str, int],
    features: tuple[Feature, ...] = FEATURES,
) -> keras.Model:
    """Builds a network that embeds categories and puts dense layers on top.

    Fare and payment type decide together, so categories get embeddings in front of the
    hidden layers; weights of their own to the output (wide & deep) gained nothing.

    Args:
        hyperparameters: Sizes and regularization.
        vocabulary_sizes: Distinct values that each `Vocabulary` keeps, by its
            transformed name.
        features: The features that are the model's inputs.

    Returns:
        A model, not compiled, from a dict of transformed columns (float32 [N] or
        [N, 2], int64 [N]) to the probability of the label, float32 [N, 1].
    """
    inputs: dict[str, keras.KerasTensor] = {}
    parts: list[keras.KerasTensor] = []
    for feature in features:
        name = transformed_name(feature)
        match feature:
            case Numeric():
                for number in _number_names(feature):
                    # Scalars per row, as Transform writes them, so that no signature
                    # has to reshape.
                    inputs[number] = keras.Input((), name=number, dtype="float32")
                    parts.append(keras.layers.Reshape((1,))(inputs[number]))
            case Cyclic():
                inputs[name] = keras.Input((2,), name=name, dtype="float32")
                parts.append(inputs[name])
            case Bucketized() | IntegerCategory() | Vocabulary():
                inputs[name] = keras.Input((), name=name, dtype="int64")
                ids = id_count(feature, vocabulary_sizes)
                parts.append(_embedding(hyperparameters, ids)(inputs[name]))
    hidden = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for units in hyperparameters.hidden_layers:
        hidden = keras.layers.Dense(
            units, activation="relu", kernel_regularizer=_penalty(hyperparameters)
        )(hidden)
        hidden = keras.layers.Dropout(hyperparameters.dropout)(hidden)
    probability = keras.layers.Dense(1, activation="sigmoid", name="probability")
    return keras.Model(inputs, probability(hidden))


def id_count(feature: Category, vocabulary_sizes: Mapping[str, int]) -> int:
    """Returns the number of ids of a category, including "missing" and "unseen"."""
    match feature:
        case Bucketized(boundaries=boundaries):
            return FIRST_ID + len(boundaries) + 1
        case IntegerCategory(minimum=minimum, maximum=maximum):
            return FIRST_ID + maximum - minimum + 1
        case Vocabulary():
            return FIRST_ID + vocabulary_sizes[transformed_name(feature)]


def _number_names(feature: Numeric) -> list[str]:
    flags = [missing_name(feature)] if feature.flag_missing else []
    return [transformed_name(feature), *flags]


def _embedding(hyperparameters: Hyperparameters, ids: int) -> keras.layers.Layer:
    return keras.layers.Embedding(
        ids,
        hyperparameters.embedding_width,
        embeddings_regularizer=_penalty(hyperparameters),
    )


def _penalty(hyperparameters: Hyperparameters) -> keras.Regularizer | None:
    return keras.regularizers.L2(hyperparameters.l2) if hyperparameters.l2 else None
