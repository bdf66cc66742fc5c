"""Progress of long work: executors report rows done, and whoever runs them listens.

An executor opens a `task` for each phase, and whatever completes a batch calls
`advance`, on any thread. Reports are values, not text, at most two a second. A process
logs one line every ten seconds, also where nobody listens, such as in a container.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

LOGGER = logging.getLogger("throughline.progress")

Clock = Callable[[], float]

_REPORT_SECONDS = 0.5
_LOG_SECONDS = 10.0
# Long enough that batches of 50,000 rows don't make the rate jump.
_RATE_SECONDS = 10.0
_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True)
class Unit:
    """What is counted, and what the rate counts: steps, and examples a second.

    Attributes:
        name: Of what is counted, in the plural.
        rate_name: Of what the rate counts, in the plural.
        rate_factor: How many of these are in one unit.
    """

    name: str
    rate_name: str
    rate_factor: int = 1


ROWS = Unit("rows", "rows")


@dataclass(frozen=True)
class Progress:
    """How far a phase of a node is.

    Attributes:
        done: How many units are done.
        total: How many there are; `None` if that isn't known.
        rate: How many are done in a second, as `unit` counts them for a rate.
        unit: What is counted.
        phase: Name of the phase; empty if the node has only one.
        detail: Further figures, such as the loss.
        seconds_left: Estimated seconds until all is done; `None` if unknown.
    """

    done: int
    total: int | None = None
    rate: float = 0.0
    unit: Unit = ROWS
    phase: str = ""
    detail: str = ""
    seconds_left: float | None = None

    @property
    def share(self) -> float | None:
        """Returns the share that is done, 0 to 1; `None` without a total."""
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def percent(self) -> str:
        """Returns the share in percent; 100 only when all is done."""
        return "" if self.share is None else f"{int(100 * self.share)} %"

    @property
    def count(self) -> str:
        """Returns what is done, such as "198,612 rows"."""
        return f"{self.done:,} {self.unit.name}"

    @property
    def count_of_total(self) -> str:
        """Returns what is done of what, such as "50,000 of 198,612 rows"."""
        if not self.total:
            return self.count
        return f"{self.done:,} of {self.total:,} {self.unit.name}"

    @property
    def speed(self) -> str:
        """Returns the rate in three digits, such as "41,300 rows/s"; may be empty."""
        if not self.rate:
            return ""
        return f"{_three_digits(self.rate)} {self.unit.rate_name}/s"

    @property
    def time_left(self) -> str:
        """Returns the estimated rest, such as "3 min left"; empty if unknown."""
        if not self.seconds_left:
            return ""
        seconds = max(1, round(self.seconds_left))
        if seconds < _MINUTE:
            return f"{seconds} s left"
        if seconds < _HOUR:
            return f"{round(seconds / _MINUTE)} min left"
        hours, rest = divmod(seconds, _HOUR)
        return f"{hours} h {rest // _MINUTE} min left"

    def __str__(self) -> str:
        """Returns one line with everything."""
        percent = f" ({self.percent})" if self.percent else ""
        phase = f"{self.phase}: " if self.phase else ""
        parts = (
            f"{phase}{self.count_of_total}{percent}",
            self.speed,
            self.time_left,
            self.detail,
        )
        return ", ".join(filter(None, parts))


Listener = Callable[[Progress | str], None]


class Task:
    """A phase of a node that counts what is done."""

    def __init__(
        self,
        total: int | None = None,
        *,
        phase: str = "",
        unit: Unit = ROWS,
        clock: Clock = time.monotonic,
    ) -> None:
        """Starts counting.

        Args:
            total: How many units there are; `None` if that isn't known.
            phase: Name of the phase, if the node has several.
            unit: What is counted.
            clock: Seconds that only grow.
        """
        self._total, self._phase, self._unit = total, phase, unit
        self._clock = clock
        self._lock = threading.Lock()
        self._done, self._detail = 0, ""
        start = clock()
        self._start, self._reported, self._logged = start, start, start
        # Not from the start: a model is loaded or a function traced before the first
        # batch, and the rest takes no such time.
        self._seen: deque[tuple[float, int]] = deque()

    def advance(self, count: int, detail: str = "") -> None:
        """Counts what has been done; reports it if the last report is old enough.

        Args:
            count: How many more units are done.
            detail: Further figures; the earlier ones if empty.
        """
        with self._lock:
            self._done += count
            if self._total is not None and self._done > self._total:
                # Rows are read once more, as TFT does for each level of analyzers, and
                # how often isn't known: no share is better than one above 100 %.
                self._total = None
            self._detail = detail or self._detail
            now = self._clock()
            if now - self._reported < _REPORT_SECONDS:
                return
            self._reported = now
            self._seen.append((now, self._done))
            while len(self._seen) > 1 and self._seen[1][0] <= now - _RATE_SECONDS:
                self._seen.popleft()
            report = self._report(*self._seen[0])
            _send(report)
            if now - self._logged >= _LOG_SECONDS:
                self._logged = now
                LOGGER.info("%s", report)

    def end(self) -> None:
        """Reports the whole, with the mean rate."""
        with self._lock:
            self._seen.append((self._clock(), self._done))
            report = replace(self._report(self._start, 0), seconds_left=None)
            # Work that others do, such as Beam's remote workers, isn't counted here.
            if self._done:
                _send(report)
            # Only in a log that has the lines before it: short work leaves none.
            if self._logged > self._start:
                LOGGER.info("%s", report)

    def _report(self, since: float, done_then: int) -> Progress:
        seconds = self._seen[-1][0] - since
        each = (self._done - done_then) / seconds if seconds > 0 else 0.0
        left = None
        if self._total and each:
            left = max(0, self._total - self._done) / each
        return Progress(
            done=self._done,
            total=self._total,
            rate=each * self._unit.rate_factor,
            unit=self._unit,
            phase=self._phase,
            detail=self._detail,
            seconds_left=left,
        )


# Of this process: what computes on batches is far from whoever runs the node.
_listener: Listener | None = None
_current: list[Task] = []


def listen(listener: Listener | None) -> None:
    """Sets the receiver of this process's reports and notes; `None` drops them."""
    global _listener  # noqa: PLW0603 - executors are created by TFX, out of our reach
    _listener = listener


@contextmanager
def running(task: Task) -> Iterator[Task]:
    """Makes `advance` count for a task during the block."""
    _current.append(task)
    try:
        yield task
        task.end()
    finally:
        _current.remove(task)


def advance(count: int) -> None:
    """Counts units for the innermost running task of this process, if there is one."""
    if _current:
        _current[-1].advance(count)


def note(text: str) -> None:
    """Logs a sentence, and reports it as the result of the node."""
    LOGGER.info("%s", text)
    _send(text)


def _send(report: Progress | str) -> None:
    if _listener:
        _listener(report)


def _three_digits(value: float) -> str:
    """Formats a number for people: an estimate has no more digits than that."""
    if value < 10:  # noqa: PLR2004 - below, a digit after the point matters
        return f"{value:.1f}"
    return f"{float(f'{value:.3g}'):,.0f}"
