"""Saves the model with three signatures, and one function for columns.

| signature | reads | answers |
|---|---|---|
| `serving_default` | "examples": raw tf.Examples, string [N] | see below |
| `serving_raw` | each column of `declared.RAW_COLUMNS` | the same |
| `transform_features` | "examples", with the label's columns | transformed columns |

| task | answers |
|---|---|
| binary | "probability" of the label, float32 [N] |
| classes | "class", the most probable one, as in the data [N]; "probability" of it, |
| | float32 [N]; "probabilities" of all in the order of the declaration [N, classes] |
| regression | "prediction", float32 [N], in the label's unit |

`serving_raw` is for JSON clients; its inputs are named by `declarations.input_name`,
and are [N], or [N, any] for lists, which are filled up with missing values. TensorFlow
Serving's row format wants every key in every row, so a missing value is sent as NaN
(numbers with a fraction; the bare token NaN in JSON), as "" (text), or, of a whole
number, as the feature's `missing_value`. `transform_features` is for TFMA, which finds
label and weight among the transformed columns.

`COLUMNAR` is no signature but a function of the loaded model, for Python programs that
have columns: it takes a dict of the raw columns, the label's among them, as parsing
tf.Examples would give them, and answers what `serving_default` and `transform_features`
do, in one pass and without an example being written or parsed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.saved.saved_transform_io_v2 import SavedModelLoader

from models import names
from models.declarations import (
    MISSING_TEXT,
    AnyLabel,
    Classes,
    Regression,
    input_name,
    task_of,
)
from models.declared import LABEL, LIST_COLUMNS, RAW_COLUMNS, missing_integers

Tensors = dict[str, tf.Tensor]

SERVING_DEFAULT = names.SERVING_DEFAULT
SERVING_RAW = names.SERVING_RAW
TRANSFORM_FEATURES = names.TRANSFORM_FEATURES
COLUMNAR = names.COLUMNAR
EXAMPLES = names.EXAMPLES
PROBABILITY = names.PROBABILITY
PROBABILITIES = names.PROBABILITIES
CLASS = names.CLASS
PREDICTION = names.PREDICTION


def scores_of(label: AnyLabel) -> str:
    """Returns the name of the answer that metrics are computed from."""
    match label:
        case Classes():
            return PROBABILITIES
        case Regression():
            return PREDICTION
        case _:
            return PROBABILITY


def described() -> dict[str, Any]:
    """Returns what a model predicts and reads, as JSON values.

    Returns:
        "task"; "label", its name, and "column", the raw one; "classes" in the order of
        the probabilities, if that is the task; "inputs", the column of each input of
        `serving_raw`.
    """
    of_classes = {"classes": LABEL.values} if isinstance(LABEL, Classes) else {}
    return {
        "task": task_of(LABEL),
        "label": LABEL.name,
        "column": LABEL.column,
        **of_classes,
        "inputs": {input_name(column): column for column in RAW_COLUMNS},
    }


class ServingModel(tf.Module):
    """The trained model together with the transformations in front of it."""

    def __init__(self, model: keras.Model, transform: tft.TFTransformOutput) -> None:
        """Combines the transform graph and the model.

        Args:
            model: Reads transformed columns, answers as `build_model` says.
            transform: The graph that Transform made, and the raw columns' types.
        """
        super().__init__()
        # Tracked whole, a Keras model is walked layer by layer, with its optimizer:
        # a second more to save, and three times the weights in each version.
        self._model = _Untracked(model)
        self.weights = [weight.value for weight in model.weights]
        # What TFT's Keras layer wraps. Saving that layer would trace it once more: 2 s.
        loader = SavedModelLoader(transform.transform_savedmodel_dir)
        self._transform = loader.apply_transform_model
        self.transform_resources = vars(loader)
        # A plain attribute would be wrapped for tracking, which breaks parse_example.
        self._raw_spec = _Untracked(transform.raw_feature_spec())
        setattr(self, COLUMNAR, self._columnar_function())

    def signatures(self) -> dict[str, Any]:
        """Returns the concrete functions by the names in this module's table."""
        examples = tf.TensorSpec([None], tf.string, name=EXAMPLES)
        raw = {
            input_name(column): tf.TensorSpec(
                [None, None] if column in LIST_COLUMNS else [None],
                self._raw_spec.value[column].dtype,
                name=input_name(column),
            )
            for column in RAW_COLUMNS
        }
        return {
            SERVING_DEFAULT: _trace(self._answer_examples, examples),
            SERVING_RAW: _trace(self._answer_raw, **raw),
            TRANSFORM_FEATURES: _trace(self._transform_examples, examples),
        }

    def _columnar_function(self) -> Any:
        columns = {n: _tensor_spec(n, f) for n, f in self._raw_spec.value.items()}
        return tf.function(
            self._answer_columns, input_signature=[columns], autograph=False
        )

    def _answer_columns(
        self, columns: dict[str, tf.Tensor | tf.SparseTensor]
    ) -> dict[str, Tensors]:
        transformed = dict(self._transform(columns))
        return {
            SERVING_DEFAULT: self._predict(transformed),
            TRANSFORM_FEATURES: transformed,
        }

    def _answer_examples(self, examples: tf.Tensor) -> Tensors:
        # Without the label's columns, which a request doesn't have: parsing would fail
        # on a dense feature that is absent.
        spec = {name: self._raw_spec.value[name] for name in RAW_COLUMNS}
        return self._answer(tf.io.parse_example(examples, spec))

    def _answer_raw(self, **columns: tf.Tensor) -> Tensors:
        return self._answer(
            {
                column: _like(
                    self._raw_spec.value[column],
                    columns[input_name(column)],
                    missing_integers(column),
                )
                for column in RAW_COLUMNS
            }
        )

    def _transform_examples(self, examples: tf.Tensor) -> Tensors:
        raw = tf.io.parse_example(examples, self._raw_spec.value)
        answers: dict[str, Tensors] = getattr(self, COLUMNAR)(raw)
        return dict(answers[TRANSFORM_FEATURES])

    def _answer(self, raw: dict[str, tf.Tensor | tf.SparseTensor]) -> Tensors:
        # A call of the one traced function: tracing the transform graph once more for
        # each signature takes half a second. What an answer doesn't need isn't run.
        rows = tf.shape(next(iter(raw.values())), out_type=tf.int64)[0]
        absent = {
            name: _missing(feature, rows)
            for name, feature in self._raw_spec.value.items()
            if name not in raw
        }
        answers: dict[str, Tensors] = getattr(self, COLUMNAR)({**raw, **absent})
        return dict(answers[SERVING_DEFAULT])

    def _predict(self, transformed: Tensors) -> Tensors:
        model = self._model.value
        inputs = {tensor.name: transformed[tensor.name] for tensor in model.inputs}
        # training=False, or dropout would make each answer random.
        return answers_of(LABEL, model(inputs, training=False))


