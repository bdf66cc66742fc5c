"""Rendering of sections as one HTML file."""

import math
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from pipeline.report.blocks import (
    Bars,
    Cell,
    Heat,
    Histogram,
    Lines,
    Note,
    Section,
    Table,
)
from pipeline.report.page import Link, _cell, _description, _numbers, render


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (float("nan"), "-"),
        ("Cash", "Cash"),
        (0.95973, "0.9597"),
        (15002, "15,002"),
        (3081.0, "3,081"),
        (123456.7, "123,457"),
        (-0.00009, "-9e-05"),
        (True, "True"),
        (Link("run", "x.html"), "run"),
    ],
)
def test_values_as_people_read_them(value: Cell | Link, shown: str) -> None:
    """Numbers have four digits and separators; `None` is empty."""
    assert _cell(value) == shown


def test_the_page_needs_nothing_else() -> None:
    """No element loads a resource, and the policy forbids loading."""
    page = render("a run", [Section("One", [Note("fine", "good")])])

    markup = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)
    assert "default-src 'none'" in markup
    assert not re.search(
        r"<(link|img|script|iframe)[^>]*(src|href)=\"(?!data:,)", markup
    )
    assert len(page) < 1_000_000


def test_everything_is_escaped() -> None:
    """Markup in names and values is escaped."""
    evil = "</script><script>alert(1)</script>"
    chart = Lines(evil, evil, evil, {evil: [(0.0, 1.0)]})

    page = render(evil, [Section(evil, [Note(evil), Table([evil], [[evil]]), chart])])

    assert "<script>alert" not in page


class _Scripts(HTMLParser):
    """Parses a page's policy, and the text of each script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.policy = ""
        self.scripts: list[str] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Records the policy."""
        self._inside = tag == "script"
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = str(dict(attrs)["content"])

    def handle_data(self, data: str) -> None:
        """Records the text of a script."""
        if self._inside:
            self.scripts.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Ends a script."""
        self._inside = False


def test_only_our_scripts_may_run() -> None:
    """The policy allows exactly the page's scripts, by their hashes."""
    page = _Scripts(render("a run", []))

    (rule,) = re.findall(r"script-src ([^;]*);", page.policy)
    hashes = [sha256(script.encode()).digest() for script in page.scripts]
    named = [f"'sha256-{b64encode(found).decode()}'" for found in hashes]
    assert len(named) == 3
    assert rule.split() == named


@pytest.mark.parametrize(
    ("path", "href"),
    [
        ("monday/report.html", "./monday/report.html"),
        ("javascript:alert(1)/report.html", "./javascript%3Aalert%281%29/report.html"),
        ("a?b#c/report.html", "./a%3Fb%23c/report.html"),
        ("//evil.example/x", ".///evil.example/x"),
    ],
)
def test_links_stay_beside_the_page(path: str, href: str) -> None:
    """A link is relative to the page's directory for any name."""
    page = render("x", [Section("Runs", [Table(["run"], [[Link("run", path)]])])])  # type: ignore[list-item] # our own tables may have links

    assert f'<a href="{href}">run</a>' in page


def test_an_undefined_number_is_a_dash_that_sorts_last() -> None:
    """NaN is shown as a dash, and sorts last."""
    page = render("x", [Section("One", [Table(["slice", "AUC"], [["a", math.nan]])])])

    assert re.search(r'<td data-key="" class="number">-</td>', page)


def test_lines_as_a_table() -> None:
    """Series with different steps share one table, in the order of x."""
    lines = Lines("AUC", "step", "AUC", {"a": [(2, 0.5), (1, 0.4)], "b": [(2, 0.6)]})

    assert _numbers(lines) == (["step", "a", "b"], [[1, 0.4, None], [2, 0.5, 0.6]])


def test_labelled_lines_as_a_table() -> None:
    """The table shows the labels of x values."""
    lines = Lines("AUC", "run", "AUC", {"a": [(0, 0.5)]}, x_labels=["monday"])

    assert _numbers(lines) == (["run", "a"], [["monday", 0.5]])


def test_bars_as_a_table_keep_their_order() -> None:
    """Categories keep their order."""
    bars = Bars("share", "share", {"a": [("Cash", 0.7), ("Card", 0.3)]})

    assert _numbers(bars) == (["share", "a"], [["Cash", 0.7], ["Card", 0.3]])


def test_histograms_as_a_table() -> None:
    """The table of a histogram has one row per range, with each split's share."""
    histogram = Histogram("fare", "fare", {"a": [(0, 1, 0.4)], "b": [(0, 1, 0.6)]})

    assert _numbers(histogram) == (
        ["fare", "share of a", "share of b"],
        [["0 to 1", 0.4, 0.6]],
    )


def test_charts_are_described_in_words() -> None:
    """A description has the range of each series, or "no values"."""
    lines = Lines("AUC", "step", "AUC", {"eval": [(1, 0.4), (2, 0.5)]})

    assert _description(lines).startswith("AUC: eval between 0.4 and 0.5.")
    assert "no values" in _description(Lines("AUC", "step", "AUC", {"eval": []}))


def test_a_heat_map_as_a_table() -> None:
    """A row and a column per place; a second series is in brackets."""
    heat = Heat(
        "Rows",
        "hour",
        "area",
        ["3", "4"],
        ["8", "77"],
        {"training rows": [(0, 0, 12), (1, 1, 3)], "never": [(1, 0, 5)]},
    )

    assert _numbers(heat) == (
        ["area / hour", "3", "4"],
        [["8", 12, "(5)"], ["77", None, 3]],
    )
    page = render("x", [Section("One", [heat])])
    assert "training rows between 3 and 12; never between 5 and 5" in page
