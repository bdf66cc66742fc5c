"""Parses times in settings and data: seconds since 1970, or dates in ISO 8601.

Importing this module imports neither TFX nor TensorFlow.
"""

import math
from datetime import UTC, datetime

from pipeline.errors import UsageError


def seconds_in(setting: str) -> float:
    """Parses a setting: seconds since 1970, or a date in ISO 8601.

    Returns:
        Seconds since 1970.

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
    """Parses a number; `None` if the text is not a number."""
    try:
        return float(setting)
    except ValueError:
        return None


def seconds_or_nan(text: str) -> float:
    """Parses a date or time in ISO 8601; UTC unless it has an offset.

    Returns:
        Seconds since 1970; NaN if the text is not a date.
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return float("nan")
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
