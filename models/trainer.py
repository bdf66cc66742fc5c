"""Trains the model: Trainer's entry point `run_fn`, in five steps.

Takes about 5 s for 1,000 steps of 200 rows with 20 inputs on 2 cores, once TensorFlow
is imported.

The same seed, data and machine give the same weights, bit for bit.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import statistics_pb2

from models import (
    decision,
    kept_predictions,
    kept_scores,
    network,
    search_space,
    signatures,
    tasks,
    warm_start,
)
from models.declarations import (
    WEIGHT,
    Binary,
    Feature,
    Vocabulary,
    transformed_name,
    transformed_names,
)
from models.declared import FEATURES, LABEL
from models.graph_digest import graph_digest
from models.hyperparameters import Hyperparameters
from models.input import Table, evaluation_dataset, training_dataset
from models.model import LabelScale
from models.names import (
    CLASS,
    GRAPH_FILE,
    HISTORY_FILE,
    MODEL_FILE,
    PREDICTION,
    PREDICTIONS_FILE,
    PROBABILITY,
    RULE_FILE,
    SCORES_FILE,
    WARM_START_FILE,
    WEIGHTS_FILE,
)
from models.network import Plan
from models.tasks import Measure
from pipeline.columnar import engine, progress


class TrainingArguments(Protocol):
    """The attributes of TFX's `FnArgs` that `run_fn` reads."""

    train_files: Sequence[str]
    """Globs of the shards of transformed examples, DIRECTORY/*."""
    eval_files: Sequence[str]
    """The same, for early stopping."""
    transform_graph_path: str
    """Directory that Transform wrote its graph to."""
    train_steps: int
    """Maximum number of training steps, one batch each."""
    eval_steps: int | None
    """Batches of the eval split to use; `None`, 0 or less means all."""
    serving_model_dir: str
    """Directory to write the SavedModel to."""
    model_run_dir: str
    """Directory for TensorBoard's logs and the learning curves."""
    custom_config: Mapping[str, Any] | None
    """See `TrainingSettings.read`."""
    base_model: str | None
    """Directory of the SavedModel to begin with, if the settings say so."""
    hyperparameters: Mapping[str, Any] | None
    """What a Tuner found, keras-tuner's configuration of it; `None` without one."""


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of a training run, validated."""

    hyperparameters: Hyperparameters
    batch_size: int
    """Rows in a training step."""
    seed: int
    """Seed of the initial weights, the order of the rows, and dropout."""
    train_steps: int
    """Maximum number of training steps."""
    eval_rows: int
    """Rows of the eval split to use; -1 means all."""
    costs: Mapping[str, float] = field(
        default_factory=lambda: {"false_positive": 1.0, "false_negative": 1.0}
    )
    """Of the two errors, which the decision threshold is chosen by."""
    warm_start: bool = False
    """Whether to begin with the weights of the base model, where they fit."""

    @classmethod
    def read(cls, arguments: TrainingArguments) -> "TrainingSettings":
        """Reads steps, custom_config and a Tuner's values; unknown keys are ignored.

        Args:
            arguments: custom_config may hold "hyperparameters" (a dict as of
                `dataclasses.asdict`), "batch_size" (200 rows if absent), "seed" (1),
                "costs" of a "false_positive" and a "false_negative" (1 each) and
                "warm_start" (false).

        Raises:
            ValueError: A value cannot train; names it and what was expected.
        """
        config = arguments.custom_config or {}
        batch_size = config.get("batch_size", 200)
        for name, value in (
            ("batch_size", batch_size),
            ("train_steps", arguments.train_steps),
        ):
            if not value or value < 1:
                msg = f"{name} is {value}; it must be at least 1"
                raise ValueError(msg)
        eval_steps = arguments.eval_steps or 0
        declared = Hyperparameters.from_json(config.get("hyperparameters", {}))
        tuned = arguments.hyperparameters or {"values": {}}
        return cls(
            hyperparameters=search_space.with_values(declared, tuned["values"]),
            batch_size=batch_size,
            seed=config.get("seed", 1),
            train_steps=arguments.train_steps,
            eval_rows=eval_steps * batch_size if eval_steps > 0 else -1,
            costs=config.get("costs", {"false_positive": 1.0, "false_negative": 1.0}),
            warm_start=config.get("warm_start", False),
        )

    def plan(
        self, sizes: Mapping[str, int], scale: LabelScale, features: tuple[Feature, ...]
    ) -> Plan:
        """Returns the plan of the network for these settings."""
        return Plan(
            self.hyperparameters, self.seed, self.train_steps, sizes, scale, features
        )


def prepare(
    fn_args: TrainingArguments, statistics: statistics_pb2.DatasetFeatureStatistics
) -> None:
    """Builds and traces the network for this process' next training.

    Args:
        fn_args: The settings; files and directories aren't known yet.
        statistics: Of the raw rows to train on.
    """
    sizes = network.expected_sizes(statistics)
    if sizes is not None:
        settings = TrainingSettings.read(fn_args)
        plan = settings.plan(sizes, LabelScale(), FEATURES)
        network.prepare(plan, settings.batch_size)


def run_fn(fn_args: TrainingArguments) -> None:
    """Trains and saves a model.

    Args:
        fn_args: Files to read, directories to write, and settings.

    Raises:
        ValueError: A setting cannot train, or a split has no labelled rows.
    """
    traced: list[Callable[[], signatures.Traced]] = []
    trained = train(
        fn_args,
        beside=lambda *given: traced.append(
            engine.beside(functools.partial(signatures.trace, *given))
        ),
    )
    write_history(trained.history, fn_args.model_run_dir)
    if trained.taken:
        with tf.io.gfile.GFile(f"{fn_args.model_run_dir}/{WARM_START_FILE}", "w") as f:
            f.write(trained.taken.to_json())

    model = trained.model
    signatures.save(traced[0](), fn_args.serving_model_dir)
    _keep_graph_digest(fn_args.serving_model_dir)
    about = json.dumps(trained.about, indent=1)
    _write_extra(fn_args.serving_model_dir, WEIGHTS_FILE, about)
    settings = TrainingSettings.read(fn_args)
    eval_rows = evaluation_dataset(trained.evaluation, settings.eval_rows)
    answered = _answered(model, eval_rows)
    _describe(answered, settings.costs, fn_args.serving_model_dir)
    _keep_scores(answered, fn_args.serving_model_dir)
    _keep_split_rule(fn_args.transform_graph_path, fn_args.serving_model_dir)
    _keep_predictions(model, trained.evaluation, fn_args.serving_model_dir)


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        model: The network.
        transform: The graph that its inputs were computed with.
        evaluation: The rows that early stopping used.
        history: The learning curves, as `fit` returns them.
        about: What its weights belong to; see `warm_start.described`.
        taken: What it had of the base model; `None` without a warm start.
    """

    model: keras.Model
    transform: tft.TFTransformOutput
    evaluation: Table
    history: dict[str, list[float]]
    about: dict[str, Any]
    taken: warm_start.Taken | None


