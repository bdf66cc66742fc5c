"""Metrics from sums: literal rows in, known values out."""

import numpy as np
import pytest
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from pipeline.quality.aggregates import Partial, Scored, summed
from pipeline.quality.metrics import Metrics, plan, results, unknown_metrics
from pipeline.quality.slices import SliceKey, Spec, Values, members

LABELS = [1.0, 1.0, 0.0, 0.0]
# Three of four pairs of a positive and a negative are in the right order.
SCORES = [0.9, 0.3, 0.4, 0.1]


def config(*metrics: str) -> config_pb2.EvalConfig:
    """Asks for metrics of one model, overall."""
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(label_key="label")],
        slicing_specs=[config_pb2.SlicingSpec()],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[config_pb2.MetricConfig(class_name=name) for name in metrics]
            )
        ],
    )


def found_in(
    metrics: tuple[str, ...],
    labels: list[float] = LABELS,
    parts: list[int] | None = None,
) -> dict[SliceKey, dict[str, float]]:
    """Sums rows and computes the metrics of each slice, by name."""
    planned = plan(config(*metrics))
    scored = Scored(np.array(labels), np.array(SCORES), np.ones(len(labels)))
    columns = {"part": Values.of(np.array(parts))} if parts else {}
    specs = [Spec(), Spec(("part",))] if parts else [Spec()]
    inside = members(specs, columns, len(labels))
    partial = Partial(inside.keys, summed(planned.kinds, {"": scored}, inside))
    return {key: by_name(found) for key, found in results(planned, partial)}


def by_name(metrics: Metrics) -> dict[str, float]:
    """Numbers by the names of their metrics, plots left out."""
    return {
        key.name: float(value)
        for key, value in metrics.items()
        if not isinstance(key, metric_types.PlotKey)
    }


def test_metrics_of_four_rows() -> None:
    """AUC, accuracy, mean label and count are those that one computes by hand."""
    (found,) = found_in(("AUC", "BinaryAccuracy", "MeanLabel", "ExampleCount")).values()

    assert found["auc"] == pytest.approx(0.75, abs=1e-6)
    assert found["binary_accuracy"] == 0.75
    assert found["mean_label"] == 0.5
    assert found["example_count"] == 4


def test_each_slice_has_its_own_metrics() -> None:
    """Rows of a slice count for it and for all."""
    found = found_in(("ExampleCount", "MeanLabel"), parts=[1, 1, 1, 2])

    assert found[()] == {"example_count": 4, "mean_label": 0.5}
    assert found[("part", 1),]["mean_label"] == pytest.approx(2 / 3)
    assert found[("part", 2),] == {"example_count": 1, "mean_label": 0.0}


@pytest.mark.parametrize(
    ("label", "undefined"), [(0.0, {"auc", "auc_precision_recall"}), (1.0, {"auc"})]
)
def test_what_needs_both_classes_is_undefined_with_one(
    label: float, undefined: set[str]
) -> None:
    """AUC needs both classes, AUC-PR positives, and accuracy neither."""
    (found,) = found_in(
        ("AUC", "AUCPrecisionRecall", "BinaryAccuracy"), [label] * 4
    ).values()

    assert {name for name, value in found.items() if np.isnan(value)} == undefined


def test_metrics_that_only_tfma_computes_are_named() -> None:
    """Those that ours sums are not among them."""
    rowwise = "MeanSquaredLogarithmicError"
    asked = config("AUC", rowwise, "Calibration", "BinaryCrossentropy")

    assert unknown_metrics(asked) == [rowwise]


def test_one_histogram_serves_several_metrics() -> None:
    """What two metrics read is summed once."""
    both = plan(config("AUC", "AUCPrecisionRecall"))

    assert len(both.kinds) == 1
    assert both.others == ()
    assert both.baseline is None
