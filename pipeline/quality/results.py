"""Reads the files that an Evaluator writes, without importing TensorFlow or TFMA.

Both take seconds to import, and a query about an old run should not. The
formats are those of TFMA 0.52.
"""

import importlib
import importlib.util
import json
import math
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# TFMA's protos need it registered, and don't import it themselves.
from google.protobuf import wrappers_pb2  # noqa: F401

from pipeline.columnar import files
from pipeline.columnar.files import Location
from pipeline.ingestion.tfrecord import read_records
from pipeline.quality import rules, titles
from pipeline.quality.rules import GATES_FILE

Slice = tuple[tuple[str, str], ...]
OVERALL: Slice = ()
CANDIDATE = "candidate"
BASELINE = "baseline"
Metrics = dict[str, dict[Slice, dict[str, float]]]
Intervals = dict[str, dict[Slice, dict[str, tuple[float, float]]]]
UNDEFINED = "-"
"""Shown where a metric has no value, such as the AUC of rows of one class."""

# Names of rules' metrics that the evaluation calls otherwise.
_NAMES = {"mae": "mean_absolute_error"}
# From here on the four digits would be an exponent and less than the whole part.
_LARGE = 1000
_TFMA = "tensorflow_model_analysis"
# In the order in which they build on each other: they don't import what they need.
_TFMA_PROTOS = ("config_pb2", "metrics_for_slice_pb2", "validation_result_pb2")


def tfma_proto(name: str) -> types.ModuleType:
    """Imports a proto module of TFMA without TFMA, which would import TensorFlow.

    Args:
        name: Such as metrics_for_slice_pb2.
    """
    if _TFMA in sys.modules:
        return _import_protos()[name]
    spec = importlib.util.find_spec(_TFMA)
    if spec is None:
        raise ImportError(f"{_TFMA} is not installed")
    # A package object without its __init__: Python then finds submodules by the path
    # alone and never runs the import of TensorFlow.
    stand_in = types.ModuleType(_TFMA)
    stand_in.__path__ = list(spec.submodule_search_locations or [])
    sys.modules[_TFMA] = stand_in
    try:
        return _import_protos()[name]
    finally:
        # The real package must find nothing of the stand-in.
        for loaded in [m for m in sys.modules if m.partition(".")[0] == _TFMA]:
            del sys.modules[loaded]


def read_metrics(directory: Location) -> Metrics:
    """Reads a ModelEvaluation artifact.

    Returns:
        For each model (candidate first, then baseline if there was one), for each
        slice (`OVERALL` is the empty one), the value of each single-number metric that
        is defined there.
    """
    models: Metrics = {}
    for where, entry in _entries(directory):
        name = entry.key.model_name or CANDIDATE
        # A slice without a defined metric still has an entry: it was evaluated.
        values = models.setdefault(name, {}).setdefault(where, {})
        # The stock Evaluator writes NaN where ours writes nothing.
        if not math.isnan(entry.value.double_value.value):
            values[entry.key.name] = entry.value.double_value.value
    for slices in models.values():
        for values in slices.values():
            _drop_undefined(values)
    return {n: models[n] for n in sorted(models, key=lambda n: n != CANDIDATE)}


def read_intervals(directory: Location) -> Intervals:
    """Reads the 95 % confidence intervals of a ModelEvaluation artifact.

    Returns:
        For each model, slice and metric with an interval its lower and upper bound:
        `ci_low`, `ci_high`. Of a binary model, metrics that no threshold is on have
        none; the rules give those of other tasks one each.
    """
    models: Intervals = {}
    for where, entry in _entries(directory):
        if entry.HasField("confidence_interval"):
            bounds = entry.confidence_interval
            name = entry.key.model_name or CANDIDATE
            found = models.setdefault(name, {}).setdefault(where, {})
            found[entry.key.name] = (
                bounds.lower_bound.double_value.value,
                bounds.upper_bound.double_value.value,
            )
    for each in read_gates(directory).get("metrics", ()):
        where = tuple((column, value) for column, value in each["where"])
        if more := intervals_of_rules(each["metrics"]):
            found = models.setdefault(CANDIDATE, {}).setdefault(where, {})
            found.update(more | found)
    return models