def train(
    fn_args: TrainingArguments,
    features: tuple[Feature, ...] = FEATURES,
    beside: Callable[[keras.Model, tft.TFTransformOutput], None] | None = None,
) -> Trained:
    """Trains a network, and saves nothing but TensorBoard's logs.

    Args:
        fn_args: Files to read, the directory of the logs, and settings.
        features: The features that are its inputs.
        beside: Called once, after the first evaluation, with the network that is being
            trained and the graph of its inputs.

    Raises:
        ValueError: A setting cannot train, or a split has no labelled rows.
    """
    settings = TrainingSettings.read(fn_args)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    # Before anything of TensorFlow is created: initial weights take the seed then.
    if not network.is_prepared():
        network.make_deterministic(settings.seed)

    # Keras assigns columns to inputs by name only if there are no others.
    columns = {name for each in features for name in transformed_names(each)}
    columns |= {LABEL.name, WEIGHT}
    train = Table.of(fn_args.train_files, transform).of_columns(columns)
    train_rows = training_dataset(train, settings.batch_size, settings.seed)
    evaluation = Table.of(fn_args.eval_files, transform).of_columns(columns)
    eval_rows = evaluation_dataset(evaluation, settings.eval_rows)

    scale = tasks.label_scale(LABEL, train)
    plan = settings.plan(vocabulary_sizes(transform), scale, features)
    model = network.built(plan, train_rows, eval_rows)

    about = warm_start.described(model, transform, settings.hyperparameters, features)
    taken = None
    if settings.warm_start:
        taken = warm_start.start(model, about, fn_args.base_model)
        progress.LOGGER.info("Warm start: %s", taken)

    history = fit(
        model,
        train_rows,
        eval_rows,
        plan,
        fn_args.model_run_dir,
        batch_size=settings.batch_size,
        callbacks=[_AfterFirstRound(lambda: beside(model, transform))]
        if beside
        else [],
        note=f"; {taken.count}" if taken else "",
    )
    return Trained(model, transform, evaluation, history, about, taken)


