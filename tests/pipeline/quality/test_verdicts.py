"""What blesses a candidate: thresholds against literal metrics."""

import pytest
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from pipeline.quality.verdicts import verdict

AUC = metric_types.MetricKey(name="auc")
PLOT = metric_types.PlotKey(name="a plot")


def config(least: float) -> config_pb2.EvalConfig:
    """Asks for an AUC of all rows."""
    metric = config_pb2.MetricConfig(class_name="AUC", config='{"name": "auc"}')
    metric.threshold.value_threshold.lower_bound.value = least
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec()],
        slicing_specs=[config_pb2.SlicingSpec()],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[metric])],
    )


@pytest.mark.parametrize(("auc", "blessed"), [(0.81, True), (0.8, True), (0.79, False)])
def test_a_metric_is_held_against_its_threshold(auc: float, *, blessed: bool) -> None:
    """A metric at the bound passes, one below it fails with its value."""
    found = verdict(config(0.8), [((), {AUC: auc, PLOT: "not a number"})])

    assert found.validation_ok is blessed
    values = [
        failure.metric_value.double_value.value
        for each in found.metric_validations_per_slice
        for failure in each.failures
    ]
    assert values == ([] if blessed else [auc])


def test_an_undefined_metric_misses_its_threshold() -> None:
    """It fails with a reason instead of a value."""
    found = verdict(config(0.0), [((), {AUC: float("nan")})])

    assert not found.validation_ok
    ((failure,),) = (each.failures for each in found.metric_validations_per_slice)
    assert not failure.HasField("metric_value")
    assert "undefined on these rows" in failure.message
