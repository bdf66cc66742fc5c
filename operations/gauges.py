"""An observation as Prometheus gauges, for the textfile collector of node_exporter."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from operations.observation import Kind, Observation

_PREFIX = "throughline_"

Sample = tuple[str, str, Mapping[str, str], float]


def text_of(found: Observation) -> str:
    """Writes an observation in Prometheus' text format."""
    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    for name, about, more, value in _samples(found):
        labels = {"model": found.model, **more}
        if name not in gauges:
            gauges[name] = Gauge(
                f"{_PREFIX}{name}", about, list(labels), registry=registry
            )
        gauges[name].labels(**labels).set(value)
    return generate_latest(registry).decode()


def _samples(found: Observation) -> Iterator[Sample]:
    until = datetime.fromisoformat(found.until).timestamp()
    yield "monitored_until_seconds", "End of the window, since 1970.", {}, until
    yield "live_version", "Number of the live version.", {}, found.version
    yield "window_rows", "Examples predicted in the window.", {}, found.rows
    failed = "Share of requests that failed, 0 to 1."
    yield "failed_ratio", failed, {}, found.failed_share
    for name, value in found.latency_ms.items():
        labels = {"quantile": str(int(name[1:]) / 100)}
        yield "latency_milliseconds", "Latency of answers.", labels, value
    yield "labelled_ratio", "Share of rows with a label, 0 to 1.", {}, found.coverage
    for each in found.comparisons:
        labels = {
            "column": each.column,
            "measure": each.measure,
            "against": each.against,
        }
        yield "distance", "Distance of a column from a baseline.", labels, each.value
        about = "Distance above which there is an alarm."
        yield "distance_threshold", about, labels, each.threshold
    yield from _metrics(found)
    for kind in Kind:
        count = sum(alarm.kind is kind for alarm in found.alarms)
        yield "alarms", "Alarms in the window.", {"kind": kind.value}, count


def _metrics(found: Observation) -> Iterator[Sample]:
    about = "A metric: promised by the evaluation, live with labels, or expected."
    for name, each in found.metrics.items():
        for source in ("promised", "live", "expected"):
            for bound in ("", "_low", "_high"):
                value = getattr(each, f"{source}{bound}", None)
                if value is not None:
                    labels = {"metric": name, "source": source, "bound": bound[1:]}
                    yield "metric", about, labels, value
