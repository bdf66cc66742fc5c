"""From outcome files to labels and new spans."""

import csv
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from operations import labels, ledger, training_files
from operations.joining import Status
from operations.labels import Added, Job
from operations.outcomes import Roles
from operations.training_files import Place
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.ingestion import spans
from pipeline.ingestion.spans import Newest, Pattern
from tests.operations import request_logs
from tests.operations.conftest import WriteCsv
from tests.operations.request_logs import START

NOW = START + timedelta(days=1)


@pytest.fixture
def job(place: Place, log: Path) -> Job:
    """Joins the log of ten trips by request id."""
    del log
    return Job(place, Roles(), timedelta(days=2), "trip_start_timestamp")


def span_rows(job: Job, number: int) -> list[dict[str, str]]:
    """The rows of a span of the training data."""
    (path,) = (job.place.directory / f"span-{number:03d}").glob("*.csv")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def counts(added: Added) -> dict[str, int]:
    """What the entries of a call have, by status, without zeros."""
    total: dict[str, int] = {}
    for entry in added.entries:
        for status, count in entry.about.counts.items():
            total[status] = total.get(status, 0) + count
    return {status: count for status, count in total.items() if count}


def test_joined_rows_are_a_span(config: Config, job: Job, outcomes: WriteCsv) -> None:
    """A new span has the header of the others, the request's features, the label."""
    file = outcomes(
        "day.csv",
        [{"request_id": f"r{n}", "tips": n, "trip_miles": 99} for n in (8, 2)],
    )

    added = labels.add(config, file, job, NOW)

    (entry,) = added.entries
    eight, two = span_rows(job, 8)
    assert (entry.about.span, entry.about.joined) == (8, 2)
    assert (eight["tips"], eight["trip_seconds"]) == ("8", "608")
    assert (two["tips"], two["trip_seconds"]) == ("2", "602")
    assert (two["fare"], two["company"]) == ("12.05", "Blue Cab")
    assert two["trip_start_timestamp"] == str(int(START.timestamp()) + 120)
    assert two["trip_miles"] == "2.5"
    assert "trip_miles: taken from the requests" in entry.about.notes[0]
    assert entry.about.notes[1].startswith("dropoff_census_tract, pickup_")


def test_spans_may_be_days(config: Config, job: Job, outcomes: WriteCsv) -> None:
    """The day of the call, and the next one for a second file; the pipeline reads both.

    Rows of the second one must not get lost in a day that was read already.
    """
    place = replace(job.place, pattern=Pattern("{YYYY}-{MM}-{DD}/*.csv"))
    days = replace(job, place=replace(place, directory=config.output / "days"))
    first = outcomes("a.csv", [{"request_id": "r1", "tips": 1}])
    second = outcomes("b.csv", [{"request_id": "r2", "tips": 2}])

    entries = [
        labels.add(config, file, days, NOW).entries[0] for file in (first, second)
    ]

    wanted = Newest(2)
    found = spans.select(days.place.directory, days.place.pattern.text, wanted)
    assert [e.about.path for e in entries] == [
        f"2026-03-02/labels-{entries[0].about.digest}.csv",
        f"2026-03-03/labels-{entries[1].about.digest}.csv",
    ]
    assert [s.number for s in found.taken] == [e.about.span for e in entries]


def test_each_outcome_is_kept_with_its_status(
    config: Config, job: Job, outcomes: WriteCsv
) -> None:
    """Repeated, conflicting, late and orphaned labels are counted and kept."""
    on_time, late = "2026-03-02", "2026-03-09T00:00:00+01:00"
    rows = [("r1", 1, on_time), ("r1", 1, on_time), ("r1", 2, on_time)]
    rows += [("r2", 1, late), ("nobody", 1, on_time), ("r3", 0, on_time)]
    file = outcomes(
        "day.csv", [{"request_id": r, "tips": t, "known": k} for r, t, k in rows]
    )
    job = replace(job, roles=Roles(label_time="known"))

    added = labels.add(config, file, job, NOW)

    book = labels.ledger_of(config)
    kept = book.entries()[0].read()
    assert kept[ledger.STATUS].to_pylist() == [
        "joined",
        "repeated",
        "conflicting",
        "late",
        "orphaned",
        "joined",
    ]
    assert kept["request_id"].to_pylist()[3:5] == ["r2", "nobody"]
    assert kept[ledger.SPAN_ROW].to_pylist() == [0, None, None, None, None, 1]
    assert [row["tips"] for row in span_rows(job, 8)] == ["1", "0"]
    assert counts(added)["late"] == 1


def test_the_same_file_twice_adds_nothing(
    config: Config, job: Job, outcomes: WriteCsv
) -> None:
    """The same contents are known by digest, under any name; so are single labels."""
    row = {"request_id": "r1", "tips": 1}
    first = labels.add(config, outcomes("a.csv", [row]), job, NOW)

    again = labels.add(config, outcomes("b.csv", [row]), job, NOW)
    more = labels.add(
        config, outcomes("c.csv", [row, {"request_id": "r2", "tips": 0}]), job, NOW
    )

    assert again.entries == ()
    assert again.before == first.entries[0]
    assert counts(more) == {"joined": 1, "repeated": 1}
    assert [row["trip_seconds"] for row in span_rows(job, 9)] == ["602"]


