"""Metrics of classes and of numbers that TFMA doesn't have, as metrics of TFMA.

An EvalConfig names them with this module, so that TFX's own Evaluator can compute them
too. Each is made of a kind of sum (`pipeline.quality.aggregates`) and a function of it;
`SumsCombiner` adds rows to such sums one by one, where TFMA wants to.

Sources: the area under the ROC curve of each class against the others, averaged without
weights, is what scikit-learn calls macro-averaged one-vs-rest; R2 is its `r2_score`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util

from pipeline.quality.aggregates import (
    ClassLogLoss,
    ClassMatrix,
    ClassRanks,
    Errors,
    Floats,
    Scored,
    Sums,
)
from pipeline.quality.slices import Integers

Result = Callable[[Integers, Floats], float]
Kind = Callable[[str, bool], Sums]

_UNDEFINED = float("nan")


class SumsCombiner(beam.CombineFn):
    """Adds rows to a kind of sum; its result is a metric."""

    def __init__(
        self, key: Any, kind: Sums, result: Result, eval_config: Any, output_name: str
    ) -> None:
        """Stores what to sum.

        Args:
            key: TFMA's key of the metric.
            kind: The kind of sum.
            result: The metric, of the cells that have rows and their sums.
            eval_config: The EvalConfig.
            output_name: Name of the model's output, for models with several.
        """
        self.key, self.kind, self.result = key, kind, result
        self._eval_config, self._output_name = eval_config, output_name

    def create_accumulator(self) -> dict[int, Floats]:
        """Returns no sums."""
        return {}

    def add_input(self, accumulator: dict[int, Floats], element: Any) -> Any:
        """Adds a row, as TFMA's standard inputs."""
        for label, prediction, weight in metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._eval_config,
            model_name=self.kind.model,
            output_name=self._output_name,
            example_weighted=self.kind.by_weight,
            flatten=False,
            require_single_example_weight=True,
        ):
            predictions = np.asarray(prediction, np.float64).reshape(1, -1)
            scored = Scored(
                np.asarray(label, np.float64).reshape(-1),
                predictions if predictions.size > 1 else predictions.reshape(-1),
                np.asarray(weight, np.float64).reshape(-1),
            )
            cells, quantities = self.kind.quantities(scored)
            for cell, row in zip(
                cells.reshape(-1).tolist(),
                quantities.reshape(-1, quantities.shape[-1]),
                strict=True,
            ):
                accumulator[cell] = accumulator.get(cell, 0.0) + row
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[dict[int, Floats]]) -> Any:
        """Adds sums up."""
        total: dict[int, Floats] = {}
        for each in accumulators:
            for cell, row in each.items():
                total[cell] = total.get(cell, 0.0) + row
        return total

    def extract_output(self, accumulator: dict[int, Floats]) -> dict[Any, float]:
        """Returns the metric by its key."""
        if not accumulator:
            return {self.key: _UNDEFINED}
        cells = sorted(accumulator)
        sums = np.stack([accumulator[cell] for cell in cells])
        return {self.key: self.result(np.array(cells, np.int64), sums)}


def _metric(class_name: str, title: str, kind: Kind, result: Result) -> Any:
    """Creates a metric of TFMA's.

    Args:
        class_name: Name of its class, in an EvalConfig.
        title: Its name, in results.
        kind: The kind of sum, for a model's name and whether rows have weights.
        result: The metric, of the sums.
    """

    def computations(  # noqa: PLR0913, PLR0917 - TFMA's parameters
        name: str = title,
        eval_config: Any = None,
        model_name: str = "",
        output_name: str = "",
        sub_key: Any = None,
        aggregation_type: Any = None,
        class_weights: Any = None,
        example_weighted: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        del aggregation_type, class_weights
        key = metric_types.MetricKey(
            name=name,
            model_name=model_name,
            output_name=output_name,
            sub_key=sub_key,
            example_weighted=example_weighted,
        )
        combiner = SumsCombiner(
            key, kind(model_name, example_weighted), result, eval_config, output_name
        )
        return [
            metric_types.MetricComputation(
                keys=[key], preprocessors=None, combiner=combiner
            )
        ]

    def create(self: Any, name: str = title) -> None:
        metric_types.Metric.__init__(
            self, metric_util.merge_per_key_computations(computations), name=name
        )

    inside = {"__init__": create, "__module__": __name__}
    return type(class_name, (metric_types.Metric,), inside)


def _accuracy(cells: Integers, sums: Floats) -> float:
    actual, predicted = ClassMatrix.classes_of(cells)
    total = sums[:, 0].sum()
    return float(sums[actual == predicted, 0].sum() / total) if total else _UNDEFINED


def _majority_share(cells: Integers, sums: Floats) -> float:
    actual, _ = ClassMatrix.classes_of(cells)
    total = sums[:, 0].sum()
    counts = np.bincount(actual, weights=sums[:, 0]) if total else np.zeros(1)
    return float(counts.max() / total) if total else _UNDEFINED


def _accuracy_gain(cells: Integers, sums: Floats) -> float:
    return _accuracy(cells, sums) - _majority_share(cells, sums)


def _macro_auc(cells: Integers, sums: Floats) -> float:
    classes, _ = ClassRanks.places_of(cells)
    areas = [_area(sums[classes == each]) for each in np.unique(classes)]
    known = [area for area in areas if not np.isnan(area)]
    return float(np.mean(known)) if known else _UNDEFINED


def _area(sums: Floats) -> float:
    """Returns the area under the ROC curve of rising buckets' sums [buckets, 2]."""
    negative, positive = sums.T
    pairs = negative.sum() * positive.sum()
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / pairs) if pairs > 0 else _UNDEFINED


def _class_log_loss(cells: Integers, sums: Floats) -> float:
    del cells
    loss, weight = sums[:, :2].sum(axis=0).tolist()
    return loss / weight if weight else _UNDEFINED


def _rmse(cells: Integers, sums: Floats) -> float:
    return float(np.sqrt(Errors.means(cells, sums).squared))


def _r2(cells: Integers, sums: Floats) -> float:
    found = Errors.means(cells, sums)
    variance = found.squared_label - found.label**2
    # Of one label, or of equal ones, no prediction explains a share.
    smallest = 1e-12 * max(found.squared_label, 1e-300)
    return 1 - found.squared / variance if variance > smallest else _UNDEFINED


Accuracy = _metric("Accuracy", "accuracy", ClassMatrix, _accuracy)
"""Share of the rows of which the class is right."""

MajorityShare = _metric("MajorityShare", "majority_share", ClassMatrix, _majority_share)
"""Accuracy of predicting the most frequent class of these rows."""

AccuracyGain = _metric("AccuracyGain", "accuracy_gain", ClassMatrix, _accuracy_gain)
"""Accuracy above that of predicting the most frequent class."""

MacroAUC = _metric("MacroAUC", "auc", ClassRanks, _macro_auc)
"""Mean area under the ROC curve of each class against the others."""

CrossEntropy = _metric("CrossEntropy", "log_loss", ClassLogLoss, _class_log_loss)
"""Log loss of the right class."""

RMSE = _metric("RMSE", "rmse", Errors, _rmse)
"""Root of the mean squared error, in the label's unit."""

R2 = _metric("R2", "r2", Errors, _r2)
"""Share of the labels' variance that is explained; 0 for predicting their mean."""

OF_CLASSES = (
    "Accuracy",
    "AccuracyGain",
    "MajorityShare",
    "MacroAUC",
    "CrossEntropy",
    "MultiClassConfusionMatrixPlot",
)
"""Metrics, by their classes' names, that need a score for each class."""
