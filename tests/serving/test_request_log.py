"""Segments of the request log: converted from journals, read, and removed."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyarrow import parquet

from pipeline.errors import ThroughlineError
from serving import request_log
from serving.journal import Entry, Journal, Rotation
from serving.request_log import OK, close_journals, read, remove_old, segments

FEATURES = {"fare": "FLOAT", "hour": "INT", "company": "BYTES"}
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def entry(
    request_id: str = "a",
    moment: datetime = NOON,
    *,
    features: dict[str, str] = FEATURES,
    rows: tuple[tuple[object, ...], ...] = ((9.5, 3, "Flash"), (float("nan"), -1, "")),
    answers: tuple[float | list[float], ...] = (0.25, 0.75),
    status: str = OK,
) -> Entry:
    """Returns an entry of two predicted rows."""
    return Entry(
        request_id=request_id,
        time=int(moment.timestamp() * 1e6),
        version=7,
        signature="serving_raw",
        features=features,
        rows=rows,
        answers=answers,
        threshold=0.5,
        latency_ms=1.5,
        status=status,
    )


def logged(directory: Path, *entries: Entry) -> None:
    """Writes entries to a journal that has ended."""
    journal = Journal(directory, Rotation(flush_seconds=10))
    for each in entries:
        journal.append(each)
    journal.close()


def rows_of(directory: Path, **more: object) -> list[dict[str, object]]:
    """Returns all rows that the log's reader gives."""
    batches = read(directory, **more)  # type: ignore[arg-type]
    return [row for batch in batches for row in batch.to_pylist()]


def test_each_predicted_example_is_a_row(tmp_path: Path) -> None:
    """A request of two examples becomes two rows: what was received and answered."""
    logged(tmp_path, entry())

    (closed,) = close_journals(tmp_path)

    assert (closed.rows, closed.damaged) == (2, 0)
    assert parquet.read_schema(closed.segment).equals(request_log.schema(FEATURES))
    first, second = rows_of(tmp_path)
    assert first == {
        "request_id": "a",
        "row": 0,
        "time": NOON,
        "version": 7,
        "signature": "serving_raw",
        "features.fare": 9.5,
        "features.hour": 3,
        "features.company": "Flash",
        "prediction": 0.25,
        "scores": None,
        "threshold": 0.5,
        "latency_ms": 1.5,
        "status": "OK",
    }
    assert second["row"] == 1
    assert second["features.fare"] is None
    assert second["features.company"] == ""


def test_several_numbers_are_scores(tmp_path: Path) -> None:
    """Where the model answers a list, the prediction is null and the list is kept."""
    logged(tmp_path, entry(answers=([0.1, 0.9], [0.5, 0.5])))
    close_journals(tmp_path)

    first, _ = rows_of(tmp_path, columns=["prediction", "scores"])

    assert first == {"prediction": None, "scores": [0.1, 0.9]}


def test_lists_of_values_stay_lists(tmp_path: Path) -> None:
    """A feature with several values per row is a column of lists."""
    logged(tmp_path, entry(features={"tags": "BYTES[]"}, rows=((["a", "b"],), ([],))))
    close_journals(tmp_path)

    found = [row["features.tags"] for row in rows_of(tmp_path)]

    assert found == [["a", "b"], []]


def test_a_failed_request_is_a_row_on_demand(tmp_path: Path) -> None:
    """It has a status and no row number, and only `failed=True` reads it."""
    logged(tmp_path, entry("a"), entry("b", rows=(), answers=(), status="UNAVAILABLE"))
    close_journals(tmp_path)

    every = rows_of(tmp_path, failed=True)

    assert [row["request_id"] for row in rows_of(tmp_path)] == ["a", "a"]
    assert every[-1]["status"] == "UNAVAILABLE"
    assert every[-1]["row"] is None


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    """The half line of a killed writer costs that request only, and is counted."""
    logged(tmp_path, entry("a"), entry("b"))
    (journal,) = (tmp_path / "journals").iterdir()
    journal.write_bytes(journal.read_bytes()[:-40])

    (closed,) = close_journals(tmp_path)

    assert (closed.rows, closed.damaged) == (2, 1)
    assert {row["request_id"] for row in rows_of(tmp_path)} == {"a"}


