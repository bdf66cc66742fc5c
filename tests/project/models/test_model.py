"""The network is what the declarations and the hyperparameters say."""

import keras
import numpy as np

from models.declarations import (
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
)
from models.hyperparameters import Hyperparameters
from models.layers import Periodic
from models.model import LabelScale, build_model, id_count

ONE_OF_EACH: tuple[Feature, ...] = (
    Numeric("height", flag_missing=True),
    Bucketized("price", boundaries=(1.0, 2.0)),
    Cyclic("hour", period=24),
    IntegerCategory("area", minimum=1, maximum=77),
    Vocabulary("colour"),
    Boolean("sold"),
    Timestamp("built", parts=("weekday", "yearday"), age=True),
    Items("tags", buckets=3),
    FreeText("text", buckets=2),
)
SIZES = {"colour_id": 3}
ROWS = {
    "height_scaled": np.array([0.0, 5.0], np.float32),
    "height_missing": np.array([1.0, 0.0], np.float32),
    "price_bucket": np.array([0, 4]),
    "hour_cycle": np.array([[0.0, 1.0], [1.0, 0.0]], np.float32),
    "area_id": np.array([0, 78]),
    "colour_id": np.array([0, 4]),
    "sold_flag": np.array([-1.0, 1.0], np.float32),
    "built_cycles": np.array([[0, 1, 1, 0], [1, 0, 0, 1]], np.float32),
    "built_age": np.array([-1.0, 1.0], np.float32),
    "tags_items": np.array([[0, 1, 0], [1, 0, 2]], np.float32),
    "text_words": np.array([[0, 1], [1, 0]], np.float32),
}


def test_other_declarations_make_another_model() -> None:
    """A team's own features become inputs, and the answers are probabilities."""
    model = build_model(Hyperparameters(), SIZES, ONE_OF_EACH)

    answers = model.predict(ROWS, verbose=0)

    assert set(model.input) == set(ROWS)
    assert answers.shape == (2, 1)
    assert ((answers > 0) & (answers < 1)).all()


def test_each_input_reaches_the_answer() -> None:
    """No declared feature is left unconnected."""
    model = build_model(Hyperparameters(), SIZES, ONE_OF_EACH)
    first = {name: values[:1] for name, values in ROWS.items()}

    answers = {
        name: model.predict(first | {name: values[1:]}, verbose=0).item()
        for name, values in ROWS.items()
    }

    assert model.predict(first, verbose=0).item() not in answers.values()


def test_the_highest_id_of_each_category_has_an_embedding() -> None:
    """Ids run from missing and unseen to the last known value."""
    categories = [f for f in ONE_OF_EACH if isinstance(f, Category)]

    counts = [id_count(feature, SIZES) for feature in categories]

    assert counts == [5, 79, 5]


def test_hyperparameters_shape_the_network() -> None:
    """Layers, embeddings and penalties follow the settings."""
    settings = Hyperparameters(hidden_layers=(7, 5), embedding_width=3, l2=0.1)

    model = build_model(settings, SIZES, ONE_OF_EACH)

    kinds = keras.layers
    dense = [layer.units for layer in model.layers if isinstance(layer, kinds.Dense)]
    widths = {la.output_dim for la in model.layers if isinstance(la, kinds.Embedding)}
    assert dense == [7, 5]
    assert widths == {3}
    assert len(model.losses) == 5


def test_members_are_trained_apart_and_answer_together() -> None:
    """In training each member has an answer of its own; else there is their mean."""
    settings = Hyperparameters(members=3, dropout=0.0)
    model = build_model(settings, SIZES, ONE_OF_EACH)

    apart, together = (model(ROWS, training=each).numpy() for each in (True, False))

    assert apart.shape == (2, 3, 1)
    assert len(np.unique(apart[0])) == 3
    np.testing.assert_allclose(together, apart.mean(axis=1), rtol=1e-6)


def test_only_numbers_get_frequencies() -> None:
    """Quantities and ages do; flags, points on circles and counts don't."""
    with_them, without = (
        build_model(Hyperparameters(frequencies=count), SIZES, ONE_OF_EACH)
        for count in (5, 0)
    )

    (layer,) = (la for la in with_them.layers if isinstance(la, Periodic))
    assert layer.turns.shape == (2, 5)
    assert not [la for la in without.layers if isinstance(la, Periodic)]


def test_no_hidden_layers_make_a_linear_model() -> None:
    """An empty tuple is a setting like any other."""
    model = build_model(Hyperparameters(hidden_layers=()), SIZES, ONE_OF_EACH)

    assert model.predict(ROWS, verbose=0).shape == (2, 1)


def test_classes_are_answered_with_a_distribution() -> None:
    """One probability for each declared class, which sum up to 1."""
    label = Classes(column="kind", values=("a", "b", "c"))

    answers = build_model(Hyperparameters(), SIZES, ONE_OF_EACH, label).predict(
        ROWS, verbose=0
    )

    assert answers.shape == (2, 3)
    np.testing.assert_allclose(answers.sum(axis=1), 1.0, rtol=1e-6)


def test_numbers_are_answered_in_the_unit_of_the_label() -> None:
    """Before any training the answer is near the mean, with a logarithm too."""
    plain, log = (
        build_model(
            Hyperparameters(),
            SIZES,
            ONE_OF_EACH,
            Regression(column="price", log=log),
            LabelScale(mean, deviation),
        )
        for log, mean, deviation in ((False, 5000.0, 1.0), (True, np.log1p(5000), 1e-3))
    )

    assert abs(plain.predict(ROWS, verbose=0) - 5000).max() < 50
    assert abs(log.predict(ROWS, verbose=0) - 5000).max() < 250