_KEPT = (CLASS, PROBABILITY, PREDICTION)

Answered = dict[str, npt.NDArray[Any]]
"""Labels and weights of rows, [N] each, and what the model answers for them."""


def _answered(model: keras.Model, rows: tf.data.Dataset) -> Answered:
    """Asks the trained network about the rows of the eval split."""
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    for columns, labels, weights in rows:
        answers = signatures.answers_of(LABEL, model(columns, training=False))
        found = {name: answers[name] for name in _KEPT if name in answers}
        for name, values in {LABEL.name: labels, WEIGHT: weights, **found}.items():
            parts.setdefault(name, []).append(np.asarray(values).reshape(-1))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _keep_graph_digest(directory: str) -> None:
    """Stores the digest by which the registry knows a model that is trained again."""
    with tf.io.gfile.GFile(f"{directory}/saved_model.pb", "rb") as file:
        digest = graph_digest(file.read())
    _write_extra(directory, GRAPH_FILE, json.dumps({"sha256": digest}))


def _keep_scores(answered: Answered, directory: str) -> None:
    """Stores the distribution of the answers, to compare that of new rows with."""
    found = {name: answered[name] for name in _KEPT if name in answered}
    _write_extra(directory, SCORES_FILE, kept_scores.to_json(found))


def _describe(answered: Answered, costs: Mapping[str, float], directory: str) -> None:
    """Writes what the model predicts into its extras, for programs without our code."""
    about = signatures.described()
    if isinstance(LABEL, Binary):
        columns = (answered[name] for name in (LABEL.name, PROBABILITY, WEIGHT))
        labels, scores, weights = (each.astype(np.float64) for each in columns)
        # On the eval split.
        about |= decision.choose(labels, scores, weights, costs)
    text = json.dumps(about, indent=1, ensure_ascii=False)
    _write_extra(directory, MODEL_FILE, text)


def _keep_split_rule(graph: str, model: str) -> None:
    """Copies the split rule of the training rows into the model's extras, if known.

    The Evaluator compares it with the rule of the test rows.
    """
    noted = f"{graph}/{RULE_FILE}"
    extras = f"{model}/{kept_predictions.EXTRAS}"
    if tf.io.gfile.exists(noted):
        tf.io.gfile.makedirs(extras)
        tf.io.gfile.copy(noted, f"{extras}/{RULE_FILE}", overwrite=True)


def _keep_predictions(model: keras.Model, table: Table, directory: str) -> None:
    """Stores predictions of the model as it was trained, to compare the export with."""
    rows = table.first(kept_predictions.ROWS)
    inputs = [tensor.name for tensor in model.inputs]
    scores = model({name: rows[name] for name in inputs}, training=False)
    name = signatures.scores_of(LABEL)
    answers = {name: signatures.answers_of(LABEL, scores)[name].numpy()}
    text = kept_predictions.to_json(rows, inputs, answers)
    _write_extra(directory, PREDICTIONS_FILE, text)


