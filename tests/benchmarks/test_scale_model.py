"""The model of a cluster's cost, on numbers that can be checked by hand."""

import pytest

from benchmarks import trips
from benchmarks.scale_model import (
    PLANNED_BYTES_PER_SECOND,
    WORKERS,
    Line,
    break_even,
    fit,
    table,
)

LOCAL = Line(fixed=50, per_row=1e-4)
CLUSTER = Line(fixed=150, per_row=2e-4)


def test_a_line_goes_through_the_smallest_and_the_largest_run() -> None:
    """Other engines, and sizes in between, don't move it."""
    runs = [
        {"task_managers": 2, "rows": rows, "cpu_seconds": seconds}
        for rows, seconds in ((1_000_000, 350), (100_000, 170), (300_000, 999))
    ]

    assert fit([*runs, {**runs[0], "task_managers": 0}], 2) == CLUSTER


def test_one_size_is_not_enough() -> None:
    """The command that measures another size is named."""
    runs = [{"task_managers": 2, "rows": 1, "cpu_seconds": 1.0}]

    with pytest.raises(ValueError, match="python -m benchmarks engines --rows N"):
        fit(runs, 2)


def test_a_cluster_pays_from_where_it_is_as_fast() -> None:
    """At that many rows both take the same time, and one row more is faster there."""
    rows = break_even(LOCAL, CLUSTER, cores=2, workers=16)

    assert rows is not None
    # Both have the planning, so that only the rest is divided.
    planning = trips.BYTES_IN_ROW / PLANNED_BYTES_PER_SECOND
    gained = (1e-4 - planning) / 2 - (2e-4 - planning) / 16
    assert rows == pytest.approx(100 / gained)
    assert LOCAL.duration(rows, 2) == pytest.approx(CLUSTER.duration(rows, 16))


def test_a_cluster_of_too_few_workers_never_pays() -> None:
    """Each row costs twice as much there, so it takes twice the cores."""
    assert break_even(LOCAL, CLUSTER, cores=8, workers=16) is None


def test_planning_is_not_divided() -> None:
    """However many workers there are, one process reads the whole text first."""
    rows = 10 * PLANNED_BYTES_PER_SECOND / trips.BYTES_IN_ROW

    assert CLUSTER.duration(rows, 10**9) == pytest.approx(150 + 10, rel=1e-3)


def test_a_worker_gets_no_more_rows_than_were_tried() -> None:
    """A gigabyte fits into the memory of two workers, a terabyte into that of 1,024."""
    first, *_, last = table(LOCAL, CLUSTER).splitlines()[2:]

    assert "too few" not in first
    assert last.count("too few") == len(WORKERS) - 1
