"""Scores batches of columns with saved models; nothing else in quality/ calls them.

A model that has `models.signatures.COLUMNAR` is called with columns, once for all that
is asked of it. Any other is called by its signatures: with columns where a signature
takes them by name, and with the rows written as tf.Examples where it takes those.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf
from tensorflow_model_analysis.metrics import metric_util
from tensorflow_model_analysis.proto import config_pb2
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from models.signatures import COLUMNAR
from pipeline.columnar import files
from pipeline.columnar.tensors import ToTensors
from pipeline.errors import ThroughlineError
from pipeline.quality.aggregates import Floats, Scored

Arrays = dict[str, npt.NDArray[Any]]

# TFMA's: signatures that are called, if a model has them, when none is named.
_USUAL_PREPROCESSING = ("transformed_features", "transformed_labels")
_SERVING = "serving_default"


class EvaluationError(ThroughlineError, ValueError):
    """A signature or column of the EvalConfig is not in the model or the data."""


@dataclass(frozen=True)
class Answers:
    """One model's scores and features of a batch.

    Attributes:
        scored: Labels, scores and weights, for metrics.
        features: The outputs of its preprocessing, by name.
    """

    scored: Scored
    features: Arrays


class Model:
    """A saved model that is called as an EvalConfig's ModelSpec says."""

    def __init__(self, directory: str, spec: Any) -> None:
        """Loads a model.

        Args:
            directory: Directory of the SavedModel.
            spec: TFMA's ModelSpec.

        Raises:
            EvaluationError: The model has no such signature.
        """
        self.spec = spec
        with files.local_copy(directory) as copy:
            # Kept: signatures hold variables by weak references, and fail once it is
            # gone.
            self._model = tf.saved_model.load(copy)
        known = dict(self._model.signatures)
        self._preprocessing = list(spec.preprocessing_function_names) or [
            name for name in _USUAL_PREPROCESSING if name in known
        ]
        self._signature = spec.signature_name or _SERVING
        wanted = [*self._preprocessing, self._signature]
        if absent := [name for name in wanted if name not in known]:
            raise EvaluationError(
                f"the model in {directory} has no signature {', '.join(absent)}; it "
                f"has {', '.join(sorted(known))}: name one of these in the EvalConfig"
            )
        self._functions = {name: _Function(known[name]) for name in wanted}
        self._columnar = _columnar(self._model, wanted)

    @property
    def takes_columns(self) -> bool:
        """Whether no row has to be written as a tf.Example."""
        return self._columnar is not None

    @property
    def one_score(self) -> bool:
        """Whether the declared output shape is one score per row, not one a class."""
        shapes = self._functions[self._signature].output_shapes
        shape = shapes.get(self.spec.prediction_key) or next(iter(shapes.values()))
        return shape.rank == 1 or (shape.rank == 2 and shape[-1] == 1)  # noqa: PLR2004

    def __call__(self, batch: pa.RecordBatch, examples: "Examples") -> Answers:
        """Scores a batch.

        Args:
            batch: List columns.
            examples: The same rows as tf.Examples, should they be needed.
        """
        outputs = self._outputs(batch, examples)
        features: Arrays = {}
        for name in self._preprocessing:
            features |= {n: _dense(value) for n, value in outputs[name].items()}
        named = {n: _dense(value) for n, value in outputs[self._signature].items()}
        scores = self._scores(named, batch.num_rows)
        # Of the preprocessing first: the label and the weight are transformed columns
        # here, and TFMA's order is the same.
        column = functools.partial(_column, batch, features)
        labels = column(self.spec.label_key, "label_key")
        weights = (
            column(self.spec.example_weight_key, "example_weight_key")
            if self.spec.example_weight_key
            else np.ones(batch.num_rows)
        )
        return Answers(Scored(labels, scores, weights), features)

    def _outputs(
        self, batch: pa.RecordBatch, examples: "Examples"
    ) -> Mapping[str, Mapping[str, Any]]:
        if self._columnar:
            answers: Mapping[str, Mapping[str, Any]] = self._columnar(batch)
            return answers
        return {name: call(batch, examples) for name, call in self._functions.items()}

    def _scores(self, outputs: Arrays, rows: int) -> Floats:
        # TFMA's rule: a single output needs no prediction_key.
        found = outputs if len(outputs) > 1 else next(iter(outputs.values()))
        _, scores = metric_util.prepare_labels_and_predictions(
            None, found, self.spec.prediction_key
        )
        if self.one_score and scores.size != rows:
            raise EvaluationError(
                f"the model gives {scores.shape} scores for {rows} rows; a metric of "
                "one score per row needs as many"
            )
        shape = (-1,) if self.one_score else (rows, -1)
        return scores.reshape(shape).astype(np.float64)


