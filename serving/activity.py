"""The server's last minutes, from its own metrics: traffic and latency for its page."""

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from prometheus_client import CollectorRegistry

from serving.request_log import OK

_REQUESTS = "throughline_requests_total"
_BUCKETS = "throughline_request_seconds_bucket"
SECONDS = 600
"""How far back the page looks."""
_SHARES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}


@dataclass(frozen=True)
class Totals:
    """The metrics at a moment, summed over versions and APIs.

    Attributes:
        at: Seconds since 1970.
        requests: Requests since the start, by status.
        versions: Requests since the start, by version.
        buckets: Requests since the start that took no longer, by seconds.
    """

    at: float
    requests: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, float] = field(default_factory=dict)
    buckets: Mapping[float, float] = field(default_factory=dict)


def totals(registry: CollectorRegistry, at: float) -> Totals:
    """Sums up the metrics.

    Args:
        registry: The server's metrics.
        at: The time, in seconds since 1970.
    """
    requests: Counter[str] = Counter()
    versions: Counter[str] = Counter()
    buckets: Counter[float] = Counter()
    for metric in registry.collect():
        for sample in metric.samples:
            if sample.name == _REQUESTS:
                requests[sample.labels["status"]] += sample.value  # type: ignore[assignment]
                versions[sample.labels["version"]] += sample.value  # type: ignore[assignment]
            elif sample.name == _BUCKETS:
                buckets[float(sample.labels["le"])] += sample.value  # type: ignore[assignment]
    return Totals(at, requests, versions, buckets)


def percentile(before: Totals, after: Totals, share: float) -> float | None:
    """Returns a percentile of the latency between two moments, in milliseconds.

    It is interpolated within a bucket of the histogram, as Prometheus does.

    Args:
        before: The earlier moment.
        after: The later one.
        share: 0 to 1.

    Returns:
        The percentile; `None` if there was no request.
    """
    counts = [
        (seconds, count - before.buckets.get(seconds, 0.0))
        for seconds, count in sorted(after.buckets.items())
    ]
    if not counts or not counts[-1][1]:
        return None
    wanted = share * counts[-1][1]
    for (low, under), (high, upto) in pairwise([(0.0, 0.0), *counts]):
        if upto < wanted or upto == under:
            continue
        if high == float("inf"):
            return low * 1e3
        return (low + (high - low) * (wanted - under) / (upto - under)) * 1e3
    return None


class Activity:
    """What happened in the last minutes, second by second."""

    def __init__(self) -> None:
        """Starts without a past."""
        self._seen: deque[Totals] = deque(maxlen=SECONDS + 1)

    def note(self, registry: CollectorRegistry, at: float | None = None) -> None:
        """Notes the metrics; to be called about once a second.

        Args:
            registry: The server's metrics.
            at: The time, in seconds since 1970; now if not given.
        """
        self._seen.append(totals(registry, time.time() if at is None else at))

    def points(self) -> Sequence[Mapping[str, Any]]:
        """Returns rates and latencies between the moments that were noted.

        Returns:
            Objects with "at", "ok_per_second", "failed_per_second" and percentiles in
            milliseconds, which are `None` where there was no request.
        """
        return [_between(one, other) for one, other in pairwise(self._seen)]

    def whole(self) -> Mapping[str, Any]:
        """Returns the same for the whole time, and requests since the start."""
        if not self._seen:
            return {}
        first, last = self._seen[0], self._seen[-1]
        return {
            **_between(first, last),
            "seconds": round(last.at - first.at),
            "requests": dict(last.requests),
            "versions": dict(last.versions),
        }


def _between(before: Totals, after: Totals) -> dict[str, Any]:
    seconds = after.at - before.at
    ok = after.requests.get(OK, 0.0) - before.requests.get(OK, 0.0)
    every = sum(after.requests.values()) - sum(before.requests.values())
    return {
        "at": after.at,
        # A clock that is set back leaves a gap rather than a negative rate.
        "ok_per_second": ok / seconds if seconds > 0 else None,
        "failed_per_second": (every - ok) / seconds if seconds > 0 else None,
        **{name: percentile(before, after, share) for name, share in _SHARES.items()},
    }
