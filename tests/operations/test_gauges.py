"""Prometheus gauges."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from operations import gauges
from tests.operations.test_observation import ALARM, FOUND


def test_gauges_are_what_was_found() -> None:
    """Each with its model; a count of alarms for each kind, also of none."""
    text = gauges.text_of(replace(FOUND, alarms=(ALARM,)))

    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["throughline_live_version", "taxi"] == 17
    assert values["throughline_latency_milliseconds", "0.95", "taxi"] == 3.25
    assert values["throughline_alarms", "skew", "taxi"] == 1
    assert values["throughline_alarms", "drift", "taxi"] == 0
    assert values["throughline_metric", "", "auc", "live", "taxi"] == 0.91
    assert values["throughline_metric", "auc", "live", "low", "taxi"] == 0.87
    distance = ("fare", "jensen_shannon", "live model's", "taxi")
    assert values["throughline_distance", *distance] == 0.01
    assert values["throughline_distance_threshold", *distance] == 0.02
