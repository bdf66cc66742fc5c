"""Joins outcomes to requests, and judges each outcome: is it a label to learn from?

Both sides are tables in memory: outcomes are one file, and of the request log only rows
that may match are read. Arrow joins them; nothing here loops over rows.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operations.outcomes import EVENT_TIME
from operations.requests import REQUEST_ID, ROW, TIME, TIME_TYPE

Ints = npt.NDArray[np.int64]

NO_REQUEST = -1
_ID = [REQUEST_ID, ROW]
_PLACE = "place"
_ORDER = "order"


class Status(StrEnum):
    """What an outcome is."""

    JOINED = "joined"
    """The first label of a prediction, within its window: a row to learn from."""
    REPEATED = "repeated"
    """The same label as the prediction has."""
    CONFLICTING = "conflicting"
    """Another label than the prediction has, which stays."""
    LATE = "late"
    """Known later than the label window allows."""
    ORPHANED = "orphaned"
    """No request in the log has its id, or its keys at a time within the window."""


def match_by_id(outcomes: pa.Table, requests: pa.Table) -> Ints:
    """Finds the request of each outcome by request id and row.

    Args:
        outcomes: Has `REQUEST_ID` and `ROW`.
        requests: Has the same. Of requests with the same id the first counts: a client
            that repeats a request after a timeout gives it the same id.

    Returns:
        int64 [outcomes], the request's place; `NO_REQUEST` without one.
    """
    places = pa.array(np.arange(requests.num_rows))
    first = (
        requests.select(_ID)
        .append_column(_PLACE, places)
        .group_by(_ID)
        .aggregate([(_PLACE, "min")])
    )
    left = _numbered(outcomes.select(_ID))
    return _in_order(left.join(first, keys=_ID, join_type="left outer"), "place_min")


def match_by_key(
    outcomes: pa.Table, requests: pa.Table, keys: Sequence[str], window: timedelta
) -> Ints:
    """Finds the newest request with an outcome's keys at or before its event.

    Args:
        outcomes: Has the keys and `EVENT_TIME`.
        requests: Has the keys and `TIME`.
        keys: The columns that must be equal.
        window: How long before the event a request may be.

    Returns:
        As `match_by_id`.
    """
    if not requests.num_rows:
        return np.full(outcomes.num_rows, NO_REQUEST)
    names = list(keys)
    left = _numbered(_as_texts(outcomes, names, EVENT_TIME)).sort_by(EVENT_TIME)
    right = _as_texts(requests, names, TIME)
    right = right.append_column(_PLACE, pa.array(np.arange(right.num_rows)))
    joined = left.join_asof(
        right.sort_by(TIME),
        on=EVENT_TIME,
        by=names,
        # Arrow's sign for "before": a request can't follow what it predicts.
        tolerance=-int(window / timedelta(microseconds=1)),
        right_on=TIME,
        right_by=names,
    )
    return _in_order(joined, _PLACE)


def _as_texts(table: pa.Table, keys: Sequence[str], time: str) -> pa.Table:
    # As-of joins take neither floats nor nulls as keys, and whole microseconds as time.
    texts = [pc.fill_null(table[name].cast(pa.string()), "") for name in keys]
    return pa.table([*texts, table[time].cast(pa.int64())], names=[*keys, time])


def _numbered(table: pa.Table) -> pa.Table:
    return table.append_column(_ORDER, pa.array(np.arange(table.num_rows)))


def _in_order(joined: pa.Table, place: str) -> Ints:
    """Returns the matches of a join in the order of the outcomes."""
    found = np.asarray(pc.fill_null(joined[place], NO_REQUEST), np.int64)
    match = np.empty(len(found), np.int64)
    match[np.asarray(joined[_ORDER])] = found
    return match


def judge(
    match: Ints,
    contents: pa.Array,
    times: tuple[pa.Array, pa.Array],
    known: tuple[Ints, pa.Array],
    limits: tuple[timedelta, datetime],
) -> npt.NDArray[np.str_]:
    """Gives each outcome its status.

    Args:
        match: Place of each outcome's request, see `match_by_id`.
        contents: Each outcome's label, as a text.
        times: When each outcome became known, null for now; and when each request was.
        known: Place of the request and label of the labels that were joined earlier.
        limits: The label window, and what now is.

    Returns:
        The value of a `Status` per outcome. Of several labels of one prediction in the
        same file the first is joined.
    """
    window, now = limits
    coded = pa.concat_arrays([known[1].cast(pa.string()), contents.cast(pa.string())])
    codes = np.asarray(coded.dictionary_encode().indices, np.int64)
    before, ours = codes[: len(known[0])], codes[len(known[0]) :]
    held = np.full(len(times[1]) + 1, -1, np.int64)
    held[known[0]] = before
    held[NO_REQUEST] = -1

    found = match != NO_REQUEST
    late = found & ~_within(match, times, window, now)
    fresh = np.flatnonzero(found & ~late & (held[match] < 0))
    # unique gives each request's first outcome, in the order of the file.
    first = fresh[np.unique(match[fresh], return_index=True)[1]]
    held[match[first]] = ours[first]
    has_label = found & (held[match] >= 0)
    same = has_label & (held[match] == ours)
    status = np.full(len(match), Status.ORPHANED.value, dtype="<U12")
    status[late] = Status.LATE.value
    status[has_label & ~same & ~late] = Status.CONFLICTING.value
    status[same] = Status.REPEATED.value
    status[first] = Status.JOINED.value
    return status


def _within(
    match: Ints, times: tuple[pa.Array, pa.Array], window: timedelta, now: datetime
) -> npt.NDArray[np.bool_]:
    known = pc.fill_null(times[0], pa.scalar(now, TIME_TYPE)).cast(pa.int64())
    asked = np.append(np.asarray(times[1].cast(pa.int64())), 0)
    limit = int(window / timedelta(microseconds=1))
    inside: npt.NDArray[np.bool_] = np.asarray(known) - asked[match] <= limit
    return inside
