"""Dates and times in TensorFlow's graphs, which know only texts and numbers."""

import tensorflow as tf

from models.declarations import TimePart

_DAY_OF = r"\d{4}[-/]\d{2}[-/]\d{2}"
_DATE = rf"{_DAY_OF}([ T]\d{{2}}:\d{{2}}(:\d{{2}}.*)?)?"
_WITH_MINUTES = rf"{_DAY_OF}[ T]\d{{2}}:\d{{2}}.*"
_WITH_SECONDS = rf"{_DAY_OF}[ T]\d{{2}}:\d{{2}}:\d{{2}}.*"
_DAY = 86_400.0
_MONTHS_IN_YEAR = 12
# The month that the leap day comes at the end of the year before.
_MARCH = 3
# 1 January 1970 was a Thursday, three days after a Monday.
_FIRST_WEEKDAY = 3.0
_ERA_YEARS, _ERA_DAYS = 400, 146_097
_DAYS_TO_1970 = 719_468


def parsed(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads dates such as 2026-01-31 or 2026/01/31, and times such as 2026-01-31 14:05.

    Args:
        texts: string [N].

    Returns:
        Seconds since 1970, float64 [N], 0 where a text is no date; and bool [N],
        whether it is one. Fractions of seconds and offsets from UTC don't count.
    """
    texts = tf.strings.strip(texts)
    known = tf.strings.regex_full_match(texts, _DATE)
    year, month, day = (_digits(texts, known, *at) for at in ((0, 4), (5, 2), (8, 2)))
    has_minutes = tf.strings.regex_full_match(texts, _WITH_MINUTES)
    has_seconds = tf.strings.regex_full_match(texts, _WITH_SECONDS)
    hours = _digits(texts, has_minutes, 11, 2)
    minutes = _digits(texts, has_minutes, 14, 2)
    seconds = _digits(texts, has_seconds, 17, 2)
    known &= (month >= 1) & (month <= _MONTHS_IN_YEAR) & (day >= 1)
    days = _days_of(year, month, day)
    total = days * int(_DAY) + hours * 3600 + minutes * 60 + seconds
    return tf.where(known, tf.cast(total, tf.float64), tf.zeros([], tf.float64)), known


def turns(seconds: tf.Tensor, part: TimePart) -> tf.Tensor:
    """Returns how far a cyclic part of a time is around its circle.

    Args:
        seconds: Since 1970, float64 [N].
        part: Which part.

    Returns:
        float64 [N]; whole numbers are the beginning of the circle.
    """
    days = seconds / _DAY
    match part:
        case "hour":
            return days
        case "weekday":
            return (tf.floor(days) + _FIRST_WEEKDAY) / 7.0
        case "month":
            month, _ = _month_and_day(days)
            return (month - 1.0) / _MONTHS_IN_YEAR
        case "yearday":
            month, day = _month_and_day(days)
            # Months of equal length, so that each year's first day is at 0.
            return (month - 1.0 + (day - 1.0) / 31.0) / _MONTHS_IN_YEAR


def _digits(texts: tf.Tensor, known: tf.Tensor, start: int, length: int) -> tf.Tensor:
    # A text too short for the place would be an error, not an empty text.
    safe = tf.where(known, texts, tf.constant("0000-00-00 00:00:00"))
    return tf.strings.to_number(tf.strings.substr(safe, start, length), tf.int64)


def _days_of(year: tf.Tensor, month: tf.Tensor, day: tf.Tensor) -> tf.Tensor:
    """Returns days since 1970 (Hinnant, "chrono-Compatible Low-Level Date Algorithms").

    Years begin in March there, so that a leap day is a year's last.
    """
    year = tf.where(month < _MARCH, year - 1, year)
    era = year // _ERA_YEARS
    of_era = year - era * _ERA_YEARS
    of_year = (153 * ((month + 9) % _MONTHS_IN_YEAR) + 2) // 5 + day - 1
    of_era_days = of_era * 365 + of_era // 4 - of_era // 100 + of_year
    return era * _ERA_DAYS + of_era_days - _DAYS_TO_1970


def _month_and_day(days: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns month, 1 to 12, and day of the month, 1 to 31, the reverse of above."""
    whole = tf.cast(tf.floor(days), tf.int64) + _DAYS_TO_1970
    in_era = whole % _ERA_DAYS
    year = (
        in_era - in_era // 1460 + in_era // 36_524 - in_era // (_ERA_DAYS - 1)
    ) // 365
    of_year = in_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = (shifted + 2) % _MONTHS_IN_YEAR + 1
    return tf.cast(month, tf.float64), tf.cast(day, tf.float64)
