"""Converts an EvalConfig to sums over columns, and those sums to metrics.

TFMA builds metrics in two steps: combiners that see rows, and results derived from what
they found. Ours replaces the first step, where the time goes: combiners that it knows
become sums over columns (`pipeline.quality.aggregates`). The second step is TFMA's own
code, so a metric has TFMA's value, whatever its options. A combiner that ours doesn't
know is TFMA's too, and gets the rows one by one.
"""

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from tensorflow_model_analysis.metrics import (
    binary_confusion_matrices,
    calibration_histogram,
    metric_specs,
    metric_types,
    multi_class_confusion_matrix_metrics,
)
from tensorflow_model_analysis.proto import config_pb2

from pipeline.quality.aggregates import (
    AboveThresholds,
    ClassMatrix,
    Count,
    Errors,
    Floats,
    Histogram,
    LogLoss,
    Moments,
    Partial,
    Sums,
)
from pipeline.quality.matrices import BUCKETS, HistogramMatrices
from pipeline.quality.slices import Integers, SliceKey

Metrics = dict[Any, Any]
"""TFMA's metric and plot keys with their values, of one slice."""

_KERAS_LOG_LOSS = "BinaryCrossentropy"
_LOG_LOSS = "BinaryCrossEntropy"


@dataclass(frozen=True)
class Leaf:
    """A combiner of TFMA's as sums over columns.

    Attributes:
        keys: TFMA's keys of the result.
        kind: The kind of sums.
        result: The combiner's result from a slice's cells and sums.
    """

    keys: tuple[Any, ...]
    kind: Sums
    result: Callable[[Integers, Floats], Any]


@dataclass(frozen=True)
class Plan:
    """The sums and derivations that an EvalConfig needs.

    Attributes:
        config: The EvalConfig, complete for the models there are.
        leaves: Combiners as sums.
        others: TFMA's computations whose combiners see the rows.
        derived: TFMA's computations of results from results, in order.
        instances: TFMA's metric objects by key.
    """

    config: Any
    leaves: tuple[Leaf, ...]
    others: tuple[Any, ...]
    derived: tuple[Any, ...]
    instances: Mapping[Any, Any]

    @property
    def kinds(self) -> tuple[Sums, ...]:
        """Returns what is summed."""
        return tuple(leaf.kind for leaf in self.leaves)

    @property
    def baseline(self) -> str | None:
        """Returns the baseline's name, if there is one."""
        names = [s.name for s in self.config.model_specs if s.is_baseline]
        return names[0] if names else None


def plan(config: Any) -> Plan:
    """Reads an EvalConfig.

    Args:
        config: With TFMA's defaults, for the models that there are.
    """
    specs = _with_own_log_loss(config.metrics_specs)
    # Of all metrics together: several share a histogram, which is then summed once.
    computations = list(metric_specs.to_computations(specs, eval_config=config))
    leaves: dict[Any, Leaf] = {}
    others: dict[Any, Any] = {}
    derived: dict[Any, Any] = {}
    for each in computations:
        if isinstance(each, metric_types.DerivedMetricComputation):
            # A dict keeps TFMA's order, in which a computation follows what it reads,
            # and drops repetitions.
            derived.setdefault(each, each)
        elif each not in leaves and each not in others:
            leaf = _leaf(each)
            if leaf:
                leaves[each] = leaf
            else:
                others[each] = each
    found = metric_specs.keys_and_metrics_from_specs(config, config.metrics_specs)
    return Plan(
        config,
        tuple(leaves.values()),
        tuple(others),
        tuple(_quicker(each, tuple(leaves.values())) for each in derived),
        {key: instance for key, _, instance in found},
    )


def unknown_metrics(config: Any) -> list[str]:
    """Returns the class names of the metrics that TFMA computes row by row."""
    names: dict[str, None] = {}
    for spec in config.metrics_specs:
        for metric in spec.metrics:
            alone = config_pb2.MetricsSpec()
            alone.CopyFrom(spec)
            del alone.metrics[:]
            alone.metrics.append(metric)
            computations = metric_specs.to_computations(
                _with_own_log_loss([alone]), eval_config=config
            )
            rowwise = (
                isinstance(each, metric_types.MetricComputation) and not _leaf(each)
                for each in computations
            )
            if any(rowwise):
                names[metric.class_name] = None
    return list(names)