def answers_of(label: AnyLabel, outputs: tf.Tensor) -> Tensors:
    """Names a network's outputs as this module's table says."""
    if isinstance(label, Classes):
        best = tf.argmax(outputs, axis=1)
        return {
            CLASS: tf.gather(tf.constant(label.values), best),
            PROBABILITY: tf.reduce_max(outputs, axis=1),
            PROBABILITIES: outputs,
        }
    return {scores_of(label): outputs[:, 0]}


@dataclass(frozen=True)
class Traced:
    """A model that is ready to be saved, with the weights that it has by then.

    Attributes:
        serving: The model.
        functions: Its signatures, as `ServingModel.signatures` returns them.
    """

    serving: ServingModel
    functions: Mapping[str, Any]


def trace(model: keras.Model, transform: tft.TFTransformOutput) -> Traced:
    """Traces the signatures of a model, whose weights may still change.

    Args:
        model: Built; no other thread may trace it meanwhile.
        transform: The graph its training data was transformed with.
    """
    serving = ServingModel(model, transform)
    return Traced(serving, serving.signatures())


def save(traced: Traced, directory: str) -> None:
    """Saves a model with its signatures, for `tf.saved_model.load` and servers.

    Args:
        traced: The model.
        directory: Directory to write to; created if it does not exist.
    """
    tf.saved_model.save(traced.serving, directory, signatures=dict(traced.functions))


def _trace(function: Callable[..., Tensors], *args: Any, **kwargs: Any) -> Any:
    # Autograph would rewrite Keras' and TFT's code too: 2 s for nothing.
    traced = tf.function(function, autograph=False)
    return traced.get_concrete_function(*args, **kwargs)


def _tensor_spec(name: str, feature: Any) -> tf.TensorSpec | tf.SparseTensorSpec:
    """Returns what parsing a feature of tf.Examples gives."""
    if isinstance(feature, tf.io.FixedLenFeature):
        return tf.TensorSpec([None, *feature.shape], feature.dtype, name=name)
    return tf.SparseTensorSpec([None, None], feature.dtype)


def _missing(feature: Any, rows: tf.Tensor) -> tf.Tensor | tf.SparseTensor:
    """Returns a column that no row has a value of."""
    if isinstance(feature, tf.io.FixedLenFeature):
        return tf.zeros([rows, *feature.shape], feature.dtype)
    none = tf.zeros([0], feature.dtype)
    shape = tf.stack([rows, tf.constant(0, tf.int64)])
    return tf.SparseTensor(tf.zeros([0, 2], tf.int64), none, shape)


class _Untracked:
    def __init__(self, value: Any) -> None:
        self.value = value


def _like(
    spec: Any, values: tf.Tensor, missing_values: tuple[int, ...]
) -> tf.Tensor | tf.SparseTensor:
    """Converts values [N] to the tensor that parsing a tf.Example by the spec gives."""
    if isinstance(spec, tf.io.FixedLenFeature):
        return tf.reshape(values, [-1, *spec.shape])
    if values.dtype == tf.string:
        present = values != MISSING_TEXT
    elif values.dtype.is_floating:
        present = ~tf.math.is_nan(values)
    else:
        wanted = tf.constant(missing_values, values.dtype)
        present = ~tf.reduce_any(values[..., tf.newaxis] == wanted, axis=-1)
    # A list keeps its items in order, and what it is filled up with goes.
    dense = values if values.shape.rank > 1 else values[:, tf.newaxis]
    ragged = tf.ragged.boolean_mask(dense, tf.reshape(present, tf.shape(dense)))
    return ragged.to_sparse()
