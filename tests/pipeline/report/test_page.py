"""From sections to one HTML file."""

import re

import pytest

from pipeline.report.blocks import Bars, Cell, Histogram, Lines, Note, Section, Table
from pipeline.report.page import Link, _cell, _description, _numbers, render


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (float("nan"), ""),
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
    """Numbers have four digits and separators; what is missing is empty."""
    assert _cell(value) == shown


def test_the_page_needs_nothing_else() -> None:
    """No element loads anything, and the policy forbids what would."""
    page = render("a run", [Section("One", [Note("fine", "good")])])

    markup = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)
    assert "default-src 'none'" in markup
    assert not re.search(
        r"<(link|img|script|iframe)[^>]*(src|href)=\"(?!data:,)", markup
    )
    assert len(page) < 1_000_000


def test_everything_is_escaped() -> None:
    """Names and values with markup in them are shown as they are."""
    evil = "</script><script>alert(1)</script>"
    chart = Lines(evil, evil, evil, {evil: [(0.0, 1.0)]})

    page = render(evil, [Section(evil, [Note(evil), Table([evil], [[evil]]), chart])])

    assert "<script>alert" not in page


def test_lines_as_a_table() -> None:
    """Series with different steps share one table, in the order of x."""
    lines = Lines("AUC", "step", "AUC", {"a": [(2, 0.5), (1, 0.4)], "b": [(2, 0.6)]})

    assert _numbers(lines) == (["step", "a", "b"], [[1, 0.4, None], [2, 0.5, 0.6]])


def test_labelled_lines_as_a_table() -> None:
    """Where x values have names, the table has them."""
    lines = Lines("AUC", "run", "AUC", {"a": [(0, 0.5)]}, x_labels=["monday"])

    assert _numbers(lines) == (["run", "a"], [["monday", 0.5]])


def test_bars_as_a_table_keep_their_order() -> None:
    """Categories come as they were given, not by the alphabet."""
    bars = Bars("share", "share", {"a": [("Cash", 0.7), ("Card", 0.3)]})

    assert _numbers(bars) == (["share", "a"], [["Cash", 0.7], ["Card", 0.3]])


def test_histograms_as_a_table() -> None:
    """A histogram's rows are its ranges, with each split's share."""
    histogram = Histogram("fare", "fare", {"a": [(0, 1, 0.4)], "b": [(0, 1, 0.6)]})

    assert _numbers(histogram) == (
        ["fare", "share of a", "share of b"],
        [["0 to 1", 0.4, 0.6]],
    )


def test_charts_are_described_in_words() -> None:
    """A description has the range of each series; an empty chart says so."""
    lines = Lines("AUC", "step", "AUC", {"eval": [(1, 0.4), (2, 0.5)]})

    assert _description(lines).startswith("AUC: eval between 0.4 and 0.5.")
    assert "no values" in _description(Lines("AUC", "step", "AUC", {"eval": []}))