class Examples:
    """A batch as tf.Examples, written when first asked for."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        """Stores a batch of list columns."""
        self._batch = batch

    @functools.cached_property
    def serialized(self) -> tf.Tensor:
        """Returns string [N]."""
        columns = self._batch.schema
        # A column without a value in any row has no type, and can't be written.
        typed = [f.name for f in columns if not pa.types.is_null(f.type)]
        rows = self._batch.select(typed)
        return tf.constant(RecordBatchToExamplesEncoder().encode(rows))


@dataclass
class _Function:
    """A signature."""

    signature: Any
    _tensors: ToTensors | None = field(default=None)

    @property
    def output_shapes(self) -> dict[str, tf.TensorShape]:
        """Returns the shape of each output by name."""
        return {n: o.shape for n, o in self.signature.structured_outputs.items()}

    def __call__(self, batch: pa.RecordBatch, examples: Examples) -> Mapping[str, Any]:
        inputs = self.signature.structured_input_signature[1]
        # Then the only input is the one of serialized examples.
        if not set(inputs) <= set(batch.schema.names):
            (name,) = inputs
            outputs: Mapping[str, Any] = self.signature(**{name: examples.serialized})
            return outputs
        if self._tensors is None:
            self._tensors = ToTensors.of({n: _feature(s) for n, s in inputs.items()})
        answers: Mapping[str, Any] = self.signature(**self._tensors(batch))
        return dict(answers)


def _columnar(model: Any, wanted: Sequence[str]) -> Any:
    """Returns a model's function of columns, if it gives all that is wanted."""
    function = getattr(model, COLUMNAR, None)
    if function is None:
        return None
    (concrete,) = function.concrete_functions
    # The EvalConfig may name a signature of the user's own, which it doesn't cover.
    if not set(wanted) <= set(concrete.structured_outputs):
        return None
    (inputs,), _ = concrete.structured_input_signature
    tensors = ToTensors.of({name: _feature(spec) for name, spec in inputs.items()})
    return lambda batch: function(tensors(batch))


def _feature(spec: Any) -> Any:
    """Returns what a tf.Example would be parsed by to give such tensors."""
    if isinstance(spec, tf.SparseTensorSpec):
        return tf.io.VarLenFeature(spec.dtype)
    return tf.io.FixedLenFeature(spec.shape[1:], spec.dtype)


def _dense(value: Any) -> npt.NDArray[Any]:
    if isinstance(value, tf.SparseTensor):
        value = tf.sparse.to_dense(value)
    return np.asarray(value.numpy())


def _column(batch: pa.RecordBatch, features: Arrays, name: str, role: str) -> Floats:
    """Returns a column of one number per row, of the preprocessing or of the data."""
    if name in features:
        found = features[name].reshape(-1)
    elif name in batch.schema.names:
        # Cells are lists of one value; a row with none or several shows in the length.
        found = np.asarray(batch.column(name).flatten().to_numpy(zero_copy_only=False))
    else:
        known = ", ".join(sorted({*features, *batch.schema.names}))
        raise EvaluationError(
            f"{role} {name!r} is neither an output of the preprocessing nor a column "
            f"of the data; there are {known}"
        )
    if len(found) != batch.num_rows:
        raise EvaluationError(
            f"{role} {name!r} has {len(found)} values in {batch.num_rows} rows; it "
            "must have one in each"
        )
    try:
        return found.astype(np.float64)
    except ValueError as error:
        raise EvaluationError(f"{role} {name!r} is no number: {error}") from error


@functools.lru_cache(maxsize=4)
def load(models: tuple[tuple[str, str], ...], config: bytes) -> dict[str, Model]:
    """Loads the models of an EvalConfig, once in a process.

    Args:
        models: Each model's name and directory.
        config: The EvalConfig, serialized.
    """
    specs = config_pb2.EvalConfig.FromString(config).model_specs
    places = dict(models)
    several = len(specs) > 1
    return {
        # TFMA leaves a single model's name out of its metric keys.
        spec.name if several else "": Model(places[spec.name], spec)
        for spec in specs
    }
