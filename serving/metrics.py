"""The server's metrics, as Prometheus reads them at TensorFlow Serving's own path."""

import functools
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

PATH = "/monitoring/prometheus/metrics"
"""Where TensorFlow Serving has them."""

REST, GRPC = "REST", "GRPC"
_SECONDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1.0, 5.0),
)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)


@dataclass(frozen=True)
class _OfVersion:
    """The metrics of a version, API and status, looked up once instead of per request.

    Attributes:
        requests: Counts requests.
        rows: Counts rows.
        seconds: Time from a request's last byte to its answer.
    """

    requests: Counter
    rows: Counter
    seconds: Histogram


class Metrics:
    """The metrics of a server, in a registry of their own.

    Attributes:
        live: The live version's number, 0 if there is none.
        loads: Versions that were loaded, or failed to.
        storage: Whether the directory of the versions can be read.
        waiting: Requests that wait for the model.
    """

    def __init__(self, model: str) -> None:
        """Creates the metrics.

        Args:
            model: Name of the model, a label of each.
        """
        self._model = model
        # A second series per counter that says when it was first counted.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        labels = ["model", "version", "api", "status"]
        self._requests = Counter(
            "throughline_requests",
            "Requests for predictions, by version and gRPC's status.",
            labels,
            registry=self.registry,
        )
        self._rows = Counter(
            "throughline_rows",
            "Rows that were predicted.",
            labels,
            registry=self.registry,
        )
        self._seconds = Histogram(
            "throughline_request_seconds",
            "Time from a request's last byte to its answer.",
            labels,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._call_seconds = Histogram(
            "throughline_model_call_seconds",
            "Time that the model took for a call, which may join requests.",
            labels[:2],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._call_rows = Histogram(
            "throughline_model_call_rows",
            "Rows of a call of the model.",
            labels[:2],
            buckets=_ROWS,
            registry=self.registry,
        )
        self.live = self._gauge("live_version", "The version that answers; 0 if none.")
        self.storage = self._gauge(
            "storage_reachable", "1 if the directory of the versions can be read."
        )
        self.waiting = self._gauge("waiting_requests", "Requests that wait for it.")
        self._log_rows = Counter(
            "throughline_request_log_rows",
            "Rows for the request log (outcome is written or dropped).",
            ["model", "outcome"],
            registry=self.registry,
        )
        self._shadowed = Counter(
            "throughline_shadow_requests",
            "Requests for a shadow (outcome is answered, rejected or dropped).",
            ["model", "version", "outcome"],
            registry=self.registry,
        )
        self.loads = Counter(
            "throughline_version_loads",
            "Versions that were loaded, or failed to (result is ok or failed).",
            ["model", "result"],
            registry=self.registry,
        )

    def request(
        self, version: int, api: str, status: str, rows: int, seconds: float
    ) -> None:
        """Counts a request.

        Args:
            version: The version that answered; 0 if none did.
            api: `REST` or `GRPC`.
            status: gRPC's name of its status, such as OK.
            rows: Rows that were predicted.
            seconds: From its last byte to its answer.
        """
        of = self._of(version, api, status)
        of.requests.inc()
        of.rows.inc(rows)
        of.seconds.observe(seconds)

    def call(self, version: int, rows: int, seconds: float) -> None:
        """Counts a call of a model."""
        in_seconds, in_rows = self._of_calls(version)
        in_seconds.observe(seconds)
        in_rows.observe(rows)

    def load(self, result: str) -> None:
        """Counts a version that was loaded ("ok"), or failed to ("failed")."""
        self.loads.labels(self._model, result).inc()

    def shadowed(self, version: int, outcome: str) -> None:
        """Counts a request that a shadow "answered", "rejected" or "dropped"."""
        self._shadowed.labels(self._model, str(version), outcome).inc()

    def logged(self, outcome: str, rows: int) -> None:
        """Adds rows that were "written" to the request log, or "dropped"."""
        self._log_rows.labels(self._model, outcome).inc(rows)

    def text(self) -> bytes:
        """Returns all of them, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, documentation: str) -> Gauge:
        gauge = Gauge(
            f"throughline_{name}", documentation, ["model"], registry=self.registry
        )
        return gauge.labels(self._model)

    @functools.cache  # noqa: B019 - a server has one, which lives as long as it
    def _of(self, version: int, api: str, status: str) -> _OfVersion:
        labels = (self._model, str(version), api, status)
        return _OfVersion(
            self._requests.labels(*labels),
            self._rows.labels(*labels),
            self._seconds.labels(*labels),
        )

    @functools.cache  # noqa: B019 - as above
    def _of_calls(self, version: int) -> tuple[Histogram, Histogram]:
        labels = (self._model, str(version))
        return self._call_seconds.labels(*labels), self._call_rows.labels(*labels)
