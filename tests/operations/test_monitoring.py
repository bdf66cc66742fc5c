"""A window of the request log against what the live model expects."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operations import labels, monitoring, requests
from operations.labels import Job
from operations.observation import Kind, Observation
from operations.outcomes import Roles
from operations.settings import Limits
from operations.training_files import Place
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.ingestion.spans import Pattern
from tests.operations import live_models, request_logs
from tests.operations.request_logs import START, Trips

DAY = timedelta(days=1)
LIMITS = Limits(min_rows=50)

Write = Callable[..., None]


@pytest.fixture
def monitored(config: Config) -> Config:
    """A live model that was trained on 2,000 trips."""
    live_models.push(config, request_logs.trips(2_000))
    return config


@pytest.fixture
def write(monitored: Config) -> Write:
    """Logs a day of trips; days before `START` have negative numbers."""

    def log(day: int, trips: Trips, **values: Any) -> None:
        since = START + day * DAY
        directory = requests.directory_of(monitored)
        request_logs.write_trips(directory, trips, since, since + DAY, **values)

    return log


def observe(config: Config, limits: Limits = LIMITS) -> Observation:
    """Observes the first day."""
    return monitoring.observe(config, limits, START + DAY)


def kinds(found: Observation) -> set[tuple[Kind, str]]:
    """Kind and column of each alarm."""
    return {(alarm.kind, alarm.column) for alarm in found.alarms}


def test_unchanged_trips_raise_no_alarm(monitored: Config, write: Write) -> None:
    """All that is compared is reported, with thresholds."""
    write(-1, request_logs.trips(600, seed=2))
    write(0, request_logs.trips(600, seed=3))

    found = observe(monitored)

    assert found.alarms == ()
    assert (found.rows, found.versions) == (600, {"1": 600})
    against = {each.against for each in found.comparisons}
    assert against == {"live model's", "window before's"}
    columns = {e.column for e in found.comparisons if e.against == "window before's"}
    assert {"fare", "company", "prediction"} <= columns
    assert "tips" not in columns
    assert found.latency_ms["p95"] == pytest.approx(1.0, rel=0.01)


def test_kilometres_are_skew_and_drift(monitored: Config, write: Write) -> None:
    """A client's change of unit is seen in one day, and nothing else is."""
    write(-1, request_logs.trips(2_000, seed=2))
    changed = request_logs.trips(2_000, seed=3)
    write(0, changed.assign(trip_miles=changed["trip_miles"] * 1.609))

    found = observe(monitored)

    assert kinds(found) == {(Kind.SKEW, "trip_miles"), (Kind.DRIFT, "trip_miles")}
    assert "against the live model's data" in found.alarms[0].text
    how = "trip_miles is as if kilometres were sent for miles (times 1.609)"
    assert {alarm.broken for alarm in found.alarms} == {how}


def test_the_end_of_a_skew_is_no_drift(monitored: Config, write: Write) -> None:
    """A client that is fixed changes features and scores, and nothing is to learn."""
    changed = request_logs.trips(2_000, seed=3)
    write(-1, changed.assign(trip_miles=changed["trip_miles"] * 1.609))
    write(0, request_logs.trips(2_000, seed=2))

    found = observe(monitored)

    assert found.alarms == ()
    against = {e.column for e in found.comparisons if e.against == "window before's"}
    assert "fare" in against
    assert not against & {"trip_miles", "prediction"}
    assert any(note.startswith("trip_miles differed from") for note in found.notes)


def test_missing_and_unseen_values_are_skew(monitored: Config, write: Write) -> None:
    """Also without a window before, which a note says."""
    trips = request_logs.trips(600, seed=3)
    trips.loc[:200, "company"] = "A new company"
    write(0, trips.assign(pickup_latitude=np.nan))

    found = observe(monitored)

    measures = {
        (each.column, each.measure)
        for each in found.comparisons
        if each.value > each.threshold
    }
    assert ("pickup_latitude", "missing_share") in measures
    assert ("company", "unseen_share") in measures
    assert any("the window before has 0 rows" in note for note in found.notes)
    broken = {alarm.column: alarm.broken for alarm in found.alarms}
    assert (
        broken["pickup_latitude"] == "pickup_latitude is missing in 100.0% of the rows"
    )
    assert broken["company"] == ""


def test_other_scores_are_an_alarm(monitored: Config, write: Write) -> None:
    """With the versions that gave them."""
    scores = np.random.default_rng(1)
    write(-1, request_logs.trips(600, seed=2), prediction=list(scores.beta(2, 5, 600)))
    write(
        0,
        request_logs.trips(600, seed=3),
        prediction=list(scores.beta(5, 2, 600)),
        version=2,
    )

    found = observe(monitored)

    assert (Kind.PREDICTION, "prediction") in kinds(found)
    assert any(note.startswith("versions 1, 2 answered") for note in found.notes)


def test_traffic_has_limits(monitored: Config, write: Write) -> None:
    """Failures, latency and too few rows."""
    status = ["OK"] * 95 + ["UNAVAILABLE"] * 5
    write(0, request_logs.trips(100), status=status, latency_ms=20.0)
    limits = replace(LIMITS, max_latency_ms=10.0, min_traffic=1000)

    found = observe(monitored, limits)

    assert {kind for kind, _ in kinds(found)} >= {
        Kind.ERRORS,
        Kind.LATENCY,
        Kind.TRAFFIC,
    }
    assert "5.00% of requests failed (5 UNAVAILABLE)" in str(found.alarms)


