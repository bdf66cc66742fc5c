"""Intervals from sums are equal to a bootstrap of the rows."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from tensorflow_model_analysis.proto import config_pb2

from pipeline.quality.aggregates import Partial, Scored, summed
from pipeline.quality.intervals import Interval, intervals
from pipeline.quality.metrics import Plan, plan, results
from pipeline.quality.slices import SliceKey, Spec, Values, members

COUNT = 3000


def planned(*metrics: str, slices: tuple[str, ...] = ()) -> Plan:
    """A plan with a threshold on each metric, on all rows or on slices."""
    specs = [config_pb2.SlicingSpec(feature_keys=[name]) for name in slices]
    return plan(
        config_pb2.EvalConfig(
            model_specs=[config_pb2.ModelSpec(label_key="y", example_weight_key="w")],
            slicing_specs=[config_pb2.SlicingSpec(), *specs],
            metrics_specs=[
                config_pb2.MetricsSpec(
                    metrics=[
                        config_pb2.MetricConfig(
                            class_name=name,
                            per_slice_thresholds=[
                                config_pb2.PerSliceMetricThreshold(
                                    slicing_specs=specs or [config_pb2.SlicingSpec()],
                                    threshold={
                                        "value_threshold": {"lower_bound": {"value": 0}}
                                    },
                                )
                            ],
                        )
                        for name in metrics
                    ]
                )
            ],
        )
    )


def rows(weights: tuple[float, ...] = (1.0,), seed: int = 5) -> Scored:
    """Rows of a model that is better than random."""
    numbers = np.random.default_rng(seed)
    truth = numbers.random(COUNT)
    labels = (numbers.random(COUNT) < truth).astype(np.float64)
    scores = np.clip(truth + numbers.normal(0, 0.3, COUNT), 0.001, 0.999)
    return Scored(labels, scores, numbers.choice(weights, COUNT))


def sums(of: Plan, scored: Scored, *, parity: bool = False) -> Partial:
    """Sums of all rows, and optionally of odd and even rows."""
    columns = {"parity": Values.of(np.arange(COUNT) % 2)} if parity else {}
    specs = [Spec(), Spec(("parity",))] if parity else [Spec()]
    inside = members(specs, columns, COUNT)
    return Partial(inside.keys, summed(of.kinds, {"": scored}, inside))


def found_in(of: Plan, partial: Partial) -> dict[SliceKey, dict[Any, Interval]]:
    """Returns the intervals of sums."""
    return intervals(of, partial, dict(results(of, partial)))


def only(of: Plan, scored: Scored) -> Interval:
    """Returns the only interval."""
    ((interval,),) = (
        found.values() for found in found_in(of, sums(of, scored)).values()
    )
    return interval


@pytest.mark.parametrize("weights", [(1.0,), (0.0, 1.0), (0.5, 1.0, 4.0)], ids=str)
def test_auc_intervals_are_those_of_rows(weights: tuple[float, ...]) -> None:
    """The bounds are close to those of a Poisson bootstrap of the rows."""
    scored = rows(weights)
    numbers = np.random.default_rng(0)
    areas = [
        roc_auc_score(
            scored.labels,
            scored.predictions,
            sample_weight=scored.weights * numbers.poisson(1, COUNT),
        )
        for _ in range(400)
    ]
    low, high = np.percentile(areas, [2.5, 97.5])

    found = only(planned("AUC"), scored)

    assert found == pytest.approx((low, high), abs=0.25 * (high - low))
    assert found.high - found.low == pytest.approx(high - low, rel=0.25)


@pytest.mark.parametrize(
    "metric", ["Calibration", "MeanLabel", "BinaryAccuracy", "BinaryCrossEntropy"]
)
def test_intervals_of_sums_are_those_of_rows(metric: str) -> None:
    """Intervals of single-number metrics are as wide as a bootstrap of the rows."""
    scored = rows((0.5, 1.0, 4.0))
    numbers = np.random.default_rng(0)
    values = []
    for _ in range(400):
        w = scored.weights * numbers.poisson(1, COUNT)
        y, p = scored.labels, scored.predictions
        values.append(
            {
                "Calibration": (w * p).sum() / (w * y).sum(),
                "MeanLabel": (w * y).sum() / w.sum(),
                "BinaryAccuracy": (w * ((p > 0.5) == y)).sum() / w.sum(),
                "BinaryCrossEntropy": -(
                    w * (y * np.log(p) + (1 - y) * np.log(1 - p))
                ).sum()
                / w.sum(),
            }[metric]
        )
    low, high = np.percentile(values, [2.5, 97.5])

    found = only(planned(metric), scored)

    assert found == pytest.approx((low, high), abs=0.25 * (high - low))
    assert found.high - found.low == pytest.approx(high - low, rel=0.25)


def test_slices_with_thresholds_have_intervals() -> None:
    """Only slices with a threshold have intervals, wider than the overall one."""
    of = planned("AUC", slices=("parity",))

    found = found_in(of, sums(of, rows(), parity=True))

    assert set(found) == {(("parity", 0),), (("parity", 1),)}
    (even,), (odd,) = (each.values() for each in found.values())
    whole = only(planned("AUC"), rows())
    for interval in (even, odd):
        assert interval.high - interval.low > 1.2 * (whole.high - whole.low)


def test_intervals_are_the_same_each_time() -> None:
    """Intervals are seeded and independent of batches."""
    of = planned("AUC", "Calibration")

    assert found_in(of, sums(of, rows())) == found_in(of, sums(of, rows()))


def test_an_undefined_metric_has_no_interval() -> None:
    """Rows of one class have no AUC and no interval."""
    of, scored = planned("AUC", "Calibration"), rows()
    negative = Scored(np.zeros(COUNT), scored.predictions, scored.weights)

    found = found_in(of, sums(of, negative))

    assert found == {}
