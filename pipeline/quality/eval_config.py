"""The Evaluator's settings: metrics, slices, and the thresholds of a blessing."""

from collections.abc import Mapping
from dataclasses import dataclass

# TFMA 0.52 forgets to export these; TFX patches them in, but only on its own import.
from tensorflow_model_analysis.proto import (
    config_pb2,
)

from models import declared, signatures
from models.declarations import Task
from pipeline.config import Quality

_OURS = "pipeline.quality.task_metrics"
_COUNTS = ("ExampleCount", "WeightedExampleCount")


@dataclass(frozen=True)
class Metrics:
    """The metrics of a kind of task.

    Attributes:
        gated: Class name of the metric that thresholds are on.
        others: Class names of TFMA's further metrics.
        ours: Class names of those in `pipeline.quality.task_metrics`.
    """

    gated: str
    others: tuple[str, ...]
    ours: tuple[str, ...] = ()

    def config(self, class_name: str) -> config_pb2.MetricConfig:
        """Returns a metric as an EvalConfig names it."""
        module = _OURS if class_name in self.ours else ""
        return config_pb2.MetricConfig(class_name=class_name, module=module)


METRICS: Mapping[Task, Metrics] = {
    "binary": Metrics(
        "AUC",
        (
            "AUCPrecisionRecall",
            "BinaryAccuracy",
            "BinaryCrossEntropy",
            "Calibration",
            "MeanLabel",
            "MeanPrediction",
            *_COUNTS,
            "CalibrationPlot",
        ),
    ),
    "classes": Metrics(
        "AccuracyGain",
        (*_COUNTS, "MultiClassConfusionMatrixPlot"),
        ours=("AccuracyGain", "Accuracy", "MacroAUC", "CrossEntropy", "MajorityShare"),
    ),
    "regression": Metrics(
        "R2",
        (
            "MeanAbsoluteError",
            "Calibration",
            "MeanLabel",
            "MeanPrediction",
            *_COUNTS,
        ),
        ours=("R2", "RMSE"),
    ),
}


def eval_config(quality: Quality, task: Task = declared.TASK) -> config_pb2.EvalConfig:
    """Builds TFMA's settings.

    A candidate is blessed when the task's metric on the test split reaches its
    threshold and, as soon as there is a blessed baseline, is not lower than the
    baseline's by more than is allowed. Rows with an unknown label weigh nothing in any
    metric.

    Args:
        quality: Thresholds, and the raw columns to slice by.
        task: The kind of task.

    Returns:
        The settings, complete for a candidate and a baseline model.
    """
    metrics = METRICS[task]
    gated = metrics.config(metrics.gated)
    gated.per_slice_thresholds.append(_overall_threshold(*_bounds(quality, task)))
    others = [
        each for each in (*metrics.ours, *metrics.others) if each != metrics.gated
    ]
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
            config_pb2.MetricsSpec(metrics=[gated, *map(metrics.config, others)])
        ],
    )


def _bounds(quality: Quality, task: Task) -> tuple[float, float]:
    """Returns the lowest value of a task's metric, and its largest loss."""
    match task:
        case "binary":
            return quality.min_auc, quality.max_auc_loss
        case "classes":
            return quality.min_accuracy_gain, quality.max_accuracy_loss
        case "regression":
            return quality.min_r2, quality.max_r2_loss


def _overall_threshold(
    least: float, most_lost: float
) -> config_pb2.PerSliceMetricThreshold:
    return config_pb2.PerSliceMetricThreshold(
        # Overall only: a small slice misses a threshold by chance, and an unchanged
        # pipeline would be rejected now and then.
        slicing_specs=[config_pb2.SlicingSpec()],
        threshold=config_pb2.MetricThreshold(
            value_threshold=config_pb2.GenericValueThreshold(
                lower_bound={"value": least}
            ),
            change_threshold=config_pb2.GenericChangeThreshold(
                direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
                # Negative, because it bounds candidate minus baseline from below.
                absolute={"value": -most_lost},
            ),
        ),
    )
