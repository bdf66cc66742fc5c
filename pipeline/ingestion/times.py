"""Times in settings and in data: seconds since 1970, or dates of ISO 8601.

Importing this module imports neither TFX nor TensorFlow.
"""

import math
from datetime import UTC, datetime

from pipeline.errors import UsageError


def seconds_in(setting: str) -> float:
    """Reads a time from a setting: seconds since 1970, or a date of ISO 8601.

    Raises:
        UsageError: It is neither.
    """
    number = number_in(setting)
    seconds = seconds_or_nan(setting) if number is None else number
    if not math.isfinite(seconds):
        raise UsageError(
            f"{setting!r} is no time; give a date such as 2026-01-31, or seconds since "
            "1970"
        )
    return seconds


def number_in(setting: str) -> float | None:
    """Reads a number; none if it is something else."""
    try:
        return float(setting)
    except ValueError:
        return None


def seconds_or_nan(text: str) -> float:
    """Reads a date or a time of ISO 8601, in UTC unless it says otherwise.

    Returns:
        Seconds since 1970; NaN if it is something else.
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return float("nan")
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
