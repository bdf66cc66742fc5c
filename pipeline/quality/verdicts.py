"""Checks the thresholds of an EvalConfig on all slices, by TFMA's own code."""

import math
from collections.abc import Iterable
from typing import Any

from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.writers.metrics_plots_and_validations_writer import (
    CombineValidations,
)

from pipeline.quality.metrics import Metrics
from pipeline.quality.slices import SliceKey


def verdict(config: Any, results: Iterable[tuple[SliceKey, Metrics]]) -> Any:
    """Checks the thresholds of an EvalConfig.

    A metric that is undefined where a threshold is on it misses the threshold.

    Args:
        config: The EvalConfig.
        results: Each slice's metrics and plots.

    Returns:
        TFMA's ValidationResult.
    """
    # TFMA's combiner, because it also reports thresholds on slices that never occurred,
    # which no check of a single slice can see.
    combine = CombineValidations(config)
    total = combine.create_accumulator()
    for key, metrics in results:
        checked = metrics_validator.validate_metrics((key, _metrics(metrics)), config)
        for of_slice in checked.metric_validations_per_slice:
            for failure in of_slice.failures:
                _explain_undefined(failure)
        total = combine.add_input(total, checked)
    return combine.extract_output(total)


def _metrics(found: Metrics) -> Metrics:
    return {k: v for k, v in found.items() if not isinstance(k, metric_types.PlotKey)}


def _explain_undefined(failure: Any) -> None:
    """Replaces the NaN in a failed check by a message."""
    # TFMA compares NaN with the threshold, which fails as it should, but then reports
    # "nan" without a reason.
    if math.isnan(failure.metric_value.double_value.value):
        failure.ClearField("metric_value")
        failure.message = "undefined on these rows, such as those of one class"
