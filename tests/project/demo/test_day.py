"""The plan of the demo's day."""

import csv
import io
import json
from collections import Counter
from datetime import timedelta

import pytest

from demo import day
from demo.day import Trip
from models.features import FARE, PICKUP_COMMUNITY_AREA, TIPS, TRIP_MILES
from pipeline.ingestion.columns import kinds_of_schema
from pipeline.trust import schema_review
from schema import SCHEMA_PATH

KINDS = kinds_of_schema(schema_review.read(SCHEMA_PATH))


def rows_of(*files: bytes) -> list[dict[str, str]]:
    """Reads the rows of CSV files."""
    texts = [io.StringIO(content.decode()) for content in files]
    return [row for text in texts for row in csv.DictReader(text)]


@pytest.fixture(scope="module")
def hours() -> dict[int, list[Trip]]:
    """The trips of the day by hour."""
    return dict(day.hours())


@pytest.fixture(scope="module")
def trips(hours: dict[int, list[Trip]]) -> list[Trip]:
    """All trips, in their order."""
    return [trip for each in hours.values() for trip in each]


def test_each_trip_is_asked_about_once(trips: list[Trip]) -> None:
    """In the order of its time, under an id of its own, and after the history."""
    rows = Counter(tuple(trip.row.values()) for trip in trips)
    old = rows_of(*day.history().values())

    assert len(trips) == len(day.HOURS) * day.ROWS_PER_HOUR
    assert len({trip.request_id for trip in trips}) == len(trips)
    assert [trip.at for trip in trips] == sorted(trip.at for trip in trips)
    # The sample itself has some trips twice.
    assert max(rows.values()) <= 2
    assert len(old) == 7550
    last = max(row["trip_start_timestamp"] for row in old)
    assert min(trip.row["trip_start_timestamp"] for trip in trips) > last


def test_it_is_the_same_day_each_time(hours: dict[int, list[Trip]]) -> None:
    """So its alarms come at the same hours."""
    assert dict(day.hours()) == hours


def test_the_fair_draws_trips_downtown(hours: dict[int, list[Trip]]) -> None:
    """Its hours have the planned share, the others the sample's."""
    share = {
        hour: sum(t.row[PICKUP_COMMUNITY_AREA] in day.DOWNTOWN for t in each)
        / len(each)
        for hour, each in hours.items()
    }

    assert {hour: share[hour] for hour in day.FAIR} == pytest.approx(
        dict(day.FAIR), abs=0.003
    )
    others = {share[hour] for hour in day.HOURS if hour not in day.FAIR}
    assert len(others) == 1
    assert others.pop() == pytest.approx(0.585, abs=0.003)


def test_only_the_app_sends_kilometres_and_only_for_two_hours(
    trips: list[Trip],
) -> None:
    """The phone desk sends miles all day; nothing else is changed."""
    wrong = [
        trip
        for trip in trips
        if float(trip.row[TRIP_MILES]) > 0
        and trip.features(KINDS)[TRIP_MILES] != float(trip.row[TRIP_MILES])
    ]

    assert {trip.at.hour for trip in wrong} == {14, 15}
    assert {trip.client for trip in wrong} == {"app"}
    sent, row = wrong[0].features(KINDS), wrong[0].row
    assert sent[TRIP_MILES] == pytest.approx(1.609344 * float(row[TRIP_MILES]))
    assert sent[FARE] == float(row[FARE])
    assert not sent.keys() & {TIPS, "request_id"}


def test_a_request_has_what_is_missing_as_null(trips: list[Trip]) -> None:
    """A client doesn't send texts for numbers that it doesn't know."""
    trip = next(trip for trip in trips if not trip.row["company"])

    request = json.loads(day.body(trip, KINDS))

    (row,) = request["instances"]
    assert request["signature_name"] == "serving_raw"
    assert row["company"] is None
    assert isinstance(row["trip_start_hour"], int)


def test_outcomes_come_two_hours_after_their_trips(trips: list[Trip]) -> None:
    """Each trip is in one file, with what no request has."""
    found = day.batches(trips)

    assert [f"{time:%d %H}" for time in found] == [
        *("02 16", "02 18", "02 20", "02 22", "03 00", "03 02")
    ]
    assert [trip for batch in found.values() for trip in batch] == trips
    for time, batch in found.items():
        late = [time - trip.at for trip in batch]
        assert timedelta(hours=2) < min(late) < max(late) <= timedelta(hours=4)
    outcome = trips[0].outcome()
    assert outcome["request_id"] == trips[0].request_id
    assert outcome[TIPS] == trips[0].row[TIPS]
    assert TRIP_MILES not in outcome


def test_poison_is_in_the_relation_only() -> None:
    """Each column has values of the history; the tips are those of other trips."""
    poisoned = rows_of(day.poisoned())
    old = rows_of(*day.history().values())

    def rest(row: dict[str, str]) -> tuple[str, ...]:
        return tuple(value for name, value in row.items() if name != TIPS)

    tips = {rest(row): row[TIPS] for row in old}
    assert len(poisoned) == day.POISON_ROWS
    assert all(rest(row) in tips for row in poisoned)
    moved = sum(tips[rest(row)] != row[TIPS] for row in poisoned)
    assert moved > day.POISON_ROWS / 4
