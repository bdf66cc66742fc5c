"""The Evaluator's settings: metrics, slices, and the thresholds of a blessing."""

from collections.abc import Mapping

# TFMA 0.52 forgets to export these; TFX patches them in, but only on its own import.
from tensorflow_model_analysis.proto import (
    config_pb2,
)

from models import declared, signatures
from pipeline.config import Quality

METRICS = (
    # AUC is not here: it is the one that thresholds are on.
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
                prediction_key=signatures.scores_of(declared.LABEL),
                preprocessing_function_names=["transform_features"],
                label_key=declared.LABEL_NAME,
                example_weight_key=declared.WEIGHT_NAME,
            )
        ],
        slicing_specs=[
            # The empty spec is all rows; without it there would be no overall metric.
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[c]) for c in quality.slice_columns),
            *(config_pb2.SlicingSpec(feature_keys=by) for by in quality.crosses),
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
        # Overall only: a small slice misses a threshold by chance, and an unchanged
        # pipeline would be rejected now and then.
        slicing_specs=[config_pb2.SlicingSpec()],
        threshold=config_pb2.MetricThreshold(
            value_threshold=config_pb2.GenericValueThreshold(
                lower_bound={"value": quality.min_auc}
            ),
            change_threshold=config_pb2.GenericChangeThreshold(
                direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
                # Negative, because it bounds candidate minus baseline from below.
                absolute={"value": -quality.max_auc_loss},
            ),
        ),
    )
