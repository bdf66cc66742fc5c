"""Rates and latencies of the last minutes, from the server's metrics."""

import pytest

from serving.activity import Activity, Totals, percentile
from serving.metrics import Metrics


def buckets(**counts: float) -> Totals:
    """Returns totals with these requests, by the upper end of their bucket in ms."""
    under, found = 0.0, {}
    for name, count in counts.items():
        under += count
        end = name.removeprefix("ms")
        found[float("inf") if end == "more" else float(end) / 1e3] = under
    return Totals(0.0, buckets=found)


@pytest.mark.parametrize(
    ("after", "share", "expected"),
    [
        (buckets(ms1=10, ms2=0, msmore=0), 0.5, 0.5),
        (buckets(ms1=5, ms2=5, msmore=0), 0.5, 1.0),
        (buckets(ms1=5, ms2=5, msmore=0), 0.95, 1.9),
        (buckets(ms1=0, ms2=4, msmore=0), 0.25, 1.25),
        (buckets(ms1=0, ms2=0, msmore=3), 0.5, 2.0),
        (buckets(ms1=0, ms2=0, msmore=0), 0.5, None),
        (Totals(0.0), 0.5, None),
    ],
)
def test_percentiles_are_interpolated(
    after: Totals, share: float, expected: float | None
) -> None:
    """Within a bucket; beyond the last one its lower end is all that is known."""
    found = percentile(buckets(ms1=0, ms2=0, msmore=0), after, share)

    assert found == (expected if expected is None else pytest.approx(expected))


def test_rates_are_between_two_moments() -> None:
    """Failures are apart, and requests before the first moment don't count."""
    metrics, activity = Metrics("taxi"), Activity()
    metrics.request(5, "REST", "OK", 1, 0.001)
    activity.note(metrics.registry, at=100.0)
    for _ in range(6):
        metrics.request(6, "REST", "OK", 1, 0.0015)
    metrics.request(6, "GRPC", "INVALID_ARGUMENT", 0, 0.0001)
    activity.note(metrics.registry, at=102.0)

    (point,) = activity.points()
    whole = activity.whole()

    assert (point["ok_per_second"], point["failed_per_second"]) == (3.0, 0.5)
    assert 1.0 <= point["p95_ms"] <= 2.0
    assert whole["seconds"] == 2
    assert whole["versions"] == {"5": 1.0, "6": 7.0}
    assert whole["requests"] == {"OK": 7.0, "INVALID_ARGUMENT": 1.0}


def test_a_clock_that_is_set_back_leaves_a_gap() -> None:
    """There is no negative rate."""
    metrics, activity = Metrics("taxi"), Activity()
    for at in (100.0, 40.0):
        activity.note(metrics.registry, at=at)

    (point,) = activity.points()

    assert point["ok_per_second"] is None


def test_nothing_is_known_at_first() -> None:
    """A server that has just begun has no past."""
    assert Activity().whole() == {}
    assert Activity().points() == []
