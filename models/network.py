"""A network that is compiled, and that can be traced before there are rows.

Half of a short training is Python that traces Keras' training and evaluation step.
Tracing needs the shapes of the weights, which depend on the rows by the vocabularies'
sizes alone. StatisticsGen has counted each column's most frequent values long before
Transform writes a vocabulary, so the sizes are expected from these. A network that was
prepared for other sizes than they turn out to be is discarded.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

from models import tasks
from models.declarations import (
    MISSING_TEXT,
    Feature,
    Regression,
    Vocabulary,
    transformed_name,
)
from models.declared import FEATURES, LABEL
from models.hyperparameters import Hyperparameters
from models.model import LabelScale, build_model
from pipeline.columnar import progress


@dataclass(frozen=True)
class Plan:
    """What decides about a network before its training.

    Attributes:
        hyperparameters: Sizes, regularization, and how it is trained.
        seed: Of the initial weights.
        train_steps: Most steps of the training; the learning rate depends on it.
        vocabulary_sizes: As `build_model` takes them.
        scale: Of a regression's labels.
        features: Its inputs.
    """

    hyperparameters: Hyperparameters
    seed: int
    train_steps: int
    vocabulary_sizes: Mapping[str, int]
    scale: LabelScale
    features: tuple[Feature, ...]

    @property
    def rounds(self) -> int:
        """Returns how often the network is evaluated."""
        # Rounded up, so that few steps still end with an evaluation.
        return -(-self.train_steps // self.hyperparameters.steps_per_evaluation)

    @property
    def steps_of_round(self) -> int:
        """Returns the steps before each evaluation."""
        return self.train_steps // self.rounds


def expected_sizes(
    statistics: statistics_pb2.DatasetFeatureStatistics,
    features: Sequence[Feature] = FEATURES,
) -> dict[str, int] | None:
    """Expects how many values each vocabulary will hold.

    Args:
        statistics: Of the rows to train on; its lists hold the 1,000 most frequent
            values.
        features: The features.

    Returns:
        The sizes by transformed name; `None` if a column has no list.
    """
    counts = {
        # TFDV fills `path`; statistics of older versions have `name`.
        each.name or ".".join(each.path.step): [
            bucket.sample_count
            for bucket in each.string_stats.rank_histogram.buckets
            if bucket.label != MISSING_TEXT
        ]
        for each in statistics.features
    }
    sizes = {}
    for feature in features:
        if isinstance(feature, Vocabulary):
            # Of whole numbers, which become texts of digits, there is no such list.
            frequent = counts.get(feature.column)
            if not frequent:
                return None
            kept = sum(count >= feature.min_count for count in frequent)
            sizes[transformed_name(feature)] = min(kept, feature.max_size)
    return sizes


def make_deterministic(seed: int) -> None:
    """Makes TensorFlow deterministic for the rest of this process."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def prepare(plan: Plan, batch_size: int) -> None:
    """Builds and traces a network for this process' next training.

    Args:
        plan: What is expected of it.
        batch_size: Rows in a training step.
    """
    if isinstance(LABEL, Regression):
        # Its labels' mean and deviation, which are in the network, aren't known.
        return
    _discard()
    make_deterministic(plan.seed)
    model = _built(plan)
    columns = {
        tensor.name: tf.TensorSpec(tensor.shape[1:], tensor.dtype)
        for tensor in model.inputs
    }
    row = (columns, tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.float32))
    specs = tuple(_batch_of(row, rows) for rows in (batch_size, None))
    _trace(model, *specs)
    _prepared.append((plan, specs, model))


def is_prepared() -> bool:
    """Whether this process has a network, and has made TensorFlow deterministic."""
    return bool(_prepared)


def built(
    plan: Plan, train_rows: tf.data.Dataset, eval_rows: tf.data.Dataset
) -> keras.Model:
    """Returns a compiled network: the prepared one, if it is what is needed.

    Args:
        plan: The network.
        train_rows: Batches to train with.
        eval_rows: Batches to evaluate with.
    """
    if _prepared:
        expected, specs, model = _prepared.pop()
        if (expected, specs) == (
            plan,
            (train_rows.element_spec, eval_rows.element_spec),
        ):
            progress.LOGGER.info("The network was traced before there were rows")
            return model
        progress.LOGGER.info("The network was traced for others than these rows")
        del model
        _discard()
        make_deterministic(plan.seed)
    return _built(plan)


_prepared: list[tuple[Plan, tuple[Any, ...], keras.Model]] = []
"""What this process has prepared: at most one, with the types of its batches."""


def _built(plan: Plan) -> keras.Model:
    model = build_model(
        plan.hyperparameters, plan.vocabulary_sizes, plan.features, scale=plan.scale
    )
    training = tasks.training_of(LABEL, plan.scale)
    schedule = keras.optimizers.schedules.CosineDecay(
        plan.hyperparameters.learning_rate, plan.train_steps
    )
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=training.loss,
        weighted_metrics=training.metrics,
        # One call per evaluation: Python between steps would cost about as much as a
        # step of this small model.
        steps_per_execution=plan.steps_of_round,
        # Keras' default may compile with XLA: seconds, for steps that take
        # milliseconds.
        jit_compile=False,
    )
    # Or the first trace creates its variables, and a second one must follow: 1 s.
    model.optimizer.build(model.trainable_variables)
    return model


def _discard() -> None:
    """Leaves nothing that another network of this process would differ by."""
    _prepared.clear()
    # It counts the layers that have no names of their own.
    keras.utils.clear_session()


def _batch_of(row: Any, rows: int | None) -> Any:
    return tf.nest.map_structure(
        lambda spec: tf.TensorSpec([rows, *spec.shape], spec.dtype), row
    )


def _trace(model: keras.Model, train_spec: Any, eval_spec: Any) -> None:
    """Has Keras trace its two steps, by calling both on no rows."""
    zeros = tf.nest.map_structure(
        lambda spec: tf.zeros(spec.shape, spec.dtype), train_spec
    )
    # It looks at one batch to create metrics, and trains no step in no epoch.
    model.fit(tf.data.Dataset.from_tensors(zeros), epochs=0, verbose=0)
    model.make_test_function()
    for function, spec in (
        (model.train_function, train_spec),
        (model.test_function, eval_spec),
    ):
        none = tf.data.Dataset.from_generator(lambda: iter(()), output_signature=spec)
        with suppress(StopIteration):
            function(iter(none))
