"""Times in settings and data."""

import math

import pytest

from pipeline.errors import UsageError
from pipeline.ingestion import times


@pytest.mark.parametrize(
    ("setting", "seconds"),
    [
        ("0", 0),
        ("1454198400.5", 1454198400.5),
        ("2016-01-31", 1454198400),
        (" 2016-01-31T00:00:00 ", 1454198400),
        ("2016-01-31T01:00:00+01:00", 1454198400),
    ],
)
def test_numbers_and_dates_are_seconds_since_1970(setting: str, seconds: float) -> None:
    """A time without a zone is one of UTC."""
    assert times.seconds_in(setting) == seconds


@pytest.mark.parametrize("setting", ["yesterday", "", "nan", "inf", "2016-02-30"])
def test_what_is_no_time_is_refused(setting: str) -> None:
    """A wrong time is named, with examples of right ones."""
    with pytest.raises(UsageError, match="2026-01-31") as refused:
        times.seconds_in(setting)

    assert repr(setting) in str(refused.value)


def test_values_that_are_no_times_are_nan() -> None:
    """In data a wrong time is NaN, for the caller to judge."""
    assert math.isnan(times.seconds_or_nan("soon"))
    assert times.number_in("soon") is None