def _write_extra(directory: str, name: str, text: str) -> None:
    extras = f"{directory}/{kept_predictions.EXTRAS}"
    tf.io.gfile.makedirs(extras)
    with tf.io.gfile.GFile(f"{extras}/{name}", "w") as file:
        file.write(text)


def vocabulary_sizes(transform: tft.TFTransformOutput) -> dict[str, int]:
    """Returns the size of each vocabulary, by transformed name."""
    names = [transformed_name(f) for f in FEATURES if isinstance(f, Vocabulary)]
    return {name: transform.vocabulary_size_by_name(name) for name in names}


def fit(  # noqa: PLR0913 - a network, its data, and how
    model: keras.Model,
    train_rows: tf.data.Dataset,
    eval_rows: tf.data.Dataset,
    plan: Plan,
    log_directory: str,
    *,
    batch_size: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    note: str = "",
) -> dict[str, list[float]]:
    """Trains until the eval loss stops falling, and restores the best weights.

    Args:
        model: Compiled; trained in place.
        train_rows: Endless batches.
        eval_rows: Read to its end at each evaluation.
        plan: Steps and hyperparameters.
        log_directory: For TensorBoard.
        batch_size: Rows in a training step.
        callbacks: More of Keras' callbacks.
        note: What the sentence about the result ends with.

    Returns:
        Per evaluation: "step", mean training "loss" since the one before, "eval_loss"
        and the task's metric, such as "eval_auc".
    """
    shown = tasks.measure_of(LABEL)
    metric, title = shown.name, shown.title
    # An epoch of Keras is the steps between two evaluations, not a pass over the data:
    # callbacks run per epoch.
    rounds, steps = plan.rounds, plan.steps_of_round
    stop = keras.callbacks.EarlyStopping(
        patience=plan.hyperparameters.patience, restore_best_weights=True
    )
    # The graph would be traced once more to be written.
    logs = keras.callbacks.TensorBoard(log_directory, write_graph=False)
    unit = progress.Unit("steps", "examples", batch_size)
    task = progress.Task(rounds * steps, unit=unit)
    with progress.running(task):
        curves = model.fit(
            train_rows,
            epochs=rounds,
            steps_per_epoch=steps,
            validation_data=eval_rows,
            callbacks=[stop, logs, _Progress(task, steps, shown), *callbacks],
            verbose=0,
        ).history
    # Also set if training was not stopped early: the callback restores the best weights
    # at the end in any case.
    best = stop.best_epoch
    progress.note(
        f"kept step {(best + 1) * steps:,}: eval loss {curves['val_loss'][best]:.4f}, "
        f"eval {title} {curves[f'val_{metric}'][best]:.4f}{note}"
    )
    return {
        "step": [(index + 1) * steps for index in range(len(curves["loss"]))],
        "loss": curves["loss"],
        "eval_loss": curves["val_loss"],
        f"eval_{metric}": curves[f"val_{metric}"],
    }


def write_history(history: Mapping[str, Sequence[float]], directory: str) -> None:
    """Writes the learning curves as JSON: the lists that `fit` returns, by name."""
    tf.io.gfile.makedirs(directory)
    with tf.io.gfile.GFile(f"{directory}/{HISTORY_FILE}", "w") as file:
        file.write(json.dumps(history, indent=1))


class _AfterFirstRound(keras.callbacks.Callback):
    """Calls something once Keras has traced all that it trains and evaluates with."""

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__()
        self._call = call

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        del logs
        if epoch == 0:
            self._call()


class _Progress(keras.callbacks.Callback):
    """Reports the steps of a round once it is evaluated, with its losses."""

    def __init__(self, task: progress.Task, steps: int, shown: Measure) -> None:
        super().__init__()
        self._task = task
        self._steps = steps
        self._shown = shown

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        del epoch
        found = f"{self._shown.title} {logs[f'val_{self._shown.name}']:.3f}"
        self._task.advance(self._steps, f"loss {logs['loss']:.3f}, eval {found}")
