"""Draws a directed acyclic graph as SVG, in layers from left to right or downwards.

A few dozen boxes need neither Graphviz nor a browser. The method is that of Sugiyama
et al. (1981), "Methods for visual understanding of hierarchical system structures":
longest paths assign the layers, and medians of neighbours the order within a layer.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import median

_SWEEPS = 8
# Sizes are CSS pixels. A text can't be measured without a browser, so each character
# counts as a wide one of the 13 px font in STYLE: a box may be too wide, never too
# narrow.
_CHARACTER = 8.0
_PADDING = 12
_LINE = 17
_BETWEEN_LAYERS = 44
_BETWEEN_BOXES = 16
_MARGIN = 8


@dataclass(frozen=True)
class Box:
    """A box of the drawing.

    Attributes:
        lines: Its text; the first line is bold.
        kind: A CSS class for its colours.
        title: Its tooltip.
        link: Target of a click, such as #section; empty for none.
        round: Whether its ends are round.
    """

    lines: Sequence[str]
    kind: str = ""
    title: str = ""
    link: str = ""
    round: bool = False

    @property
    def width(self) -> float:
        """Width in CSS pixels, estimated from the longest line."""
        return max(len(line) for line in self.lines) * _CHARACTER + 2 * _PADDING

    @property
    def height(self) -> float:
        """Height in CSS pixels."""
        return len(self.lines) * _LINE + _PADDING


_FIRST = ' class="first"'
Point = tuple[float, float]

STYLE = """
.box rect { fill: #fff; stroke: #64748b; }
.box text { font: 13px system-ui, sans-serif; fill: #1e293b; }
.box .first { font-weight: 600; }
.edge { fill: none; stroke: #94a3b8; }
.arrow { fill: #94a3b8; }
@media (prefers-color-scheme: dark) {
  .box rect { fill: #1e293b; stroke: #94a3b8; }
  .box text { fill: #e2e8f0; }
}
"""


@dataclass(frozen=True)
class Appearance:
    """The appearance of a drawing.

    Attributes:
        style: Its CSS; empty if the surrounding page has the rules.
        marker: Id of the arrow head, unique among the drawings of a page.
        downwards: Stack the layers from top to bottom, for narrow screens.
    """

    style: str = STYLE
    marker: str = "arrow"
    downwards: bool = False


def draw(
    boxes: Mapping[str, Box],
    upstream: Mapping[str, Collection[str]],
    label: str,
    look: Appearance | None = None,
) -> str:
    """Draws boxes and arrows between them.

    Args:
        boxes: The boxes by name.
        upstream: The names that each box has an arrow from; unknown ones are skipped.
        label: Description of the drawing for screen readers.
        look: Its appearance; from left to right with its own style if not given.

    Returns:
        An SVG element, which scales down to the available width.

    Raises:
        ValueError: The graph has a cycle.
    """
    look = look or Appearance()
    downwards, marker, style = look.downwards, look.marker, look.style
    # A partial answer has edges from artifacts that it doesn't contain.
    before = {n: [u for u in upstream.get(n, ()) if u in boxes] for n in boxes}
    layers = _layers(before)
    order = _ordered(layers, before)
    places, size = _places(order, boxes, downwards=downwards)
    edges = [
        _edge(
            _Ends(places[u], boxes[u], places[n], boxes[n]), marker, downwards=downwards
        )
        for n, ups in before.items()
        for u in ups
    ]
    drawn = [_box(places[name], box) for name, box in boxes.items()]
    width, height = size
    return "\n".join(
        [
            _opening(label, width, height),
            f"<style>{style}</style>" if style else "",
            # Once: the second is the CSS class. Two markers of one id in a page, and
            # browsers use the first for both drawings, even while it is hidden.
            _ARROW.replace("arrow", marker, 1),
            *edges,
            *drawn,
            "</svg>",
        ]
    )


def _opening(label: str, width: float, height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="'
        f'{escape(label)}" viewBox="0 0 {width:.0f} {height:.0f}"'
        f' width="{width:.0f}" height="{height:.0f}">'
    )


_ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
    ' markerHeight="7" orient="auto"><path class="arrow" d="M0 0L8 4L0 8z"/></marker>'
    "</defs>"
)


def _layers(before: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Returns the length of the longest path to each name.

    Raises:
        ValueError: The graph has a cycle.
    """
    layers: dict[str, int] = {}
    waiting = list(before)
    while waiting:
        ready = [n for n in waiting if all(u in layers for u in before[n])]
        if not ready:
            raise ValueError(f"the graph has a cycle among {', '.join(waiting)}")
        for name in ready:
            layers[name] = max((layers[u] + 1 for u in before[name]), default=0)
        waiting = [n for n in waiting if n not in layers]
    return layers


def _ordered(
    layers: Mapping[str, int], before: Mapping[str, Sequence[str]]
) -> list[list[str]]:
    """Orders each layer by the medians of its neighbours, sweeping back and forth."""
    order: list[list[str]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    for name, layer in layers.items():
        order[layer].append(name)
    after: dict[str, list[str]] = {name: [] for name in layers}
    for name, ups in before.items():
        for up in ups:
            after[up].append(name)
    for sweep in range(_SWEEPS):
        # Forwards a layer follows the one before it, backwards the one after it: one
        # direction alone leaves the first layer in its arbitrary order.
        neighbours = before if sweep % 2 == 0 else after
        for row in order if sweep % 2 == 0 else reversed(order):
            position = {n: i for other in order for i, n in enumerate(other)}
            row.sort(key=lambda n: _median(n, neighbours[n], position))
    return order


def _median(
    name: str, neighbours: Sequence[str], position: Mapping[str, int]
) -> tuple[float, int]:
    places = [position[n] for n in neighbours]
    # The old position breaks ties, so that equal graphs give equal drawings.
    return (median(places) if places else position[name], position[name])


def _places(
    order: Sequence[Sequence[str]], boxes: Mapping[str, Box], *, downwards: bool
) -> tuple[dict[str, Point], Point]:
    """Centres each layer; returns the boxes' upper left corners and the total size."""

    def along(name: str) -> float:
        return boxes[name].height if downwards else boxes[name].width

    def across(name: str) -> float:
        return boxes[name].width if downwards else boxes[name].height

    spans = [sum(map(across, row)) + _BETWEEN_BOXES * (len(row) - 1) for row in order]
    widest = max(spans, default=0.0)
    places: dict[str, Point] = {}
    depth = float(_MARGIN)
    for row, span in zip(order, spans, strict=True):
        offset = _MARGIN + (widest - span) / 2
        thickest = max(map(along, row))
        for name in row:
            inset = depth + (thickest - along(name)) / 2
            places[name] = (offset, inset) if downwards else (inset, offset)
            offset += across(name) + _BETWEEN_BOXES
        depth += thickest + _BETWEEN_LAYERS
    size = (depth - _BETWEEN_LAYERS + _MARGIN, widest + 2 * _MARGIN)
    # Depth and width were computed as for a drawing from left to right.
    return places, (size[1], size[0]) if downwards else size


@dataclass(frozen=True)
class _Ends:
    start: Point
    source: Box
    end: Point
    target: Box


def _edge(ends: _Ends, marker: str, *, downwards: bool) -> str:
    (x1, y1), (x2, y2) = ends.start, ends.end
    source, target = ends.source, ends.target
    if downwards:
        x1, y1, x2 = x1 + source.width / 2, y1 + source.height, x2 + target.width / 2
        # Both control points at half the distance: an S that leaves and arrives
        # straight.
        middle = (y1 + y2) / 2
        curve = f"{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f}"
    else:
        x1, y1, y2 = x1 + source.width, y1 + source.height / 2, y2 + target.height / 2
        middle = (x1 + x2) / 2
        curve = f"{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f}"
    path = f"M{x1:.1f} {y1:.1f}C{curve} {x2:.1f} {y2:.1f}"
    return f'<path class="edge" marker-end="url(#{marker})" d="{path}"/>'


def _box(place: Point, box: Box) -> str:
    x, y = place
    radius = box.height / 2 if box.round else 6
    middle, top = x + box.width / 2, y + _PADDING / 2 + 13
    texts = [
        f'<text{_FIRST if i == 0 else ""} x="{middle:.1f}" y="{top + _LINE * i:.1f}"'
        f' text-anchor="middle">{escape(line)}</text>'
        for i, line in enumerate(box.lines)
    ]
    title = f"<title>{escape(box.title)}</title>" if box.title else ""
    drawn = (
        f'<g class="box {escape(box.kind)}">{title}<rect x="{x:.1f}" y="{y:.1f}"'
        f' width="{box.width:.1f}" height="{box.height:.1f}" rx="{radius:.1f}"/>'
        f"{''.join(texts)}</g>"
    )
    return f'<a href="{escape(box.link)}">{drawn}</a>' if box.link else drawn
