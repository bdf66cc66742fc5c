"""Matching outcomes to requests, and what each outcome is."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from operations import joining
from tests.operations.request_logs import START


def at(*minutes: int | None) -> pa.Array:
    """Times after the start."""
    times = [m if m is None else START + timedelta(minutes=m) for m in minutes]
    return pa.array(times, pa.timestamp("us", "UTC"))


def by_id(*ids: tuple[str, int]) -> pa.Table:
    """A table of request ids and rows."""
    names, rows = zip(*ids, strict=True)
    return pa.table({"request_id": names, "row": pa.array(rows, pa.int32())})


def test_ids_and_rows_match_together() -> None:
    """A request of several rows has a label for each."""
    requests = by_id(("a", 0), ("a", 1), ("b", 0), ("a", 1))

    match = joining.match_by_id(by_id(("a", 1), ("c", 0), ("b", 0)), requests)

    assert match.tolist() == [1, -1, 2]


def test_the_newest_request_before_an_event_matches() -> None:
    """Not one after it, and none from before the window."""
    requests = pa.table({"k": ["x", "x", "y"], "time": at(0, 10, 10)})
    events = pa.table({"k": ["x"] * 4 + ["y"], "event_time": at(10, 9, 100, 15, 12)})

    match = joining.match_by_key(events, requests, ["k"], timedelta(minutes=20))

    assert match.tolist() == [1, 0, -1, 1, 2]


def test_a_key_may_be_a_number_or_missing() -> None:
    """A request without a value is meant by an outcome without one."""
    requests = pa.table({"k": pa.array([1.5, None]), "time": at(0, 0)})
    events = pa.table({"k": pa.array([None, 1.5]), "event_time": at(1, 1)})

    match = joining.match_by_key(events, requests, ["k"], timedelta(minutes=2))

    assert match.tolist() == [1, 0]


def judged(
    match: list[int], contents: list[str], known_at: pa.Array, *, held: str = ""
) -> list[str]:
    """Judges outcomes of two requests, of which the first may have a label."""
    known = (np.array([0] if held else [], np.int64), pa.array([held] if held else []))
    limits = timedelta(minutes=30), START + timedelta(minutes=5)
    return joining.judge(
        np.array(match), pa.array(contents), (known_at, at(0, 0)), known, limits
    ).tolist()


@pytest.mark.parametrize(
    ("held", "minute", "status"),
    [
        ("", 30, "joined"),
        ("", 31, "late"),
        ("", None, "joined"),
        ("yes", 1, "repeated"),
        # What is known can't be late, nor learned from again.
        ("yes", 31, "repeated"),
        ("no", 1, "conflicting"),
        ("no", 31, "late"),
    ],
)
def test_status_of_one_outcome(held: str, minute: int | None, status: str) -> None:
    """It depends on the label that there is, and on when it became known."""
    assert judged([0], ["yes"], at(minute), held=held) == [status]


def test_the_first_of_several_is_joined() -> None:
    """In the order of the file; an orphan has no request to be late for."""
    found = judged([1, 1, 1, -1, 0], ["b", "b", "a", "a", "a"], at(*[1] * 4, 31))

    assert found == ["joined", "repeated", "conflicting", "orphaned", "late"]


def test_without_outcomes_there_is_nothing() -> None:
    """An empty side is no special case for the caller."""
    none = pa.table({"k": pa.array([], pa.string()), "time": at()})
    events = pa.table({"k": ["x"], "event_time": at(1)})

    match = joining.match_by_key(events, none, ["k"], timedelta(1))

    assert match.tolist() == [-1]
    assert isinstance(START, datetime)
