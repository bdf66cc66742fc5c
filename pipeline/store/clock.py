"""What time it is: the machine's clock, or a file in its place for demos and tests.

Operation counts in hours and days: the windows of monitoring, the time in which a label
counts, the watch after a push, budgets and pauses between runs. With
`THROUGHLINE_CLOCK=FILE` in the environment, every process takes the time from that file
(ISO 8601), so that a day passes in minutes, and the same day each time. Whoever wrote
the file sets it forward, and back too. Never set it in production: whatever waits
for an hour would wait for the file.

What is measured stays the machine's: latencies, timeouts, the pause between two ticks,
and the times in logs and in the metadata store.
"""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.errors import UsageError

VARIABLE = "THROUGHLINE_CLOCK"
"""Names the file in the environment; not set in production."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now() -> datetime:
    """Returns the time, in UTC.

    Raises:
        UsageError: The file that the environment names has no time.
    """
    if file := os.environ.get(VARIABLE):
        return _read(Path(file))
    return datetime.now(UTC)


def microseconds() -> int:
    """Returns the time in microseconds since 1970."""
    if is_simulated():
        return (now() - _EPOCH) // _MICROSECOND
    # A server calls it for each request: a tenth of the time of a datetime.
    return time.time_ns() // 1000


def is_simulated() -> bool:
    """Whether the time is that of a file."""
    return bool(os.environ.get(VARIABLE))


def write(file: Path, moment: datetime) -> None:
    """Sets the time of a file, which `VARIABLE` names for other processes.

    Args:
        file: The file; its directory must exist.
        moment: The time, with a time zone.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(moment.astimezone(UTC).isoformat(), "utf-8")
    # By a rename: a server reads it for each request, and must not find half a time.
    part.replace(file)


def _read(file: Path) -> datetime:
    try:
        found = datetime.fromisoformat(file.read_text("utf-8").strip())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{VARIABLE} is {file}, which has no time: {error}; write one such as "
            f"2026-03-02T06:00:00+00:00 into it, or unset {VARIABLE} for the machine's "
            "clock"
        ) from error
    if found.tzinfo is None:
        raise UsageError(
            f"{file} has {found.isoformat()}, a time without a time zone; write one "
            f"such as {found.isoformat()}+00:00"
        )
    return found.astimezone(UTC)