def intervals_of_rules(
    metrics: Mapping[str, Sequence[float | None]],
) -> dict[str, tuple[float, float]]:
    """Returns the intervals of those metrics of rules that the evaluation has too.

    Args:
        metrics: Value, lower and upper bound by the rules' name, as of `read_gates`.

    Returns:
        Bounds by the evaluation's name; empty for a binary model, whose rules are about
        decisions by its own threshold.
    """
    if titles.task_of(metrics) == "binary":
        return {}
    return {
        _NAMES.get(name, name): (low, high)
        for name, (_, low, high) in metrics.items()
        if low is not None and high is not None and " of " not in name
    }


def read_calibration(directory: Location) -> dict[str, list[dict[str, float]]]:
    """Reads the overall calibration histogram of a ModelEvaluation artifact.

    Returns:
        For each model its buckets, lowest prediction first: "lower" and "upper" bound
        of the prediction, and the sums over the bucket's rows of "weight", "label" and
        "prediction". Empty if the Evaluator was not asked for a CalibrationPlot.
    """
    protos = tfma_proto("metrics_for_slice_pb2")
    models: dict[str, list[dict[str, float]]] = {}
    for path in _files(directory, "plots"):
        for record in read_records(path):
            found = protos.PlotsForSlice.FromString(record)
            if _slice(found.slice_key) != OVERALL:
                continue
            for entry in found.plot_keys_and_values:
                histogram = entry.value.calibration_histogram_buckets
                if histogram.buckets:
                    name = entry.key.model_name or CANDIDATE
                    models[name] = [_bucket(b) for b in histogram.buckets]
    return models


def read_class_matrix(directory: Location) -> dict[str, dict[tuple[int, int], float]]:
    """Reads the overall confusion matrix of the classes.

    Returns:
        For each model the weight of the rows by numbers of the actual and the predicted
        class. Empty if the Evaluator was not asked for it.
    """
    protos = tfma_proto("metrics_for_slice_pb2")
    models: dict[str, dict[tuple[int, int], float]] = {}
    for path in _files(directory, "plots"):
        for record in read_records(path):
            found = protos.PlotsForSlice.FromString(record)
            if _slice(found.slice_key) != OVERALL:
                continue
            for entry in found.plot_keys_and_values:
                for (
                    matrix
                ) in entry.value.multi_class_confusion_matrix_at_thresholds.matrices:
                    models[entry.key.model_name or CANDIDATE] = {
                        (
                            e.actual_class_id,
                            e.predicted_class_id,
                        ): e.num_weighted_examples
                        for e in matrix.entries
                    }
    return models


def read_reasons(directory: Location) -> list[str]:
    """Returns a sentence for each threshold that a candidate missed.

    Args:
        directory: Directory of a ModelEvaluation artifact.

    Returns:
        Metric, value and threshold in words, those of the gates first; empty if the
        candidate was blessed.
    """
    findings = read_gates(directory).get("findings", ())
    broken = [each["text"] for each in findings if each["outcome"] == "failed"]
    missed = _thresholds_missed(directory)
    # The gates judge the task's metric too, with more to say of it.
    judged = {f"overall: {rules.parse(each['rule']).metric} " for each in findings}
    others = [text for text in missed if not text.startswith(tuple(judged))]
    return [*broken, *others] if broken else missed


def read_gates(directory: Location) -> dict[str, Any]:
    """Reads the verdict by rules of a ModelEvaluation artifact.

    Returns:
        "findings", "metrics" by slice, "threshold", "confidence", "comparisons" and
        "calibration", see `pipeline.quality.gates.Judged`; empty if the Evaluator was
        given no rules.
    """
    place = files.join(directory, GATES_FILE)
    return json.loads(files.read_text(place)) if files.exists(place) else {}


def _thresholds_missed(directory: Location) -> list[str]:
    protos = tfma_proto("validation_result_pb2")
    reasons: list[str] = []
    for path in _files(directory, "validations"):
        for record in read_records(path):
            result = protos.ValidationResult.FromString(record)
            for failed in result.metric_validations_per_slice:
                where = slice_name(_slice(failed.slice_key))
                reasons += [f"{where}: {_reason(f)}" for f in failed.failures]
            # An empty test split fails without any failed check.
            if result.missing_thresholds or not (result.validation_ok or reasons):
                reasons.append(
                    "no threshold was checked: the test split gave no metric"
                )
    return reasons


