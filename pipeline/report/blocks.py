"""The blocks of a report's sections, and how a component adds a section.

To add a section, a component writes it into the directory of any of its output
artifacts:

    Section("Fairness", [Note("No group is worse off.", "good"), Table(...)]).write(uri)

This writes `report_section.json`, and the report of each run that wrote or reused the
artifact shows the section, without any registration. The report's own sections use the
same blocks.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.columnar import files
from pipeline.columnar.files import Location

SECTION_FILE = "report_section.json"

Cell = str | float | int | None
Point = tuple[float, float]


class SectionError(ValueError):
    """A section file can't be shown; the message is the reason."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class Note:
    """A highlighted sentence; the tone must also be clear without its colour."""

    text: str
    tone: Literal["good", "bad", "warn", "info"] = "info"
    kind: Literal["note"] = "note"


@dataclass(frozen=True)
class Facts:
    """Names and their values, such as settings."""

    facts: Mapping[str, Cell]
    kind: Literal["facts"] = "facts"


@dataclass(frozen=True)
class Table:
    """A table that sorts by a click on a column's head, numbers by value."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Lines:
    """A line chart over a numeric axis, one line per series: [[x, y], ...]."""

    title: str
    x: str
    y: str
    series: Mapping[str, Sequence[Point]]
    diagonal: bool = False
    """Whether to draw y = x, as for a calibration curve."""
    x_range: Point | None = None
    y_range: Point | None = None
    x_labels: Sequence[str] = ()
    """Labels of the x values 0, 1, 2 and so on, if x is not a quantity."""
    mark_x: float | None = None
    """The x value of a vertical rule."""
    kind: Literal["lines"] = "lines"


@dataclass(frozen=True)
class Bars:
    """A bar chart; each series is [[category, value], ...] with the same categories."""

    title: str
    x: str
    series: Mapping[str, Sequence[tuple[str, float]]]
    kind: Literal["bars"] = "bars"


@dataclass(frozen=True)
class Histogram:
    """Outlines of histograms; each series is [[lower, upper, share], ...]."""

    title: str
    x: str
    series: Mapping[str, Sequence[tuple[float, float, float]]]
    kind: Literal["histogram"] = "histogram"


@dataclass(frozen=True)
class Heat:
    """A heat map: cells at places of two axes with named places.

    The first series is shaded by its values, on a logarithmic scale; cells of a second
    one are crossed out. Each series is [[x, y, value], ...] with places from 0 on.
    """

    title: str
    x: str
    y: str
    x_labels: Sequence[str]
    y_labels: Sequence[str]
    series: Mapping[str, Sequence[tuple[float, float, float]]]
    kind: Literal["heat"] = "heat"


@dataclass(frozen=True)
class Drawing:
    """SVG by the report itself: one drawing for wide and one for narrow screens."""

    wide: str
    narrow: str
    kind: Literal["drawing"] = "drawing"


@dataclass(frozen=True)
class Grid:
    """Blocks side by side, as many as fit."""

    blocks: "Sequence[Block]"
    kind: Literal["grid"] = "grid"


@dataclass(frozen=True)
class Details:
    """Blocks that are collapsed until the reader opens them."""

    summary: str
    blocks: "Sequence[Block]"
    kind: Literal["details"] = "details"


Block = (
    Text
    | Note
    | Facts
    | Table
    | Lines
    | Bars
    | Histogram
    | Heat
    | Drawing
    | Grid
    | Details
)

# Not `Drawing`: markup from a file could run scripts or load resources.
_FROM_FILES: Mapping[str, type[Any]] = {
    "text": Text,
    "note": Note,
    "facts": Facts,
    "table": Table,
    "lines": Lines,
    "bars": Bars,
    "histogram": Histogram,
    "heat": Heat,
    "grid": Grid,
    "details": Details,
}


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Attributes:
        title: Its heading.
        blocks: Its contents.
        after: Title of the section to place it after; before the lineage if empty.
    """

    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    after: str = ""

    @property
    def anchor(self) -> str:
        """Id of the section in the page, for links."""
        # Titles are free text, and an id must not have spaces.
        letters = (c if c.isalnum() else "-" for c in self.title.lower())
        return "".join(letters).strip("-") or "section"

    def write(self, directory: Path | str) -> None:
        """Writes the section into an artifact's directory, for the report."""
        path = Path(directory) / SECTION_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        # JSON and not pickle: a component in another container or language can write
        # it, and reading it runs no code.
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def read_section(location: Location) -> Section:
    """Reads a section file, which a component in any language may have written.

    Raises:
        SectionError: The file is not JSON, or has a block of an unknown kind.
    """
    try:
        values = json.loads(files.read_text(location))
        return Section(
            # Only these keys: a file of a newer version may have more.
            title=str(values["title"]),
            blocks=[_block(block) for block in values["blocks"]],
            after=str(values.get("after", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise SectionError(f"{location} can't be shown: {reason}") from error


def _block(values: Mapping[str, Any]) -> Block:
    kind = str(values.get("kind"))
    if kind not in _FROM_FILES:
        known = ", ".join(_FROM_FILES)
        raise SectionError(f"there is no block of kind {kind!r}; there are {known}")
    given = dict(values)
    if "blocks" in given:
        given["blocks"] = [_block(block) for block in given["blocks"]]
    # An unknown field raises a TypeError here, which the caller reports with the path.
    block: Block = _FROM_FILES[kind](**given)
    return block
