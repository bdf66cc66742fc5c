"""Small SavedModels with the project's signatures, sound ones and faulty ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from models import kept_predictions
from models.names import PREDICTIONS_FILE

SPEC = {
    "fare": tf.io.VarLenFeature(tf.float32),
    "company": tf.io.VarLenFeature(tf.string),
}
Tensors = dict[str, tf.Tensor]


@dataclass
class Faults:
    """What is wrong with a model; nothing by default.

    Attributes:
        raw_offset: What the signature for raw values adds.
        missing_is_nan: A missing fare makes the answer NaN.
        trained_offset: What the trained model answered more than the export does.
        ignores_company: The signature for raw values doesn't look at a column.
    """

    raw_offset: float = 0.0
    missing_is_nan: bool = False
    trained_offset: float = 0.0
    ignores_company: bool = False


class Served(tf.Module):
    """Answers a hundredth of the fare, and a half more for Blue."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults
        self.slope = tf.Variable(0.01)

    def features(self, fare: tf.Tensor, company: tf.Tensor) -> Tensors:
        """Transforms dense columns, NaN and "" where a value is missing."""
        fill = np.nan if self.faults.missing_is_nan else 0.0
        known = tf.where(tf.math.is_finite(fare), fare, fill)
        return {"fare_id": known, "blue": tf.cast(company == "Blue", tf.int64)}

    def predict(self, features: Tensors) -> Tensors:
        """Predicts from transformed columns."""
        blue = tf.cast(features["blue"], tf.float32)
        return {"probability": self.slope * features["fare_id"] + blue / 2}

    def parsed(self, examples: tf.Tensor) -> Tensors:
        """Transforms serialized tf.Examples."""
        raw = tf.io.parse_example(examples, SPEC)
        rows = tf.shape(examples)[0]
        fare, company = (
            tf.sparse.to_dense(
                tf.sparse.reset_shape(
                    raw[name], [tf.cast(rows, tf.int64), tf.constant(1, tf.int64)]
                ),
                missing,
            )[:, 0]
            for name, missing in (("fare", np.nan), ("company", ""))
        )
        return self.features(fare, company)

    def answer_raw(self, fare: tf.Tensor, company: tf.Tensor) -> Tensors:
        """Predicts from raw values, with the faults."""
        if self.faults.ignores_company:
            company = tf.broadcast_to(tf.reshape(company, [-1])[:1], tf.shape(fare))
        else:
            with tf.control_dependencies(
                [tf.debugging.assert_equal(tf.size(fare), tf.size(company))]
            ):
                company = tf.identity(company)
        scores = self.predict(self.features(fare, company))["probability"]
        return {"probability": scores + self.faults.raw_offset}


def save(directory: Path, faults: Faults | None = None) -> Path:
    """Saves a model with the predictions that its Trainer would have kept."""
    served = Served(faults or Faults())
    text = tf.TensorSpec([None], tf.string, name="examples")
    raw: dict[str, Any] = {
        "fare": tf.TensorSpec([None], tf.float32, name="fare"),
        "company": tf.TensorSpec([None], tf.string, name="company"),
    }
    functions = {
        "serving_default": (
            lambda examples: served.predict(served.parsed(examples)),
            {},
        ),
        "serving_raw": (served.answer_raw, raw),
        "transform_features": (served.parsed, {}),
    }
    tf.saved_model.save(
        served,
        str(directory),
        signatures={
            name: tf.function(function).get_concrete_function(
                **(given or {"examples": text})
            )
            for name, (function, given) in functions.items()
        },
    )
    columns = {
        name: values.numpy()
        for name, values in served.features(
            tf.constant([1.0, 2.0, 3.0]), tf.constant(["Blue", "Red", ""])
        ).items()
    }
    scores = served.predict(columns)["probability"].numpy()
    kept = directory / kept_predictions.EXTRAS / PREDICTIONS_FILE
    kept.parent.mkdir(exist_ok=True)
    answers = {"probability": scores + served.faults.trained_offset}
    kept.write_text(kept_predictions.to_json(columns, ["fare_id", "blue"], answers))
    return directory
