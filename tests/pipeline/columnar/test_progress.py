"""Progress is counted on any thread, reported now and then, and readable."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipeline.columnar import engine, progress
from pipeline.columnar.engine import Workers
from pipeline.columnar.progress import Progress, Task, Unit


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        """Begins at an hour that is not 0, as a monotonic clock does."""
        self.now = 100.0

    def __call__(self) -> float:
        """Returns the time in seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time of a test."""
    return Clock()


def count_a_thousand(_: int) -> None:
    """Completes a thousand batches of one row."""
    for _ in range(1_000):
        progress.advance(1)


def of(reports: list[Progress | str]) -> Iterator[Progress]:
    """Returns the reports that are not notes."""
    return (each for each in reports if isinstance(each, Progress))


def test_reports_are_half_a_second_apart(
    reports: list[Progress | str], clock: Clock
) -> None:
    """However often batches complete, only some are reported, and the end always."""
    with progress.running(Task(128, clock=clock)):
        for _ in range(128):
            clock.now += 1 / 64
            progress.advance(1)

    assert [each.done for each in of(reports)] == [32, 64, 96, 128, 128]


def test_rate_leaves_out_the_first_batch(
    reports: list[Progress | str], clock: Clock
) -> None:
    """What is set up before the first batch, such as a model, isn't in the estimate."""
    task = Task(400, clock=clock)
    for seconds in (30, 2, 2):
        clock.now += seconds
        task.advance(100)

    first, second, third = of(reports)
    assert (first.rate, first.seconds_left) == (0, None)
    assert (second.rate, second.seconds_left) == (50, 4)
    assert (third.rate, third.seconds_left) == (50, 2)


def test_rate_is_that_of_the_last_seconds(
    reports: list[Progress | str], clock: Clock
) -> None:
    """A node that slows down shows it; its end has the mean of the whole."""
    with progress.running(Task(clock=clock)):
        for count, times in ((1000, 30), (10, 30)):
            for _ in range(times):
                clock.now += 1
                progress.advance(count)

    *_, last, end = of(reports)
    assert last.rate == pytest.approx(10)
    assert end.rate == pytest.approx(30_300 / 60)


def test_the_end_has_no_time_left(reports: list[Progress | str], clock: Clock) -> None:
    """A phase that ended before its last unit, as early stopping does, is over."""
    with progress.running(Task(1_000, clock=clock)) as task:
        for _ in range(2):
            clock.now += 1
            task.advance(100)

    *_, before, end = of(reports)
    assert before.seconds_left == 8
    assert (end.done, end.total, end.seconds_left) == (200, 1_000, None)


def test_rows_read_twice_have_no_total(
    reports: list[Progress | str], clock: Clock
) -> None:
    """If more is done than there is, the total is dropped: nothing is above 100 %."""
    with progress.running(Task(100, clock=clock)):
        for _ in range(3):
            clock.now += 1
            progress.advance(80)

    assert [each.total for each in of(reports)] == [100, None, None, None]


def test_a_phase_that_fails_has_no_end(
    reports: list[Progress | str], clock: Clock
) -> None:
    """An error isn't followed by a report, and later work isn't counted for it."""
    with pytest.raises(KeyError), progress.running(Task(clock=clock)):
        raise KeyError

    progress.advance(1)
    assert reports == []


def test_work_elsewhere_is_not_shown_as_none(
    reports: list[Progress | str], clock: Clock
) -> None:
    """Beam's remote workers count in processes of their own: 0 rows would be wrong."""
    with progress.running(Task(100, clock=clock)):
        clock.now += 60

    assert reports == []


def test_workers_on_several_threads_count_together(
    reports: list[Progress | str],
) -> None:
    """No batch is lost when threads of the engine complete theirs at once."""
    with progress.running(Task(4_000)):
        engine.map_shards(count_a_thousand, range(4), Workers(4))

    *_, end = of(reports)
    assert end.done == 4_000


def test_a_log_has_a_line_every_ten_seconds(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where nobody listens, as in a container; short work leaves no line."""
    caplog.set_level(logging.INFO)

    for rows in (2_500, 900):
        with progress.running(Task(rows, clock=clock)):
            for _ in range(0, rows, 100):
                clock.now += 1
                progress.advance(100)

    assert [record.getMessage() for record in caplog.records] == [
        "1,000 of 2,500 rows (40 %), 100 rows/s, 15 s left",
        "2,000 of 2,500 rows (80 %), 100 rows/s, 5 s left",
        "2,500 of 2,500 rows (100 %), 100 rows/s",
    ]


def test_a_note_is_logged_and_reported(
    reports: list[Progress | str], caplog: pytest.LogCaptureFixture
) -> None:
    """A sentence about the result is for the console and the log alike."""
    caplog.set_level(logging.INFO)

    progress.note("kept step 250")

    assert reports == ["kept step 250"]
    assert [record.getMessage() for record in caplog.records] == ["kept step 250"]


TRAINING = Progress(
    done=550,
    total=1_000,
    rate=4_941.3,
    unit=Unit("steps", "examples", 200),
    phase="fit",
    detail="loss 0.178",
    seconds_left=18.2,
)


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (
            TRAINING,
            "fit: 550 of 1,000 steps (55 %), 4,940 examples/s, 18 s left, loss 0.178",
        ),
        (Progress(198_612, rate=2.34), "198,612 rows, 2.3 rows/s"),
        (Progress(0, 10), "0 of 10 rows (0 %)"),
        (Progress(999, 1_000), "999 of 1,000 rows (99 %)"),
        (Progress(5, 0), "5 rows"),
    ],
)
def test_a_line_for_people(report: Progress, line: str) -> None:
    """Numbers have separators and few digits; what is unknown is left out."""
    assert str(report) == line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, ""),
        (0.2, "1 s left"),
        (59.4, "59 s left"),
        (90.0, "2 min left"),
        (3_599.0, "60 min left"),
        (3_900.0, "1 h 5 min left"),
    ],
)
def test_time_left_for_people(seconds: float, text: str) -> None:
    """Seconds below a minute, then minutes, then hours."""
    assert replace(TRAINING, seconds_left=seconds).time_left == text


def test_unit_of_the_rate_is_its_own(
    reports: list[Progress | str], clock: Clock
) -> None:
    """Steps are counted, and examples a second are shown."""
    with progress.running(Task(10, unit=TRAINING.unit, clock=clock)) as task:
        clock.now += 10
        task.advance(10, "loss 0.3")

    *_, end = of(reports)
    assert (end.count, end.speed, end.detail) == (
        "10 steps",
        "200 examples/s",
        "loss 0.3",
    )
