"""What a section of the report is made of, and how a component adds one.

A component that wants to be in the report writes a section into the directory of any
artifact it puts out:

    Section("Fairness", [Note("No group is worse off.", "good"), Table(...)]).write(uri)

That leaves `report_section.json` there, and the report of each run that wrote or reused
the artifact shows it; nothing else needs to know. The report's own sections are made of
the same blocks.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SECTION_FILE = "report_section.json"

Cell = str | float | int | None
Point = tuple[float, float]


class SectionError(ValueError):
    """A section file is not what the report can show; the message says why."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class Note:
    """A sentence that stands out; the tone is also said in words or by a sign."""

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
    """A table that sorts by a click on a column's head; numbers sort as numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Lines:
    """Lines over a numeric axis, a series each: [[x, y], ...]."""

    title: str
    x: str
    y: str
    series: Mapping[str, Sequence[Point]]
    diagonal: bool = False
    """Whether to draw y = x, as for a calibration curve."""
    x_range: Point | None = None
    y_range: Point | None = None
    x_labels: Sequence[str] = ()
    """Names of the x values 0, 1, 2 and so on, where they are no quantities."""
    mark_x: float | None = None
    """Where to draw a vertical rule."""
    kind: Literal["lines"] = "lines"


@dataclass(frozen=True)
class Bars:
    """Bars, a series each: [[category, value], ...], all with the same categories."""

    title: str
    x: str
    series: Mapping[str, Sequence[tuple[str, float]]]
    kind: Literal["bars"] = "bars"


@dataclass(frozen=True)
class Histogram:
    """Outlines of histograms, a series each: [[lower, upper, share], ...]."""

    title: str
    x: str
    series: Mapping[str, Sequence[tuple[float, float, float]]]
    kind: Literal["histogram"] = "histogram"


@dataclass(frozen=True)
class Drawing:
    """SVG made by the report itself: one for wide and one for narrow screens."""

    wide: str
    narrow: str
    kind: Literal["drawing"] = "drawing"


@dataclass(frozen=True)
class Grid:
    """Blocks side by side, as many as there is room for."""

    blocks: "Sequence[Block]"
    kind: Literal["grid"] = "grid"


@dataclass(frozen=True)
class Details:
    """Blocks that show when one asks for them."""

    summary: str
    blocks: "Sequence[Block]"
    kind: Literal["details"] = "details"


Block = (
    Text | Note | Facts | Table | Lines | Bars | Histogram | Drawing | Grid | Details
)

# A drawing is markup, which only the report itself may put into the page.
_FROM_FILES: Mapping[str, type[Any]] = {
    "text": Text,
    "note": Note,
    "facts": Facts,
    "table": Table,
    "lines": Lines,
    "bars": Bars,
    "histogram": Histogram,
    "grid": Grid,
    "details": Details,
}


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Attributes:
        title: Its heading.
        blocks: What it shows.
        after: Title of the section to stand behind; near the end if there is none.
    """

    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    after: str = ""

    @property
    def anchor(self) -> str:
        """Where a link to the section leads."""
        letters = (c if c.isalnum() else "-" for c in self.title.lower())
        return "".join(letters).strip("-") or "section"

    def write(self, directory: Path | str) -> None:
        """Writes the section into an artifact's directory, for the report to find."""
        path = Path(directory) / SECTION_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def read_section(path: Path) -> Section:
    """Reads what `Section.write` wrote, or a component in any language.

    Raises:
        SectionError: The file is not JSON, or a block is none that this module has.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
        return Section(
            title=str(values["title"]),
            blocks=[_block(block) for block in values["blocks"]],
            after=str(values.get("after", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise SectionError(f"{path} can't be shown: {reason}") from error


def _block(values: Mapping[str, Any]) -> Block:
    kind = str(values.get("kind"))
    if kind not in _FROM_FILES:
        known = ", ".join(_FROM_FILES)
        raise SectionError(f"there is no block of kind {kind!r}; there are {known}")
    given = dict(values)
    if "blocks" in given:
        given["blocks"] = [_block(block) for block in given["blocks"]]
    block: Block = _FROM_FILES[kind](**given)
    return block