def test_a_value_that_fits_nowhere_costs_its_row_only(tmp_path: Path) -> None:
    """No row keeps the others of a journal from becoming a segment."""
    huge = (1 << 60) + 1
    logged(tmp_path, entry("a", rows=((huge, 1, "x"), (1.0, 2, "y"))), entry("b"))

    (closed,) = close_journals(tmp_path)

    assert (closed.rows, closed.damaged) == (3, 1)
    assert [row["request_id"] for row in rows_of(tmp_path)] == ["a", "b", "b"]


def test_a_journal_in_use_stays(tmp_path: Path) -> None:
    """What a living server writes to isn't converted until it has ended."""
    journal = Journal(tmp_path, Rotation(flush_seconds=0.01))
    journal.append(entry())
    while not journal.counts.written:
        pass

    early = close_journals(tmp_path)
    journal.close()

    assert early == []
    assert len(close_journals(tmp_path)) == 1


def test_a_kill_between_rename_and_deletion_repeats_no_row(tmp_path: Path) -> None:
    """A journal whose segment is there already gives the same segment again."""
    logged(tmp_path, entry())
    (journal,) = (tmp_path / "journals").iterdir()
    kept = shutil.copy(journal, tmp_path / "kept")
    close_journals(tmp_path)
    shutil.move(kept, journal)

    close_journals(tmp_path)

    assert len(rows_of(tmp_path)) == 2
    assert not journal.exists()


def test_a_period_is_read(tmp_path: Path) -> None:
    """The begin is inclusive, the end exclusive; other days' files aren't opened."""
    minute, day = timedelta(minutes=1), timedelta(days=1)
    now = datetime.now(UTC)
    for minutes in (0, 1, 2):
        logged(tmp_path, entry(str(minutes), now + minutes * minute))
    close_journals(tmp_path)

    rows = rows_of(tmp_path, since=now + minute, until=now + 2 * minute)

    assert {row["request_id"] for row in rows} == {"1"}
    assert len(segments(tmp_path, since=now, until=now)) == 3
    assert segments(tmp_path, since=now + 3 * day) == []
    assert segments(tmp_path, until=now - 3 * day) == []


def test_versions_with_other_features_are_read_together(tmp_path: Path) -> None:
    """A feature that a version didn't have is null; whole numbers become fractions."""
    logged(tmp_path, entry("old", features={"fare": "INT"}, rows=((9,), (8,))))
    logged(tmp_path, entry("new"))
    close_journals(tmp_path)

    found = {row["request_id"]: row for row in rows_of(tmp_path) if row["row"] == 0}

    assert found["old"]["features.fare"] == 9.0
    assert found["old"]["features.company"] is None
    assert found["new"]["features.company"] == "Flash"


def test_types_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """A feature that was text and is a number can't be read as one column."""
    logged(tmp_path, entry(features={"fare": "BYTES"}, rows=(("9",), ("8",))))
    logged(tmp_path, entry())
    close_journals(tmp_path)

    with pytest.raises(ThroughlineError, match="fare"):
        rows_of(tmp_path)


def test_old_segments_are_removed_by_age_and_size(tmp_path: Path) -> None:
    """The oldest go first, and the newest stay within the size."""
    for name in "abc":
        logged(tmp_path, entry(name))
    close_journals(tmp_path)
    oldest, *newer = segments(tmp_path)
    two = sum(path.stat().st_size for path in newer) / 1e6

    by_size = remove_old(tmp_path, datetime.now(UTC), days=None, megabytes=two)
    young = remove_old(tmp_path, datetime.now(UTC), days=1, megabytes=None)
    by_age = remove_old(
        tmp_path, datetime.now(UTC) + timedelta(days=2), days=1, megabytes=None
    )

    assert by_size == [oldest]
    assert young == []
    assert sorted(by_age) == sorted(newer)
    assert list((tmp_path / "segments").iterdir()) == []


def test_an_empty_log_has_no_rows(tmp_path: Path) -> None:
    """A log that nobody has written to can be read, closed and cleared up."""
    assert rows_of(tmp_path) == []
    assert close_journals(tmp_path) == []
    assert remove_old(tmp_path, NOON, days=1, megabytes=1) == []