def metric_text(value: float | None) -> str:
    """Formats a metric: whole and large numbers in full, the rest with four digits.

    Args:
        value: The value; `None` or NaN if the metric is undefined.

    Returns:
        Such as "0.9592", "198,612", or "-" for an undefined one.
    """
    if value is None or math.isnan(value):
        return UNDEFINED
    if math.isfinite(value) and (value.is_integer() or abs(value) >= _LARGE):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def slice_name(where: Slice) -> str:
    """Formats a slice, such as "payment_type Cash", or "overall"."""
    return ", ".join(f"{column} {value}" for column, value in where) or "overall"


def _entries(directory: Location) -> Iterator[tuple[Slice, Any]]:
    """Yields each single-number metric of a model with its slice."""
    protos = tfma_proto("metrics_for_slice_pb2")
    for path in _files(directory, "metrics"):
        for record in read_records(path):
            found = protos.MetricsForSlice.FromString(record)
            # A difference between two slices is no slice's metric.
            if found.HasField("cross_slice_key"):
                continue
            where = _slice(found.slice_key)
            for entry in found.metric_keys_and_values:
                if not entry.key.is_diff and entry.value.HasField("double_value"):
                    yield where, entry


def _files(directory: Location, kind: str) -> list[str]:
    found = files.listed(directory)
    return [file for file in found if files.name_of(file).startswith(kind)]


def _import_protos() -> dict[str, types.ModuleType]:
    return {n: importlib.import_module(f"{_TFMA}.proto.{n}") for n in _TFMA_PROTOS}


def _slice(key: Any) -> Slice:
    return tuple((k.column, _slice_value(k)) for k in key.single_slice_keys)


def _slice_value(key: Any) -> str:
    kind = key.WhichOneof("kind")
    value = getattr(key, kind) if kind else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _drop_undefined(values: dict[str, float]) -> None:
    """Removes metrics that the stock Evaluator writes as 0 although undefined.

    An area under the ROC curve needs both classes, one under precision and recall needs
    positives, and TFMA 0.52 divides nothing by nothing to 0.
    """
    positives = values.get("mean_label")
    if positives is None:
        return
    if "auc" in values and not 0 < positives < 1:
        del values["auc"]
    if "auc_precision_recall" in values and not positives > 0:
        del values["auc_precision_recall"]


def _bucket(bucket: Any) -> dict[str, float]:
    return {
        "lower": bucket.lower_threshold_inclusive,
        "upper": bucket.upper_threshold_exclusive,
        "weight": bucket.num_weighted_examples.value,
        "label": bucket.total_weighted_label.value,
        "prediction": bucket.total_weighted_refined_prediction.value,
    }


def _reason(failure: Any) -> str:
    metric, threshold = failure.metric_key, failure.metric_threshold
    if not failure.metric_value.HasField("double_value"):
        return f"{metric.name} has no value: {failure.message}"
    value = failure.metric_value.double_value.value
    if not metric.is_diff:
        bounds = threshold.value_threshold
        least, most = bounds.lower_bound, bounds.upper_bound
        # A threshold may have both bounds; the one that was missed is the reason.
        if bounds.HasField("upper_bound") and value > most.value:
            return f"{metric.name} is {value:.4g}; it must be at most {most.value:.4g}"
        return f"{metric.name} is {value:.4g}; it must be at least {least.value:.4g}"
    change = threshold.change_threshold
    limit = change.absolute if change.HasField("absolute") else change.relative
    if change.HasField("absolute") and value < 0:
        return (
            f"{metric.name} is {-value:.4g} below the baseline's; "
            f"at most {-limit.value:.4g} is allowed"
        )
    kind = "" if change.HasField("absolute") else " (relative)"
    return (
        f"{metric.name} differs from the baseline's by {value:.4g}; "
        f"the limit is {limit.value:.4g}{kind}"
    )
