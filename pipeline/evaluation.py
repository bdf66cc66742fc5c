"""What the Evaluator measures, on which slices, and what blesses a candidate."""

from collections.abc import Mapping
from pathlib import Path

import tensorflow_model_analysis as tfma

# TFMA 0.52 forgets to export these; TFX patches them in, but only on its own import.
from tensorflow_model_analysis.proto import (
    config_pb2,
    metrics_for_slice_pb2,
    validation_result_pb2,
)

from models import features, signatures
from pipeline.config import Quality

Slice = tuple[tuple[str, str], ...]
OVERALL: Slice = ()
CANDIDATE = "candidate"

METRICS = (
    "AUCPrecisionRecall",
    "BinaryAccuracy",
    "BinaryCrossEntropy",
    "Calibration",
    "MeanLabel",
    "MeanPrediction",
    "ExampleCount",
    "WeightedExampleCount",
    "CalibrationPlot",
)
SHOWN_METRICS: Mapping[str, str] = {
    "auc": "AUC",
    "auc_precision_recall": "AUC-PR",
    "binary_accuracy": "accuracy",
    "binary_crossentropy": "log loss",
    "calibration": "calibration (predicted / actual)",
    "example_count": "rows",
}


def eval_config(quality: Quality) -> config_pb2.EvalConfig:
    """Builds TFMA's settings.

    A candidate is blessed when its AUC on the test split reaches `min_auc` and, as soon
    as there is a blessed baseline, is at most `max_auc_loss` lower than the baseline's.
    Rows with an unknown label weigh nothing in any metric.

    Args:
        quality: Thresholds, and the raw columns to slice by.

    Returns:
        The settings, complete for a candidate and a baseline model.
    """
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name="serving_default",
                prediction_key=signatures.PROBABILITY,
                preprocessing_function_names=["transform_features"],
                label_key=features.LABEL,
                example_weight_key=features.WEIGHT,
            )
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[c]) for c in quality.slice_columns),
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(
                        class_name="AUC",
                        per_slice_thresholds=[_overall_auc_threshold(quality)],
                    ),
                    *(config_pb2.MetricConfig(class_name=name) for name in METRICS),
                ]
            )
        ],
    )


def _overall_auc_threshold(quality: Quality) -> config_pb2.PerSliceMetricThreshold:
    return config_pb2.PerSliceMetricThreshold(
        slicing_specs=[config_pb2.SlicingSpec()],
        threshold=config_pb2.MetricThreshold(
            value_threshold=config_pb2.GenericValueThreshold(
                lower_bound={"value": quality.min_auc}
            ),
            change_threshold=config_pb2.GenericChangeThreshold(
                direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
                absolute={"value": -quality.max_auc_loss},
            ),
        ),
    )


def read_metrics(evaluation: Path) -> dict[str, dict[Slice, dict[str, float]]]:
    """Reads what the Evaluator wrote.

    Args:
        evaluation: Directory of a ModelEvaluation artifact.

    Returns:
        For each model (candidate first, then baseline if there was one), for each
        slice (`OVERALL` is the empty one), the value of each single-number metric.
    """
    models: dict[str, dict[Slice, dict[str, float]]] = {}
    for record in tfma.load_metrics(str(evaluation)):
        name = tuple(
            (key.column, _slice_value(key))
            for key in record.slice_key.single_slice_keys
        )
        for entry in record.metric_keys_and_values:
            if entry.key.is_diff or not entry.value.HasField("double_value"):
                continue
            model = models.setdefault(entry.key.model_name or CANDIDATE, {})
            value = entry.value.double_value.value
            model.setdefault(name, {})[entry.key.name] = value
    return {n: models[n] for n in sorted(models, key=lambda n: n != CANDIDATE)}


def reasons_against(evaluation: Path) -> list[str]:
    """Says for each threshold that a candidate missed what it reached and what not.

    Args:
        evaluation: Directory of a ModelEvaluation artifact.

    Returns:
        A sentence a threshold; none when the candidate was blessed.
    """
    result = tfma.load_validation_result(str(evaluation))
    reasons = []
    for failed in result.metric_validations_per_slice:
        keys = failed.slice_key.single_slice_keys
        where = ", ".join(f"{k.column} {_slice_value(k)}" for k in keys) or "overall"
        reasons += [f"{where}: {_reason(failure)}" for failure in failed.failures]
    if not result.validation_ok and not reasons:
        reasons.append("no threshold was checked: the test split gave no metric")
    return reasons


def _slice_value(key: metrics_for_slice_pb2.SingleSliceKey) -> str:
    kind = key.WhichOneof("kind")
    value = getattr(key, kind) if kind else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _reason(failure: validation_result_pb2.ValidationFailure) -> str:
    metric, threshold = failure.metric_key, failure.metric_threshold
    if not failure.metric_value.HasField("double_value"):
        return f"{metric.name} has no value: {failure.message}"
    value = failure.metric_value.double_value.value
    if metric.is_diff:
        most = -threshold.change_threshold.absolute.value
        return (
            f"{metric.name} is {-value:.4g} below the baseline's; "
            f"at most {most:.4g} is allowed"
        )
    least = threshold.value_threshold.lower_bound.value
    return f"{metric.name} is {value:.4g}; it must be at least {least:.4g}"
