"""Bounds of the settings of `throughline operate`."""

from typing import Any

import pytest

from operations.settings import Inbox, Operate, Watch
from pipeline.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (Operate, {"stop_after": 0}, "stop-after is 0; it must be at least 1"),
        (Operate, {"backoff_minutes": float("nan")}, "backoff-minutes is nan"),
        (Operate, {"tick_seconds": 0}, "tick-seconds is 0; it must be above 0"),
        (Operate, {"schedule": "every day"}, "schedule is 'every day'"),
        (Operate, {"notify_webhook": "file:///x"}, "it must begin with http"),
        (Watch, {"hours": -1}, "watch.hours is -1; it must be at least 0"),
        (Watch, {"max_slowdown": 0.5}, "watch.max-slowdown is 0.5"),
        (Inbox, {"window_days": 0}, "window-days is 0; it must be above 0"),
    ],
)
def test_wrong_values_are_named(kind: Any, values: dict[str, Any], said: str) -> None:
    """By flag, with the value and what was expected."""
    with pytest.raises(UsageError, match=said):
        kind(**values)


def test_schedules_are_those_of_compile() -> None:
    """Five fields, or a macro."""
    assert Operate(schedule="0 3 * * *").schedule
    assert Operate(schedule="@daily").schedule
