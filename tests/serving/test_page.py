"""The server's page, in a real browser."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page

from operations import monitoring_page
from operations.monitoring_page import Moment
from tests import browser
from tests.operations.test_observation import FOUND
from tests.serving.conftest import MODEL, ROW, Server

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of Chromium."""
    with browser.chromium() as opened:
        yield opened.new_page()


def test_the_page_shows_what_the_server_does(server: Server, page: Page) -> None:
    """Version, counts and curves appear, and nothing is loaded from elsewhere."""
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script("addEventListener('error', (e) => console.log(e.message))")
    for _ in range(20):
        server.predict(ROW)
    server.predict({"fare": "x"})
    origin = f"http://127.0.0.1:{server.ports['rest']}/"

    page.goto(origin)
    page.get_by_text("Version 5 answers.").wait_for()
    page.locator("#summary").get_by_text("INVALID_ARGUMENT").wait_for()
    page.locator("#latency path[d^='M']").first.wait_for(state="attached")

    assert page.locator("#versions").inner_text().split()[:2] == ["5", "AVAILABLE"]
    facts = page.locator("#facts").inner_text().splitlines()
    assert facts[1] == "5"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", facts[3])
    assert {url.startswith(origin) for url in asked} == {True}
    assert complaints == []


def test_the_page_has_what_is_monitored(server: Server, page: Page) -> None:
    """As soon as `operate` or `monitor` has written it, and again when it changes."""
    origin = f"http://127.0.0.1:{server.ports['rest']}"
    file = server.output / "monitoring" / MODEL / "index.html"
    page.goto(f"{origin}/")
    before = server.ask("/monitoring").status
    page.get_by_text("Nothing is monitored yet").wait_for()
    file.parent.mkdir(parents=True)
    moment = Moment(datetime(2026, 3, 1, tzinfo=UTC), "push", "version 5 by run r1")

    file.write_text(monitoring_page.render(MODEL, [FOUND], [moment]))
    shown = page.frame_locator("#monitoring")
    shown.get_by_text("version 5 by run r1").wait_for()
    quality = shown.get_by_text("0.91 (0.87 to 0.94)").count()
    height = page.locator("#monitoring").bounding_box()
    file.write_text(monitoring_page.render(MODEL, [FOUND], [replace(moment, text="x")]))
    shown.get_by_role("cell", name="x", exact=True).wait_for()

    assert before == 404
    assert quality
    # All of it, without a bar to scroll within.
    assert height
    assert height["height"] > 500
    assert page.get_by_text("Nothing is monitored yet").is_hidden()


def test_the_page_fits_a_phone(server: Server, page: Page) -> None:
    """There is nothing to scroll sideways."""
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto(f"http://127.0.0.1:{server.ports['rest']}/")
    page.get_by_text("Version 5 answers.").wait_for()

    width = page.evaluate("document.documentElement.scrollWidth")

    assert width <= 360


def test_the_page_says_when_the_server_is_gone(page: Page) -> None:
    """What it showed last stays, with a notice."""
    page.get_by_text("Version 5 answers.").wait_for()

    page.route("**/status", lambda route: route.abort())

    page.get_by_text("The server doesn't answer").wait_for()
    assert page.locator("#facts").inner_text()