def test_few_rows_are_not_compared(monitored: Config, write: Write) -> None:
    """A dozen requests at night are no evidence."""
    write(0, request_logs.trips(12))

    found = observe(monitored)

    assert (found.comparisons, found.alarms) == ((), ())
    assert any("12 rows and 50 are needed" in note for note in found.notes)


def test_without_labels_the_quality_is_expected(
    monitored: Config, write: Write
) -> None:
    """From the scores; if they say nothing, that is an alarm, with its condition."""
    write(0, request_logs.trips(600), prediction=list(np.linspace(0.4, 0.6, 600)))

    found = observe(monitored)

    auc = found.metrics["auc"]
    assert auc.promised == 0.83
    assert auc.live is None
    assert auc.expected is not None
    assert auc.expected < 0.65
    assert (Kind.EXPECTED, "") in kinds(found)
    assert any("only labels show the first" in note for note in found.notes)
    assert (found.labelled, found.coverage) == (0, 0)


@pytest.fixture
def labelled(monitored: Config, write: Write, tmp_path: Path) -> Callable[[str], None]:
    """Logs 600 trips with scores that are right or wrong, and joins their labels."""

    def make(scores: str) -> None:
        trips = request_logs.trips(600, seed=5)
        is_big = (trips["tips"] > 0.2 * trips["fare"]).to_numpy(float)
        numbers = np.random.default_rng(1).random(600)
        right = 0.6 * is_big + 0.4 * numbers
        write(0, trips, prediction=list(right if scores == "right" else 1 - right))
        file = tmp_path / "outcomes.csv"
        ids = [f"t0100-{n}" for n in range(0, 600, 2)]
        trips.iloc[::2][["tips"]].assign(request_id=ids).to_csv(file, index=False)
        data = request_logs.write_training_data(tmp_path / "data")
        place = Place(data, Pattern(request_logs.PATTERN))
        labels.add(monitored, file, Job(place, Roles(), 2 * DAY), START + DAY)

    return make


def test_labels_show_the_live_quality(
    monitored: Config, labelled: Callable[[str], None]
) -> None:
    """The evaluation's own metrics, with intervals, of what has a label."""
    labelled("right")

    found = observe(monitored)

    auc = found.metrics["auc"]
    assert (found.labelled, found.coverage) == (300, 0.5)
    assert auc.live is not None
    assert auc.live > 0.99
    assert auc.live_low is not None
    assert found.metrics["example_count"].live == 300
    assert not found.has(Kind.PERFORMANCE)
    assert any("300 of 600 rows have no label yet" in note for note in found.notes)


def test_a_model_that_got_worse_is_an_alarm(
    monitored: Config, labelled: Callable[[str], None]
) -> None:
    """The whole interval is below what was promised."""
    labelled("wrong")

    found = observe(monitored)

    assert (Kind.PERFORMANCE, "") in kinds(found)
    (text,) = [a.text for a in found.alarms if a.kind is Kind.PERFORMANCE]
    assert text.endswith("at least 0.81 was promised")


def test_a_skew_comparator_sets_the_threshold(
    monitored: Config, write: Write, tmp_path: Path
) -> None:
    """Of the comparison with the training data; the schema is the team's decision."""
    text = monitored.schema.read_text()
    before = 'feature {\n  name: "trip_miles"\n'
    limit = "skew_comparator { jensen_shannon_divergence { threshold: 0.5 } }"
    assert before in text
    schema = tmp_path / "schema.pbtxt"
    schema.write_text(text.replace(before, f"{before}  {limit}\n"))
    changed = request_logs.trips(2_000, seed=3)
    write(0, changed.assign(trip_miles=changed["trip_miles"] * 1.609))

    found = observe(replace(monitored, schema=schema))

    assert found.alarms == ()


def test_labels_of_a_period_are_counted(
    monitored: Config, labelled: Callable[[str], None]
) -> None:
    """By the time of the request."""
    labelled("right")
    book = labels.ledger_of(monitored)

    counts = [
        monitoring.count_labels(book, START, START + part * DAY) for part in (0.5, 1)
    ]

    assert counts == [150, 300]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"window_hours": 0}, "window-hours is 0; it must be above 0"),
        ({"window_hours": float("nan")}, "window-hours is nan"),
        ({"min_rows": 0}, "min-rows is 0; it must be at least 1"),
        ({"max_failed": 1.5}, "max-failed is 1.5; it must be 0 to 1"),
        ({"false_alarms": 0}, "false-alarms is 0; it must be above 0"),
    ],
)
def test_limits_have_bounds(values: dict[str, float], said: str) -> None:
    """Each by the name of its flag."""
    with pytest.raises(UsageError, match=said):
        Limits(**values)  # type: ignore[arg-type]


def test_the_live_model_is_needed(config: Config) -> None:
    """Without one there is nothing to compare with."""
    with pytest.raises(UsageError, match="no version is live"):
        observe(config)