def results(planned: Plan, partial: Partial) -> Iterator[tuple[SliceKey, Metrics]]:
    """Computes all metrics and plots.

    Args:
        planned: The plan by which the rows were summed.
        partial: The sums of all rows.

    Yields:
        Each slice with its metrics, plots and differences to the baseline. A metric
        that is undefined is NaN.
    """
    for number, key in enumerate(partial.slices):
        metrics: Metrics = {}
        support: dict[tuple[str, bool], Support] = {}
        for leaf, table in zip(planned.leaves, partial.tables, strict=True):
            cells, sums = table.of_slice(number, leaf.kind.width)
            metrics.update(dict.fromkeys(leaf.keys, leaf.result(cells, sums)))
            if held := support_of(leaf.kind, sums):
                support[leaf.kind.model, leaf.kind.by_weight] = held
        for each, accumulator in zip(
            # Not strict: a plan without such metrics has no accumulators for any slice.
            planned.others,
            partial.others.get(key, ()),
            strict=False,
        ):
            metrics.update(each.combiner.extract_output(accumulator))
        yield key, _finished(planned, metrics, support)


def derive(planned: Plan, metrics: Metrics) -> Metrics:
    """Adds the metrics that TFMA derives from the combiners' results."""
    found = dict(metrics)
    for each in planned.derived:
        found.update(each.result(found))
    return found


def is_private(key: Any) -> bool:
    """Whether a key is of an intermediate result, which TFMA doesn't write."""
    return key.name.startswith("_") and not key.name.startswith("__")


def _finished(
    planned: Plan, metrics: Metrics, support: Mapping[tuple[str, bool], "Support"]
) -> Metrics:
    found = derive(planned, metrics)
    shown = {
        key: value if is_defined(planned.instances.get(key), held) else float("nan")
        for key, value in found.items()
        if not is_private(key)
        for held in [support.get((key.model_name, bool(key.example_weighted)))]
    }
    # After the undefined ones are NaN, so that their difference is NaN too.
    return shown | _differences(shown, planned.baseline)


def _differences(metrics: Metrics, baseline: str | None) -> Metrics:
    """Subtracts the baseline's numbers from the candidate's."""
    if not baseline:
        return {}
    return {
        key.make_diff_key(): value - metrics[key.make_baseline_key(baseline)]
        for key, value in metrics.items()
        if key.model_name != baseline
        and not key.is_diff
        and key.make_baseline_key(baseline) in metrics
        and _is_number(value)
    }


