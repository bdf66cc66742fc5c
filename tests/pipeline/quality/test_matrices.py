"""Confusion matrices from a histogram: TFMA's own, on arrays."""

from typing import Any

import numpy as np
import pytest
from tensorflow_model_analysis.metrics import (
    binary_confusion_matrices,
    calibration_histogram,
    metric_types,
)

from pipeline.quality.matrices import BUCKETS, HistogramMatrices

THRESHOLDS = [0.0, 0.25, 0.5, 0.75, 1.0]
# Scores 0.1 and 0.6; of a weight of 3 and of 5, 1 and 4 are positive.
CELLS = np.array([1_001, 6_001])
POSITIVE, NEGATIVE = np.array([1.0, 4.0]), np.array([2.0, 1.0])


@pytest.fixture(scope="module")
def computation() -> Any:
    """TFMA's computation of matrices at five thresholds."""
    *_, last = binary_confusion_matrices.binary_confusion_matrices(
        thresholds=THRESHOLDS, use_histogram=True
    )
    return last


@pytest.fixture(scope="module")
def ours(computation: Any) -> HistogramMatrices:
    """The same on arrays."""
    found = HistogramMatrices.of(computation)
    assert found is not None
    return found


def test_rows_at_and_above_a_threshold_are_positives(ours: HistogramMatrices) -> None:
    """Literal weights at five thresholds."""
    tp, tn, fp, fn = ours.matrices(CELLS, POSITIVE, NEGATIVE)

    assert ours.thresholds == THRESHOLDS
    assert tp.tolist() == [5.0, 4.0, 4.0, 0.0, 0.0]
    assert fp.tolist() == [3.0, 1.0, 1.0, 0.0, 0.0]
    assert tn.tolist() == [0.0, 2.0, 2.0, 3.0, 3.0]
    assert fn.tolist() == [0.0, 1.0, 1.0, 5.0, 5.0]


def test_result_is_that_of_tfma(computation: Any, ours: HistogramMatrices) -> None:
    """On the same buckets both give the same matrices under the same key."""
    buckets = [
        calibration_histogram.Bucket(int(cell), label, 0.0, label + other)
        for cell, label, other in zip(CELLS, POSITIVE, NEGATIVE, strict=True)
    ]
    metrics = {ours.histogram: buckets}

    theirs = computation.result(metrics)
    found = ours.result(metrics)

    assert found.keys() == theirs.keys()
    for key, matrices in theirs.items():
        assert found[key].tp == pytest.approx(matrices.tp)
        assert found[key].tn == pytest.approx(matrices.tn)
        assert found[key].fp == pytest.approx(matrices.fp)
        assert found[key].fn == pytest.approx(matrices.fn)


def test_several_slices_are_computed_at_once(ours: HistogramMatrices) -> None:
    """Leading axes of the weights are those of the matrices."""
    both = np.stack([POSITIVE, 2 * POSITIVE])

    tp, *_ = ours.matrices(CELLS, both, both)

    assert tp.shape == (2, len(THRESHOLDS))
    assert (tp[1] == 2 * tp[0]).all()


def test_thresholds_between_which_no_row_is_are_one(ours: HistogramMatrices) -> None:
    """Of thresholds with equal matrices the first one is kept."""
    kept = ours.distinct(CELLS)

    assert [THRESHOLDS[number] for number in kept] == [0.0, 0.25, 0.75]


def test_a_computation_of_something_else_is_left_to_tfma() -> None:
    """What doesn't read one histogram isn't replaced."""
    other = metric_types.DerivedMetricComputation(
        keys=[metric_types.MetricKey(name="other")],
        result=lambda metrics: {"other": metrics},
    )

    assert HistogramMatrices.of(other) is None
    assert BUCKETS == 10_002
