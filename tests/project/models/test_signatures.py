"""A saved model answers the same whichever way it is asked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from models import features, signatures
from models.declarations import WEIGHT, Classes, Regression
from models.declared import RAW_COLUMNS, missing_integers
from tests.project.models.conftest import (
    TEXTS,
    WHOLE_NUMBERS,
    Row,
    TrainedModel,
    encode,
    raw_spec,
    transform_rows,
)


@pytest.fixture(scope="module")
def served(trained: TrainedModel) -> Any:
    """The model as a server loads it."""
    return tf.saved_model.load(trained.directory)


def answers(served: Any, rows: list[Row]) -> np.ndarray:
    """What serving_default says, [N]."""
    examples = tf.constant([encode(row) for row in rows], tf.string)
    return served.signatures["serving_default"](examples)["probability"].numpy()


def as_columns(rows: list[Row]) -> dict[str, tf.Tensor]:
    """Rows as a JSON client sends them: every key, sentinels for what is missing."""
    columns = {}
    for name in RAW_COLUMNS:
        dtype, missing = tf.float32, cast("Any", float("nan"))
        if name in TEXTS:
            dtype, missing = tf.string, ""
        elif name in WHOLE_NUMBERS:
            dtype, missing = tf.int64, -1
        values = [missing if row.get(name) is None else row[name] for row in rows]
        columns[name] = tf.constant(values, dtype)
    return columns


def test_answers_are_probabilities_that_tell_trips_apart(
    served: Any, trips: list[Row]
) -> None:
    """One number from 0 to 1 a row; a cheap trip by card tips more than a cash one."""
    probabilities = answers(served, trips)

    assert probabilities.shape == (400,)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    cheap_card = [t["payment_type"] != "Cash" and t["fare"] < 12 for t in trips]
    cash = [t["payment_type"] == "Cash" for t in trips]
    assert probabilities[cheap_card].min() > probabilities[cash].max()


def test_named_columns_and_examples_get_the_same_answer(
    served: Any, trips: list[Row]
) -> None:
    """Sentinels in named columns mean what absence means in an example."""
    rows = [*trips[:60], {}, {"company": "Never Seen"}]

    raw = served.signatures["serving_raw"](**as_columns(rows))["probability"].numpy()

    np.testing.assert_array_equal(raw, answers(served, rows))


def test_the_label_column_does_not_change_the_answer(
    served: Any, trips: list[Row]
) -> None:
    """A request may hold tips or not."""
    without = [{k: v for k, v in t.items() if k != features.TIPS} for t in trips[:20]]
    lavish = [row | {features.TIPS: 99.0} for row in without]

    np.testing.assert_array_equal(answers(served, without), answers(served, lavish))


def test_transformed_features_carry_label_and_weight(served: Any) -> None:
    """TFMA finds what it compares the answers with."""
    rows = [
        {"fare": 10.0, "tips": 3.0, "payment_type": "Credit Card"},
        {"fare": 10.0, "tips": 1.0, "payment_type": "Credit Card"},
        {"fare": 10.0, "payment_type": "Credit Card"},
    ]
    examples = tf.constant([encode(row) for row in rows])

    columns = served.signatures["transform_features"](examples)

    assert columns[features.LABEL.name].numpy().tolist() == [1, 0, 0]
    assert columns[WEIGHT].numpy().tolist() == [1.0, 1.0, 0.0]


def test_transformed_features_are_those_of_training(
    served: Any, transform: tft.TFTransformOutput, trips: list[Row]
) -> None:
    """Serving transforms exactly as Transform did."""
    examples = tf.constant([encode(trip) for trip in trips])

    columns = served.signatures["transform_features"](examples)

    in_training = transform_rows(transform, trips)
    assert set(columns) == set(in_training[0])
    for name, values in columns.items():
        assert values.numpy().tolist() == [row[name] for row in in_training], name


def test_an_empty_request_gets_an_empty_answer(served: Any) -> None:
    """No rows in, no rows out."""
    raw = served.signatures["serving_raw"](**as_columns([]))

    assert answers(served, []).shape == (0,)
    assert raw[signatures.PROBABILITY].shape == (0,)


def test_a_fresh_process_gives_the_same_answers(
    served: Any, trained: TrainedModel, trips: list[Row]
) -> None:
    """The saved model needs TensorFlow and nothing of this project."""
    code = (
        "import json, sys, tensorflow as tf\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "examples = [bytes.fromhex(line) for line in json.load(sys.stdin)]\n"
        "answer = model.signatures['serving_default'](tf.constant(examples))\n"
        "print(json.dumps(answer['probability'].numpy().tolist()))\n"
    )
    request = json.dumps([encode(trip).hex() for trip in trips[:10]])

    process = subprocess.run(
        [sys.executable, "-c", code, trained.directory],
        input=request,
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )

    answer = json.loads(process.stdout)
    np.testing.assert_allclose(answer, answers(served, trips[:10]), rtol=1e-6)


def test_columns_are_answered_like_examples(served: Any, trips: list[Row]) -> None:
    """One function of columns says what both signatures of tf.Examples say."""
    examples = tf.constant([encode(row) for row in trips], tf.string)
    columns = tf.io.parse_example(examples, raw_spec())

    answered = getattr(served, signatures.COLUMNAR)(columns)

    for name in (signatures.SERVING_DEFAULT, signatures.TRANSFORM_FEATURES):
        expected = served.signatures[name](examples)
        assert answered[name].keys() == expected.keys()
        for output, values in expected.items():
            assert (answered[name][output].numpy() == values.numpy()).all(), output


def test_a_version_holds_no_state_of_the_training(trained: TrainedModel) -> None:
    """The weights are saved, and the optimizer's two variables for each are not."""
    saved = tf.train.list_variables(f"{trained.directory}/variables/variables")

    variables = [name for name, shape in saved if shape]
    assert len(variables) > 8
    assert all(name.startswith("weights/") for name in variables)


def test_whole_numbers_mean_missing_only_where_a_feature_says_so(served: Any) -> None:
    """-1 is no hour by the sample's declaration; without one it would be a value."""
    present = signatures._like(tf.io.VarLenFeature(tf.int64), tf.constant([-1, 3]), ())
    absent = signatures._like(
        tf.io.VarLenFeature(tf.int64), tf.constant([-1, 3]), (-1,)
    )

    assert missing_integers(features.TRIP_START_HOUR) == (-(2**63), -1)
    assert missing_integers(features.FARE) == (-(2**63),)
    assert present.values.numpy().tolist() == [-1, 3]
    assert absent.values.numpy().tolist() == [3]
    assert absent.indices.numpy().tolist() == [[1, 0]]


def test_a_version_says_what_it_predicts(trained: TrainedModel) -> None:
    """Programs that know nothing of the project read it beside the model."""
    described = json.loads(
        Path(trained.directory, "assets.extra/model.json").read_text()
    )

    assert (described["task"], described["label"]) == ("binary", "big_tipper")
    assert list(described["inputs"].values()) == list(RAW_COLUMNS)


def test_answers_are_named_by_the_task() -> None:
    """Classes are answered by their values, numbers as they are."""
    outputs = tf.constant([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]])

    classes = signatures.answers_of(
        Classes(column="c", values=("x", "y", "z")), outputs
    )
    numbers = signatures.answers_of(Regression(column="n"), outputs[:, :1])

    assert classes["class"].numpy().tolist() == [b"y", b"x"]
    assert classes["probability"].numpy() == pytest.approx([0.7, 0.6])
    assert classes["probabilities"].shape == (2, 3)
    assert numbers["prediction"].numpy() == pytest.approx([0.1, 0.6])
