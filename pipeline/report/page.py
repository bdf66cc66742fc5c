"""Renders sections as one HTML file that includes its styles, scripts and data."""

import base64
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from pipeline.quality.results import UNDEFINED
from pipeline.report.blocks import (
    Bars,
    Cell,
    Grid,
    Heat,
    Histogram,
    Lines,
    Section,
)

_HERE = Path(__file__).parent
# In the order of their dependencies.
_SCRIPTS = ("vendor/d3.min.js", "vendor/plot.umd.min.js", "report.js")
_DIGITS = 4
_LARGE = 10_000
_UNDEFINED = "-"

Chart = Lines | Bars | Histogram | Heat

__all__ = ("Grid", "Link", "render")


@dataclass(frozen=True)
class Link:
    """A table cell with a link; only the report's own tables can have one.

    Attributes:
        text: The text of the link.
        to: A path relative to the page's directory. It is prefixed with `./`, so that a
            run named `javascript:x` is a path rather than a script.
    """

    text: str
    to: str

    @property
    def href(self) -> str:
        """The relative URL of the link."""
        return f"./{quote(self.to)}"


def render(title: str, sections: Sequence[Section], kind: str = "report") -> str:
    """Renders a page.

    Args:
        title: Title of the page.
        sections: The sections, in order.
        kind: "report" for a run, "index" for the list of runs.

    Returns:
        HTML that loads no other resource; it only links to the index, reports and logs.
    """
    return _template().render(
        title=title,
        kind=kind,
        sections=sections,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        style=Markup(_asset("report.css")),  # noqa: S704 - it is our own file
        scripts=[Markup(_asset(name)) for name in _SCRIPTS],  # noqa: S704 - as above
        script_hashes=" ".join(f"'{_hash(_asset(name))}'" for name in _SCRIPTS),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        # A mistyped name in the template fails in a test instead of leaving a gap.
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "cell": _cell,
        "sort_key": _sort_key,
        "data": _chart_data,
        "numbers": _numbers,
        "description": _description,
        "markup": Markup,
        "is_link": lambda value: isinstance(value, Link),
        "is_number": _is_number,
    }
    return environment.get_template("template.html.j2")


@cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


def _hash(script: str) -> str:
    """Returns a script's hash for the Content-Security-Policy, which blocks others."""
    found = hashlib.sha256(script.encode()).digest()
    # The form in which the policy wants it: base64 of the raw digest.
    return f"sha256-{base64.b64encode(found).decode()}"


def _is_number(value: Any) -> bool:
    # Python's True is an int, and would be shown as 1.
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Cell | Link) -> str:
    """Formats a value for display: `None` is empty, NaN is a dash."""
    if isinstance(value, Link):
        return value.text
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "" if value is None else _UNDEFINED
    if not _is_number(value):
        return str(value)
    number = float(value)
    if number.is_integer() and abs(number) < 1e15:  # noqa: PLR2004 - floats are exact
        return f"{int(number):,}"
    if abs(number) >= _LARGE:
        return f"{number:,.0f}"
    return f"{number:.{_DIGITS}g}"


def _sort_key(value: Cell | Link) -> str:
    # Last, with what is missing, whichever way the numbers are sorted.
    if value == UNDEFINED or (isinstance(value, float) and math.isnan(value)):
        return ""
    if _is_number(value):
        return repr(float(value))  # type: ignore[arg-type] # it is a number
    return value.text if isinstance(value, Link) else str(value or "")


def _chart_data(chart: Chart) -> str:
    """Returns a chart's data as JSON for report.js; numbers have 7 digits."""
    return json.dumps(_rounded(dataclasses.asdict(chart)), separators=(",", ":"))


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    if isinstance(value, float):
        # Seven digits are more than a chart has pixels and halve the file; NaN isn't
        # JSON, and Plot draws a gap for null.
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def _numbers(chart: Chart) -> tuple[list[str], list[list[Cell]]]:
    """Returns a chart's columns and rows as a table, also for screen readers."""
    names = list(chart.series)
    if isinstance(chart, Histogram):
        first = next(iter(chart.series.values()), ())
        rows: list[list[Cell]] = [
            [f"{_cell(low)} to {_cell(high)}"] for low, high, _ in first
        ]
        for bars in chart.series.values():
            # Not strict: a split without values has no bars.
            for row, (_, _, share) in zip(rows, bars, strict=False):
                row.append(share)
        return [chart.x, *(f"share of {name}" for name in names)], rows
    if isinstance(chart, Heat):
        return _heat_numbers(chart)
    by_x: dict[Any, dict[str, float]] = {}
    for name, points in chart.series.items():
        for x, y in points:
            by_x.setdefault(x, {})[name] = y
    labels = chart.x_labels if isinstance(chart, Lines) else ()
    rows = [
        [labels[int(x)] if labels else x, *(found.get(name) for name in names)]
        for x, found in (by_x if isinstance(chart, Bars) else sorted_dict(by_x)).items()
    ]
    return [chart.x, *names], rows


def _heat_numbers(chart: Heat) -> tuple[list[str], list[list[Cell]]]:
    """Returns a heat map as a table of its places; of a later series in brackets."""
    rows: list[list[Cell]] = [
        [label, *([None] * len(chart.x_labels))] for label in chart.y_labels
    ]
    for number, points in enumerate(chart.series.values()):
        for x, y, value in points:
            shown: Cell = f"({_cell(value)})" if number else value
            rows[int(y)][int(x) + 1] = shown
    return [f"{chart.y} / {chart.x}", *chart.x_labels], rows


def sorted_dict(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Returns a mapping sorted by its keys."""
    return dict(sorted(values.items()))


def _description(chart: Chart) -> str:
    """Returns a description of a chart for screen readers."""
    parts = []
    for name, points in chart.series.items():
        values = [point[-1] for point in points if math.isfinite(point[-1])]
        if values:
            low, high = _cell(min(values)), _cell(max(values))
            parts.append(f"{name} between {low} and {high}")
    return f"{chart.title}: {'; '.join(parts) or 'no values'}. Numbers in the table."