def test_a_label_that_changed_is_a_conflict(
    config: Config, job: Job, outcomes: WriteCsv
) -> None:
    """The first label of a prediction stays, whatever a later file says."""
    labels.add(config, outcomes("a.csv", [{"request_id": "r1", "tips": 1}]), job, NOW)

    more = labels.add(
        config, outcomes("b.csv", [{"request_id": "r1", "tips": 2}]), job, NOW
    )

    assert counts(more) == {"conflicting": 1}
    assert more.entries[0].about.span == 0
    assert not (job.place.directory / "span-009").exists()


def test_orphans_are_joined_when_their_request_is_logged(
    config: Config, log: Path, job: Job, outcomes: WriteCsv
) -> None:
    """A segment may be closed after its labels came; each label is used once."""
    file = outcomes("a.csv", [{"request_id": "r20", "tips": 3}])
    first = labels.add(config, file, job, NOW)
    request_logs.write(log, [request_logs.request(20)])

    second = labels.add(config, file, job, NOW)
    third = labels.add(config, None, job, NOW)

    assert counts(first) == {"orphaned": 1}
    assert counts(second) == {"joined": 1}
    assert second.entries[0].about.source == labels.ORPHANS
    assert [row["tips"] for row in span_rows(job, 8)] == ["3"]
    assert third.entries == ()


def test_outcomes_without_ids_are_joined_by_key_and_time(
    config: Config, log: Path, job: Job, outcomes: WriteCsv
) -> None:
    """The newest request with these features before the event is meant."""
    request_logs.write(log, [request_logs.request(30, trip_seconds=603)])
    seconds = int(START.timestamp())
    rows = [
        {"trip_seconds": 603, "company": "Blue Cab", "at": seconds + 300, "tips": 1},
        {"trip_seconds": 603, "company": "Blue Cab", "at": seconds + 1900, "tips": 2},
        {"trip_seconds": 603, "company": "Red Cab", "at": seconds + 1900, "tips": 3},
        {"trip_seconds": 604, "company": "Blue Cab", "at": seconds + 10, "tips": 4},
    ]
    job = replace(job, roles=Roles(("trip_seconds", "company"), "at"))

    added = labels.add(config, outcomes("a.csv", rows), job, NOW)

    kept = added.entries[0].read()
    assert kept["request_id"].to_pylist() == ["r3", "r30", None, None]
    assert kept[ledger.STATUS].to_pylist()[2:] == ["orphaned", "orphaned"]
    assert [row["tips"] for row in span_rows(job, 8)] == ["1", "2"]


@pytest.mark.parametrize("moment", ["written", "named"])
def test_a_kill_neither_loses_nor_repeats_rows(
    config: Config,
    job: Job,
    outcomes: WriteCsv,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """Before the span is written or before it is committed: the next call ends it."""
    file = outcomes("a.csv", [{"request_id": "r1", "tips": 1}])
    stopped = {
        "written": (training_files, "write"),
        "named": (ledger.Ledger, "commit"),
    }

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*stopped[moment], killed)
        with pytest.raises(KeyboardInterrupt):
            labels.add(config, file, job, NOW)
    pending = labels.ledger_of(config).entries()[0].is_pending

    again = labels.add(config, file, job, NOW)
    third = labels.add(config, file, job, NOW)

    assert pending
    assert [entry.about.span for entry in again.entries] == [8]
    assert third.entries == ()
    assert [row["tips"] for row in span_rows(job, 8)] == ["1"]
    assert not (job.place.directory / "span-009").exists()


def test_a_number_that_was_taken_is_not_shared(
    config: Config,
    job: Job,
    outcomes: WriteCsv,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A span delivered between a kill and the next call keeps its number."""
    file = outcomes("a.csv", [{"request_id": "r1", "tips": 1}])

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_files, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            labels.add(config, file, job, NOW)
    delivered = job.place.directory / "span-008"
    delivered.mkdir()
    (job.place.directory / "span-007" / "trips.csv").rename(delivered / "trips.csv")

    again = labels.add(config, file, job, NOW)

    assert again.entries[0].about.span == 9
    assert len(list(delivered.iterdir())) == 1


def test_two_calls_at_once_exclude_each_other(
    config: Config, job: Job, outcomes: WriteCsv
) -> None:
    """The second is told to wait."""
    file = outcomes("a.csv", [{"request_id": "r1", "tips": 1}])

    with (
        labels.ledger_of(config).held(),
        pytest.raises(UsageError, match="another process is adding"),
    ):
        labels.add(config, file, job, NOW)


def test_statuses_are_all_counted(config: Config, job: Job, outcomes: WriteCsv) -> None:
    """Also those that no row has, so that scripts find each key."""
    file = outcomes("a.csv", [{"request_id": "r1", "tips": 1}])

    added = labels.add(config, file, job, NOW)

    assert set(added.entries[0].about.counts) == {s.value for s in Status}
