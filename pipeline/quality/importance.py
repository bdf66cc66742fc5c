"""Permutation importance: what a model's metric loses when a column is shuffled.

A column whose values are exchanged between the rows tells the model nothing about them,
while each value stays a possible one (Breiman, 2001). Nothing is trained. Columns that
repeat each other hide behind each other here, so the columns that seem to add nothing
are shuffled together, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from pipeline.quality import evaluation, metrics
from pipeline.quality.aggregates import Floats, Scored
from pipeline.quality.scoring import Answers, EvaluationError, Examples, Model

REPEATS = 3
"""Shuffles of each column; their spread says how much of a loss is chance."""

_SEED = 1


@dataclass(frozen=True)
class Loss:
    """What the metric loses without a column.

    Attributes:
        mean: Mean of the shuffles, positive if the metric gets worse.
        spread: Largest difference between two of them.
    """

    mean: float
    spread: float


@dataclass(frozen=True)
class Importance:
    """The importance of a model's columns on some rows.

    Attributes:
        metric: TFMA's name of the metric, such as "auc".
        value: Its value with all columns as they are.
        losses: What it loses without each column.
        useless: Columns that together lose at most what was allowed, the least
            important first.
        together: What the metric loses without all of these.
    """

    metric: str
    value: float
    losses: Mapping[str, Loss]
    useless: tuple[str, ...]
    together: float


class Judge:
    """Scores one batch of rows with a model, whole or with columns shuffled."""

    def __init__(self, directory: str, config: Any, batch: pa.RecordBatch) -> None:
        """Loads the model, and scores the rows as they are.

        Args:
            directory: Directory of the SavedModel.
            config: The EvalConfig of the model's evaluation.
            batch: The rows, of list columns, all of them in memory.

        Raises:
            EvaluationError: The EvalConfig has no metric that is one number.
        """
        self._config, self.higher_is_better = _narrowed(config)
        self._plan = metrics.plan(self._config)
        for each in self._plan.others:
            each.combiner.setup()
        self._model = Model(directory, self._config.model_specs[0])
        self.batch = batch
        self.answers = self._model(batch, Examples(batch))
        self.metric, self.value = self._measured(self.answers.scored)

    @property
    def labels(self) -> Floats:
        """The label of each row; NaN where it is unknown, which weighs nothing."""
        scored = self.answers.scored
        return np.where(scored.weights > 0, scored.labels, np.nan)

    def without(self, columns: Sequence[str], chance: np.random.Generator) -> float:
        """Returns what the metric loses if columns are shuffled, by the same order."""
        order = pa.array(chance.permutation(self.batch.num_rows))
        shuffled = self.batch
        for name in columns:
            place = shuffled.schema.get_field_index(name)
            column = shuffled.column(place).take(order)
            shuffled = shuffled.set_column(place, shuffled.schema.field(place), column)
        answers = self._model(shuffled, Examples(shuffled))
        return self.loss_of(answers.scored.predictions)

    def loss_of(self, predictions: Floats) -> float:
        """Returns what the metric loses with other predictions for the same rows."""
        # The labels of the rows as they are: a shuffled column may be a part of them.
        scored = replace(self.answers.scored, predictions=predictions)
        loss = self.value - self._measured(scored)[1]
        return loss if self.higher_is_better else -loss

    def _measured(self, scored: Scored) -> tuple[str, float]:
        answers = {"": Answers(scored, {})}
        partial = evaluation.summed_batch(self._plan, self.batch, answers)
        ((_, found),) = metrics.results(self._plan, partial)
        for key, value in found.items():
            if isinstance(value, int | float | np.number):
                return str(key.name), float(value)
        msg = (
            "the EvalConfig has no metric that is one number; give it one, such as AUC"
        )
        raise EvaluationError(msg)


def importance(judge: Judge, columns: Sequence[str], tolerance: float) -> Importance:
    """Measures the importance of columns.

    Args:
        judge: Has the model and the rows.
        columns: Names of the model's raw columns.
        tolerance: Share of the metric that may be lost without the useless ones.
    """
    chance = np.random.default_rng(_SEED)
    losses: dict[str, Loss] = {}
    for name in columns:
        found = [judge.without([name], chance) for _ in range(REPEATS)]
        losses[name] = Loss(float(np.mean(found)), max(found) - min(found))
    useless: list[str] = []
    together = 0.0
    allowed = tolerance * abs(judge.value)
    for name in sorted(losses, key=lambda each: losses[each].mean):
        if losses[name].mean > allowed:
            break
        # Of two columns that repeat each other, one can go and the other then can't.
        tried = [judge.without([*useless, name], chance) for _ in range(REPEATS)]
        if (loss := float(np.mean(tried))) <= allowed:
            useless.append(name)
            together = loss
    return Importance(judge.metric, judge.value, losses, tuple(useless), together)


def _narrowed(config: Any) -> tuple[Any, bool]:
    """Returns the settings of the one metric that a blessing depends on most.

    Returns:
        An EvalConfig of the candidate, all rows and one metric; and whether higher
        values of it are better.
    """
    found = [
        (spec, metric, threshold)
        for spec in config.metrics_specs
        for metric in spec.metrics
        for threshold in [*_thresholds(metric), None]
    ]
    if not found:
        msg = "the EvalConfig has no metrics; give it one, such as AUC"
        raise EvaluationError(msg)
    # The first with a threshold; without any, the first.
    spec, metric, threshold = next((f for f in found if f[2]), found[0])
    alone = config_pb2.MetricsSpec()
    alone.CopyFrom(spec)
    del alone.metrics[:]
    alone.metrics.add(
        class_name=metric.class_name, module=metric.module, config=metric.config
    )
    candidates = [s for s in config.model_specs if not s.is_baseline]
    narrow = config_pb2.EvalConfig(model_specs=candidates[:1], metrics_specs=[alone])
    narrow = tfma.utils.update_eval_config_with_defaults(narrow, has_baseline=False)
    return narrow, threshold is None or _is_higher_better(threshold)


def _thresholds(metric: Any) -> list[Any]:
    single = [metric.threshold] if metric.HasField("threshold") else []
    return [*single, *(each.threshold for each in metric.per_slice_thresholds)]


def _is_higher_better(threshold: Any) -> bool:
    if threshold.HasField("change_threshold"):
        direction = threshold.change_threshold.direction
        return bool(direction != config_pb2.MetricDirection.LOWER_IS_BETTER)
    return bool(threshold.value_threshold.HasField("lower_bound"))
