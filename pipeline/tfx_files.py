"""Reads what TFX's components write, without importing TensorFlow or TFX.

Both take seconds to import, and a question about an old run should take none. The
formats are those of TFX 1.x; a directory that is gone or empty gives no answer rather
than an error, because stores outlive the files they point to.
"""

import importlib
import importlib.util
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from pipeline.ingestion.tfrecord import read_records

Slice = tuple[tuple[str, str], ...]
OVERALL: Slice = ()
CANDIDATE = "candidate"
BASELINE = "baseline"
Metrics = dict[str, dict[Slice, dict[str, float]]]

_TFMA = "tensorflow_model_analysis"
# In the order in which they build on each other: they don't import what they need.
_TFMA_PROTOS = ("config_pb2", "metrics_for_slice_pb2", "validation_result_pb2")


def local_path(uri: str) -> Path | None:
    """Turns an artifact's URI into a path; none if it is not on this machine."""
    parts = urlsplit(uri)
    if parts.scheme in {"", "file"} and (path := Path(parts.path)).exists():
        return path
    return None


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
    stand_in = types.ModuleType(_TFMA)
    stand_in.__path__ = list(spec.submodule_search_locations or [])
    sys.modules[_TFMA] = stand_in
    try:
        return _import_protos()[name]
    finally:
        # The real package must find nothing of the stand-in.
        for loaded in [m for m in sys.modules if m.partition(".")[0] == _TFMA]:
            del sys.modules[loaded]


def read_statistics(
    directory: Path,
) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
    """Reads an ExampleStatistics artifact: the statistics of each split."""
    found = {}
    for split, path in _splits(directory, "FeatureStats.pb"):
        everything = statistics_pb2.DatasetFeatureStatisticsList()
        everything.ParseFromString(path.read_bytes())
        found[split] = everything.datasets[0]
    return found


def read_anomalies(directory: Path) -> dict[str, anomalies_pb2.Anomalies]:
    """Reads an ExampleAnomalies artifact: the anomalies of each split."""
    found = {}
    for split, path in _splits(directory, "SchemaDiff.pb"):
        found[split] = anomalies_pb2.Anomalies()
        found[split].ParseFromString(path.read_bytes())
    return found


def read_schema(directory: Path) -> schema_pb2.Schema | None:
    """Reads a Schema artifact; none if it is gone."""
    path = directory / "schema.pbtxt"
    if not path.is_file():
        return None
    return text_format.Parse(path.read_text("utf-8"), schema_pb2.Schema())


def read_metrics(directory: Path) -> Metrics:
    """Reads a ModelEvaluation artifact.

    Returns:
        For each model (candidate first, then baseline if there was one), for each
        slice (`OVERALL` is the empty one), the value of each single-number metric.
    """
    protos = tfma_proto("metrics_for_slice_pb2")
    models: Metrics = {}
    for path in sorted(directory.glob("metrics*")):
        for record in read_records(path):
            found = protos.MetricsForSlice.FromString(record)
            where = _slice(found.slice_key)
            for entry in found.metric_keys_and_values:
                if not entry.key.is_diff and entry.value.HasField("double_value"):
                    name = entry.key.model_name or CANDIDATE
                    values = models.setdefault(name, {}).setdefault(where, {})
                    values[entry.key.name] = entry.value.double_value.value
    return {n: models[n] for n in sorted(models, key=lambda n: n != CANDIDATE)}


def read_calibration(directory: Path) -> dict[str, list[dict[str, float]]]:
    """Reads the overall calibration histogram of a ModelEvaluation artifact.

    Returns:
        For each model its buckets, lowest prediction first: "lower" and "upper" bound
        of the prediction, and the sums over the bucket's rows of "weight", "label" and
        "prediction". Empty if the Evaluator was not asked for a CalibrationPlot.
    """
    protos = tfma_proto("metrics_for_slice_pb2")
    models: dict[str, list[dict[str, float]]] = {}
    for path in sorted(directory.glob("plots*")):
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


def read_reasons(directory: Path) -> list[str]:
    """Says for each threshold that a candidate missed what it reached and what not.

    Args:
        directory: Of a ModelEvaluation artifact.

    Returns:
        A sentence a threshold; none when the candidate was blessed.
    """
    protos = tfma_proto("validation_result_pb2")
    reasons: list[str] = []
    for path in sorted(directory.glob("validations*")):
        for record in read_records(path):
            result = protos.ValidationResult.FromString(record)
            for failed in result.metric_validations_per_slice:
                where = slice_name(_slice(failed.slice_key))
                reasons += [f"{where}: {_reason(f)}" for f in failed.failures]
            if result.missing_thresholds:
                reasons.append("no threshold was checked: there is no metric")
    return reasons


def read_learning_curves(directory: Path) -> dict[str, list[float]]:
    """Reads the history.json of a ModelRun artifact; empty if it has none."""
    path = directory / "history.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def slice_name(where: Slice) -> str:
    """Names a slice for people, such as "payment_type Cash", or "overall"."""
    return ", ".join(f"{column} {value}" for column, value in where) or "overall"


def row_counts(directory: Path) -> dict[str, int]:
    """Returns the rows of each split by an ExampleStatistics artifact."""
    return {n: int(s.num_examples) for n, s in read_statistics(directory).items()}


def _import_protos() -> dict[str, types.ModuleType]:
    return {n: importlib.import_module(f"{_TFMA}.proto.{n}") for n in _TFMA_PROTOS}


def _splits(directory: Path, name: str) -> Iterator[tuple[str, Path]]:
    found = sorted(directory.glob(f"Split-*/{name}"))
    order = {"train": 0, "eval": 1, "test": 2}
    by_name = {path.parent.name.removeprefix("Split-"): path for path in found}
    yield from sorted(by_name.items(), key=lambda item: order.get(item[0], 9))


def _slice(key: Any) -> Slice:
    return tuple((k.column, _slice_value(k)) for k in key.single_slice_keys)


def _slice_value(key: Any) -> str:
    kind = key.WhichOneof("kind")
    value = getattr(key, kind) if kind else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


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
        if bounds.HasField("upper_bound") and value > most.value:
            return f"{metric.name} is {value:.4g}; it must be at most {most.value:.4g}"
        return f"{metric.name} is {value:.4g}; it must be at least {least.value:.4g}"
    change = threshold.change_threshold
    limit = change.absolute if change.HasField("absolute") else change.relative
    kind = "" if change.HasField("absolute") else " (relative)"
    return (
        f"{metric.name} differs from the baseline's by {value:.4g}; "
        f"the limit is {limit.value:.4g}{kind}"
    )
