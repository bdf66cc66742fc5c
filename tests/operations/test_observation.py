"""What monitoring found, as text and as JSON."""

import json
from dataclasses import replace

import pytest

from operations.observation import Alarm, Comparison, Kind, Observation, Quality

FOUND = Observation(
    model="taxi",
    version=17,
    at="2026-03-02T00:00:05+00:00",
    since="2026-03-01T00:00:00+00:00",
    until="2026-03-02T00:00:00+00:00",
    rows=2000,
    versions={"17": 2000},
    failed={"UNAVAILABLE": 2},
    failed_share=0.001,
    latency_ms={"p50": 1.0, "p95": 3.25},
    comparisons=(
        Comparison("fare", "jensen_shannon", "live model's", 0.01, 0.02, 0.003, "x"),
    ),
    labelled=500,
    metrics={"auc": Quality(0.9, 0.88, 0.91, 0.87, 0.94)},
    notes=("a note",),
)
ALARM = Alarm(Kind.SKEW, "moved", "fare")


def test_json_is_read_back() -> None:
    """With all parts, and with what is computed from them for scripts."""
    found = replace(FOUND, alarms=(ALARM,))

    text = found.to_json()

    assert Observation.from_json(text) == found
    assert json.loads(text)["coverage"] == 0.25
    assert json.loads(text)["line"] == found.line()


def test_a_quiet_window_is_a_line() -> None:
    """Who, when, how many, how fast, how good."""
    assert FOUND.line() == (
        "no alarm for taxi version 17, 2026-03-01T00:00 to 2026-03-02T00:00 UTC: "
        "2,000 rows, 0.10% of requests failed, 95 % within 3.25 ms, labels of 25%, "
        "live AUC 0.91, promised AUC 0.9"
    )


def test_without_labels_the_expectation_is_shown() -> None:
    """And only then: labels are worth more."""
    found = replace(FOUND, labelled=0, metrics={"auc": Quality(0.9, expected=0.89)})

    assert found.line().endswith("labels of 0%, expected AUC 0.89, promised AUC 0.9")


def test_alarms_are_the_line() -> None:
    """The first three of them, with what they are about."""
    one = replace(FOUND, alarms=(ALARM,))
    many = replace(FOUND, alarms=(ALARM,) * 5)

    assert one.line().startswith("1 alarm for taxi version 17")
    assert one.line().endswith("UTC: skew: fare: moved")
    assert many.line().endswith("; and 2 more")
    assert one.has(Kind.SKEW, Kind.DRIFT)
    assert not one.has(Kind.DRIFT)


def test_a_broken_client_is_in_the_line() -> None:
    """Once, and also if its alarm isn't among the first three."""
    client = replace(ALARM, column="trip_miles", broken="trip_miles is in km")
    scores = Alarm(Kind.PREDICTION, "moved", "prediction", broken="trip_miles is in km")
    found = replace(FOUND, alarms=(ALARM, ALARM, ALARM, client, scores))

    assert found.line().endswith(
        "; and 2 more; it looks like a broken client: trip_miles is in km"
    )


def test_each_alarm_has_a_line_of_its_own() -> None:
    """In the status, where there is room for all of them."""
    client = replace(ALARM, column="trip_miles", broken="trip_miles is in km")
    found = replace(FOUND, alarms=(*[ALARM] * 3, client))

    heading, *lines = found.lines()

    assert heading.startswith("4 alarms for taxi version 17, 2026-03-01T00:00 to ")
    assert lines == [
        *["skew: fare: moved"] * 3,
        "skew: trip_miles: moved",
        "it looks like a broken client: trip_miles is in km",
    ]
    assert list(FOUND.lines()) == [FOUND.line()]


@pytest.mark.parametrize("text", ["[]", "{}", "nothing"])
def test_other_files_are_refused(text: str) -> None:
    """As one of the errors that a reader of files expects."""
    with pytest.raises((ValueError, TypeError, KeyError)):
        Observation.from_json(text)
