"""Dates and times as TensorFlow reads them, against Python's own."""

from datetime import UTC, datetime, timedelta

import pytest
import tensorflow as tf

from models import times
from models.declarations import TimePart

SOME = [
    datetime(1903, 2, 28, tzinfo=UTC) + timedelta(hours=60_017 * i) for i in range(40)
]
ODD = [
    datetime(y, m, d, tzinfo=UTC)
    for y, m, d in ((2000, 2, 29), (2100, 3, 1), (1970, 1, 1))
]


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d %H:%M:%S", "%Y/%m/%dT%H:%M:%S.25Z", " %Y-%m-%d %H:%M"]
)
def test_texts_are_seconds_since_1970(form: str) -> None:
    """Leap years, centuries and years before 1970 among them."""
    texts = tf.constant([moment.strftime(form) for moment in SOME + ODD])

    seconds, known = times.parsed(texts)

    assert known.numpy().all()
    assert seconds.numpy().tolist() == [int(m.timestamp()) for m in SOME + ODD]


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2026", "2026-13-01", "2026-00-10", "01/02/2026", "2026-01-02x"],
)
def test_other_texts_are_no_dates(text: str) -> None:
    """They are missing, and no error."""
    seconds, known = times.parsed(tf.constant([text]))

    assert (seconds.numpy().tolist(), known.numpy().tolist()) == ([0.0], [False])


def test_parts_go_round() -> None:
    """Hours of the day, days of the week from Monday, months, and days of the year."""
    seconds = tf.constant([m.timestamp() for m in SOME + ODD], tf.float64)

    def part(name: TimePart) -> list[float]:
        return [float(turn) % 1 for turn in times.turns(seconds, name)]

    whole = SOME + ODD
    assert part("hour") == pytest.approx([m.hour / 24 for m in whole])
    assert part("weekday") == pytest.approx([m.weekday() / 7 for m in whole])
    assert part("month") == pytest.approx([(m.month - 1) / 12 for m in whole])
    assert part("yearday") == pytest.approx(
        [(m.month - 1 + (m.day - 1) / 31) / 12 for m in whole]
    )
