"""Drawing a graph in layers."""

import itertools
import re

import pytest

from pipeline.lineage.drawing import Appearance, Box, draw

BOXES = {name: Box([name]) for name in ("read", "train", "push")}
UPSTREAM = {"train": ["read"], "push": ["train", "read"], "read": []}


def corners(drawing: str) -> dict[str, tuple[float, float]]:
    """Finds the upper left corner of each box, by its first line."""
    pattern = r'<rect x="([\d.]+)" y="([\d.]+)".*?class="first".*?>([^<]+)<'
    return {n: (float(x), float(y)) for x, y, n in re.findall(pattern, drawing)}


@pytest.mark.parametrize("downwards", [False, True])
def test_what_waits_stands_behind(*, downwards: bool) -> None:
    """A box is drawn after all boxes that have an arrow to it."""
    drawing = draw(BOXES, UPSTREAM, "a graph", Appearance(downwards=downwards))

    place = {name: corner[downwards] for name, corner in corners(drawing).items()}
    assert place["read"] < place["train"] < place["push"]
    assert drawing.count('class="edge"') == 3


def test_boxes_of_a_layer_don_t_overlap() -> None:
    """Boxes without an order between them don't overlap."""
    boxes = {name: Box([name, "second line"]) for name in "abcd"}

    drawing = draw(boxes, {}, "four")

    tops = sorted(y for _, y in corners(drawing).values())
    heights = boxes["a"].height
    assert all(b - a > heights for a, b in itertools.pairwise(tops))


def test_text_is_escaped() -> None:
    """Markup in names is escaped."""
    drawing = draw({"x": Box(["<b>&"], title='"t"')}, {}, "<i>")

    assert "<b>" not in drawing
    assert "&lt;b&gt;&amp;" in drawing
    assert 'aria-label="&lt;i&gt;"' in drawing


def test_unknown_upstream_is_left_out() -> None:
    """Arrows from unknown boxes are omitted."""
    drawing = draw({"a": Box(["a"])}, {"a": ["gone"]}, "one")

    assert 'class="edge"' not in drawing


def test_circle_is_refused() -> None:
    """A cycle raises an error that names its boxes."""
    with pytest.raises(ValueError, match="a, b"):
        draw({n: Box([n]) for n in "ab"}, {"a": ["b"], "b": ["a"]}, "circle")