def _is_number(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return bool(np.issubdtype(value.dtype, np.number))
    structured = binary_confusion_matrices.types.StructuredMetricValue
    return isinstance(value, int | float | np.number | structured)


class Support(NamedTuple):
    """Weight of the negatives and the positives of a slice, for one model."""

    negative: float
    positive: float


def support_of(kind: Sums, sums: Floats) -> Support | None:
    """Reads the classes' weights from what was summed by label.

    Args:
        kind: The kind of sums.
        sums: [cells, quantities] of a slice.

    Returns:
        The weights; `None` if the sums are not by label.
    """
    if isinstance(kind, Histogram):
        return Support(float(sums[:, 0].sum()), float(sums[:, 3].sum()))
    if isinstance(kind, AboveThresholds):
        return Support(float(sums[:, 0].sum()), float(sums[:, 2].sum()))
    return None


# Without rows of one class TFMA returns 0 for these, which reads as the worst value.
_NEED_BOTH = (
    "AUC",
    "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
    "RecallAtFalsePositiveRate",
)
_NEED_POSITIVES = (
    "AUCPrecisionRecall",
    "AveragePrecision",
    "PrecisionAtRecall",
    "RecallAtPrecision",
    "MaxRecall",
    "ThresholdAtRecall",
)
_SMALL = 1e-9  # Sums of weights that cancel out to about nothing.


def is_defined(metric: Any, support: Support | None) -> bool:
    """Whether a metric is defined for the weights of the two classes.

    Args:
        metric: TFMA's metric object; None if it isn't known.
        support: None if the weights aren't known.
    """
    if metric is None or support is None:
        return True
    name = type(metric).__name__
    if name == "AUC" and metric.get_config().get("curve", "ROC").upper() == "PR":
        name = "AUCPrecisionRecall"
    if name in _NEED_BOTH:
        return min(support) > _SMALL
    return name not in _NEED_POSITIVES or support.positive > _SMALL


def _with_own_log_loss(specs: Sequence[Any]) -> list[Any]:
    """Replaces Keras' log loss by TFMA's, which has sums; both have the same name."""
    replaced = []
    for spec in specs:
        copy = config_pb2.MetricsSpec()
        copy.CopyFrom(spec)
        for metric in copy.metrics:
            # With settings, such as label smoothing, it is another metric.
            if metric.class_name == _KERAS_LOG_LOSS and not metric.config:
                metric.class_name, metric.module = _LOG_LOSS, ""
        replaced.append(copy)
    return replaced


def _leaf(computation: Any) -> Leaf | None:
    """Returns the sums that replace a combiner; `None` if there are none for it.

    A combiner is identified by the name of its class and by its settings. If another
    version of TFMA changes these, the combiner itself is used: slower, but not wrong.
    """
    known = _KNOWN.get(type(computation.combiner).__name__)
    settings = _settings(computation.combiner)
    if known is None or not _is_plain(settings):
        return None
    try:
        found = known(settings)
    # A setting that another version of TFMA has renamed.
    except AttributeError:
        return None
    if found is None:
        return None
    return Leaf(tuple(computation.keys), *found)


def _settings(combiner: Any) -> Any:
    """Returns the private attributes of a combiner, without their underscores."""
    named = {name.removeprefix("_"): value for name, value in vars(combiner).items()}
    return types.SimpleNamespace(**named)


def _is_plain(settings: Any) -> bool:
    key = getattr(settings, "key", None) or getattr(settings, "metric_key", None)
    unusual = (
        getattr(settings, "aggregation_type", None),
        getattr(settings, "class_weights", None),
        getattr(key, "sub_key", None),
        getattr(key, "output_name", None),
        getattr(settings, "output_name", None),
    )
    return not any(unusual)


_Known = tuple[Sums, Callable[[Integers, Floats], Any]] | None


def _histogram(of: Any) -> _Known:
    # Buckets by label are of a regression's plot.
    if not of.prediction_based_bucketing:
        return None
    left, right = float(of.left), float(of.left + of.range)
    kind = Histogram(
        of.key.model_name, of.example_weighted, of.num_buckets, left, right
    )
    return kind, _buckets


def _buckets(cells: Integers, sums: Floats) -> list[Any]:
    negative, positive = sums[:, Histogram.NEGATIVE], sums[:, Histogram.POSITIVE]
    columns = (
        cells.tolist(),
        positive[:, Histogram.WEIGHT].tolist(),
        (negative + positive)[:, Histogram.SCORE].tolist(),
        (negative + positive)[:, Histogram.WEIGHT].tolist(),
    )
    return [calibration_histogram.Bucket(*row) for row in zip(*columns, strict=True)]


class _Matrix(NamedTuple):
    tp: float
    tn: float
    fp: float
    fn: float


class _AtThreshold(NamedTuple):
    matrix: _Matrix
    tp_examples: Sequence[str] = ()
    tn_examples: Sequence[str] = ()
    fp_examples: Sequence[str] = ()
    fn_examples: Sequence[str] = ()


def _matrices(of: Any) -> _Known:
    inner = _settings(of.binary_confusion_matrices)
    # Examples of each kind would need the rows, and whole labels another rounding.
    if of.example_id_key or not of.enable_fractional_labels:
        return None
    kind = AboveThresholds(
        of.key.model_name,
        of.example_weighted,
        tuple(float(each) for each in inner.thresholds),
    )
    rising = kind.rising

    def result(cells: Integers, sums: Floats) -> dict[float, _AtThreshold]:
        dense = np.zeros((len(rising) + 1, sums.shape[1] if sums.size else 4))
        dense[cells] = sums
        # Both directions are summed: total minus one of them would leave 1e-12 where a
        # count is 0, and 0 / 0 would become a number.
        below = np.cumsum(dense, axis=0)
        above = np.cumsum(dense[::-1], axis=0)[::-1]
        return {
            threshold: _AtThreshold(
                _Matrix(
                    tp=float(above[at + 1, 2]),
                    tn=float(below[at, 0]),
                    fp=float(above[at + 1, 0]),
                    fn=float(below[at, 2]),
                )
            )
            for at, threshold in enumerate(rising.tolist())
        }

    return kind, result


def _moments(of: Any) -> _Known:
    kind = Moments(of.key.model_name, of.example_weighted)

    def result(cells: Integers, sums: Floats) -> Any:
        del cells
        label, score, weight = sums[:, :3].sum(axis=0).tolist()
        return types.SimpleNamespace(
            total_weighted_labels=label,
            total_weighted_predictions=score,
            total_weighted_examples=weight,
        )

    return kind, result


def _log_loss(of: Any) -> _Known:
    if of.from_logits or of.label_smoothing:
        return None
    kind = LogLoss(of.metric_key.model_name, of.example_weighted)

    def result(cells: Integers, sums: Floats) -> float:
        del cells
        loss, weight = sums[:, :2].sum(axis=0).tolist()
        return loss / weight if weight else float("nan")

    return kind, result


def _own(of: Any) -> _Known:
    """Returns the sums that our own metrics are made of."""
    return of.kind, of.result


def _error(column: str) -> Callable[[Any], _Known]:
    def known(of: Any) -> _Known:
        kind = Errors(of.metric_key.model_name, of.example_weighted)
        return kind, lambda cells, sums: getattr(kind.means(cells, sums), column)

    return known


def _class_matrices(of: Any) -> _Known:
    # A threshold leaves rows without a predicted class, which our sums don't know.
    if list(of.thresholds) != [0.0]:
        return None
    kind = ClassMatrix(of.key.model_name, of.example_weighted)

    def result(cells: Integers, sums: Floats) -> Any:
        entries = {
            multi_class_confusion_matrix_metrics.MatrixEntryKey(
                actual, predicted
            ): value
            for actual, predicted, value in zip(
                *(each.tolist() for each in kind.classes_of(cells)),
                sums[:, 0].tolist(),
                strict=True,
            )
        }
        return multi_class_confusion_matrix_metrics.Matrices({0.0: entries})

    return kind, result


def _count(of: Any) -> _Known:
    def result(cells: Integers, sums: Floats) -> float:
        del cells
        return float(sums.sum())

    return Count(of.model_name, of.example_weighted), result


_KNOWN: Mapping[str, Callable[[Any], _Known]] = {
    "_CalibrationHistogramCombiner": _histogram,
    "_BinaryConfusionMatrixCombiner": _matrices,
    "_WeightedLabelsPredictionsExamplesCombiner": _moments,
    "_BinaryCrossEntropyCombiner": _log_loss,
    "_ExampleCountCombiner": _count,
    "_MeanAbsoluteErrorCombiner": _error("absolute"),
    "_MeanSquaredErrorCombiner": _error("squared"),
    "_MultiClassConfusionMatrixCombiner": _class_matrices,
    "SumsCombiner": _own,
}


def _quicker(computation: Any, leaves: Sequence[Leaf]) -> Any:
    """Replaces TFMA's loop from histograms to matrices by array operations."""
    if len(computation.keys or ()) != 1 or not computation.keys[0].name.startswith(
        binary_confusion_matrices.BINARY_CONFUSION_MATRICES_NAME
    ):
        return computation
    found = HistogramMatrices.of(computation)
    # Only for histograms with the usual number of buckets, for which the cuts were
    # learned.
    usual = any(
        found and found.histogram in leaf.keys and leaf.kind.width == BUCKETS
        for leaf in leaves
    )
    return found if usual else computation
