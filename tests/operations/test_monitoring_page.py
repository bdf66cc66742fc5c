"""The page of a model's monitoring."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from operations import monitoring_page
from operations.monitoring_page import Moment
from operations.observation import Observation
from tests.browser import chromium
from tests.operations.test_observation import ALARM, FOUND


def test_the_page_shows_all_that_was_found() -> None:
    """Alarms and what explains them, traffic, features, metrics and notes."""
    alarm = replace(ALARM, broken="fare is in cents")

    page = monitoring_page.render("taxi", [replace(FOUND, alarms=(alarm,))])

    for text in (
        "Monitoring of taxi",
        "skew: fare: moved",
        "It looks like a broken client: fare is in cents.",
        "failed: UNAVAILABLE",
        "3.25 ms",
        "Jensen-Shannon",
        "0.9 (from 0.88)",
        "0.91 (0.87 to 0.94)",
        "a note",
    ):
        assert text in page
    assert "Over time" not in page


def test_what_happened_is_listed_newest_first() -> None:
    """Also before anything was observed."""
    first = Moment(datetime(2026, 3, 1, tzinfo=UTC), "push", "version 3 by run r1")
    second = Moment(datetime(2026, 3, 2, tzinfo=UTC), "run, drift", "alarm: fare")

    page = monitoring_page.render("taxi", [], [first, second])

    assert "No window of the log has been observed yet." in page
    assert page.index("2026-03-02 00:00:00") < page.index("version 3 by run r1")


def test_history_is_drawn() -> None:
    """As soon as there are two observations."""
    later = replace(FOUND, until="2026-03-03T00:00:00+00:00", alarms=(ALARM,))

    page = monitoring_page.render("taxi", [FOUND, later])

    assert "Over time" in page
    assert "Distance from the live model&#39;s data, 1 is an alarm" in page


def test_an_empty_window_has_a_page() -> None:
    """Before the first request, too."""
    empty = Observation(
        "taxi", 1, FOUND.at, since=FOUND.since, until=FOUND.until, rows=0
    )

    page = monitoring_page.render("taxi", [empty])

    assert "No alarm." in page
    assert "Nothing was compared." in page
    assert "There are no scores, and no labels." in page


def test_an_unchanged_feature_is_counted_only() -> None:
    """What is near its threshold is read first, and alarms are never left out."""
    compared = [replace(FOUND.comparisons[0], column=f"feature_{n}") for n in range(20)]
    over = replace(compared[0], column="moved_far", value=0.03)
    same = replace(compared[0], column="unmoved", value=0)

    page = monitoring_page.render(
        "taxi", [replace(FOUND, comparisons=(same, *compared, over))]
    )

    assert page.index("moved_far") < page.index("feature_0")
    assert "10 more comparisons are further below their thresholds" in page
    assert "unmoved" not in page


def test_shares_are_of_all_requests() -> None:
    """Answered and failed ones are 100 % together."""
    page = monitoring_page.render("taxi", [replace(FOUND, versions={"17": 2000})])

    assert "99.90%" in page
    assert "0.10%" in page


@pytest.mark.e2e
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_a_browser_shows_it(
    tmp_path: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    """Curves are drawn, a phone has nothing to scroll sideways, and no network is used.

    The charts are drawn by a script in the page, which nothing but a browser runs.
    """
    later = replace(
        FOUND, until="2026-03-03T00:00:00+00:00", rows=1990, alarms=(ALARM,)
    )
    file = tmp_path / "index.html"
    file.write_text(monitoring_page.render("taxi", [FOUND, later]))
    complaints: list[str] = []
    asked: list[str] = []
    with chromium() as opened:
        page = opened.new_page(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        # Of observers that resize what they observe Playwright doesn't tell.
        page.add_init_script("addEventListener('error', (e) => console.log(e.message))")

        page.goto(file.as_uri())
        page.locator("figure svg").nth(2).wait_for()

        rows = page.locator("figure", has_text="Rows of a window").first
        labels = rows.locator("svg text").all_text_contents()
        alarms = page.locator(".note.bad").all_inner_texts()
        wide = page.evaluate("document.documentElement.scrollWidth")
    assert alarms == ["skew: fare: moved"]
    # The axis begins at 0.
    assert "0" in labels
    assert "2,000" in labels
    assert wide <= width
    assert (complaints, asked) == ([], [file.as_uri()])
