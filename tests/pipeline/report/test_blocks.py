"""Sections that components write into their artifacts."""

import json
from pathlib import Path

import pytest

from pipeline.report.blocks import (
    SECTION_FILE,
    Bars,
    Block,
    Details,
    Drawing,
    Facts,
    Grid,
    Histogram,
    Lines,
    Note,
    Section,
    SectionError,
    Table,
    Text,
    read_section,
)

BLOCKS: list[Block] = [
    Text("a paragraph"),
    Note("well done", "good"),
    Facts({"rows": 3}),
    Table(["a", "b"], [["x", 1.5]], "a caption"),
    Lines("AUC", "step", "AUC", {"eval": [[1, 0.5]]}, x_labels=["one"]),  # type: ignore[list-item] # JSON has no tuples
    Bars("share", "of rows", {"train": [["Cash", 0.7]]}),  # type: ignore[list-item] # as above
    Histogram("fare", "dollars", {"train": [[0, 1, 0.5]]}),  # type: ignore[list-item] # as above
    Grid([Text("side by side")]),
    Details("more", [Text("hidden")]),
]


def test_a_section_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Every kind of block is equal after writing and reading."""
    section = Section("Fairness", BLOCKS, after="Slices")

    section.write(tmp_path / "artifact")

    assert read_section(tmp_path / "artifact" / SECTION_FILE) == section


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{", "JSON"),
        ("[]", "TypeError"),
        ('{"blocks": []}', "title"),
        (
            '{"title": "x", "blocks": [{"kind": "video"}]}',
            "kind 'video'; there are text",
        ),
        ('{"title": "x", "blocks": [{"kind": "text"}]}', "text"),
        ('{"title": "x", "blocks": [{"kind": "text", "txt": "y"}]}', "txt"),
        ('{"title": "x", "blocks": ["text"]}', "AttributeError"),
    ],
)
def test_what_can_t_be_shown_is_told(tmp_path: Path, written: str, said: str) -> None:
    """An invalid section file is an error with its path and the reason."""
    path = tmp_path / SECTION_FILE
    path.write_text(written)

    with pytest.raises(SectionError) as refused:
        read_section(path)

    assert str(path) in str(refused.value)
    assert said in str(refused.value)


def test_markup_from_a_file_is_refused(tmp_path: Path) -> None:
    """A section file can't contain a drawing, which is raw markup."""
    Section("x", [Drawing("<script>", "<script>")]).write(tmp_path)

    with pytest.raises(SectionError, match="drawing"):
        read_section(tmp_path / SECTION_FILE)


def test_anchors_are_readable_and_never_empty() -> None:
    """The anchor of a section consists of the letters of its title."""
    assert Section("Calibration & thresholds").anchor == "calibration---thresholds"
    assert Section("?!").anchor == "section"


def test_a_section_file_is_plain_json(tmp_path: Path) -> None:
    """A section can be written as plain JSON."""
    Section("Fairness", [Note("fine", "good")]).write(tmp_path)

    assert json.loads((tmp_path / SECTION_FILE).read_text()) == {
        "title": "Fairness",
        "blocks": [{"text": "fine", "tone": "good", "kind": "note"}],
        "after": "",
    }
