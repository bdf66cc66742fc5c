"""The page of a model's monitoring."""

from dataclasses import replace

from operations import monitoring_page
from operations.observation import Observation
from tests.operations.test_observation import ALARM, FOUND


def test_the_page_shows_all_that_was_found() -> None:
    """Alarms, traffic, features, metrics with intervals and notes."""
    page = monitoring_page.render([replace(FOUND, alarms=(ALARM,))])

    for text in (
        "Monitoring of taxi",
        "skew: fare: moved",
        "failed: UNAVAILABLE",
        "3.25 ms",
        "jensen shannon",
        "0.9 (from 0.88)",
        "0.91 (0.87 to 0.94)",
        "a note",
    ):
        assert text in page
    assert "Over time" not in page


def test_history_is_drawn() -> None:
    """As soon as there are two observations."""
    later = replace(FOUND, until="2026-03-03T00:00:00+00:00", alarms=(ALARM,))

    page = monitoring_page.render([FOUND, later])

    assert "Over time" in page
    assert "Distance from the live model&#39;s data, 1 is an alarm" in page


def test_an_empty_window_has_a_page() -> None:
    """Before the first request, too."""
    empty = Observation(
        "taxi", 1, FOUND.at, since=FOUND.since, until=FOUND.until, rows=0
    )

    page = monitoring_page.render([empty])

    assert "No alarm." in page
    assert "Nothing was compared." in page
    assert "There are no scores, and no labels." in page
