"""The card of the version that the run's model is, from the card's own Markdown."""

from collections.abc import Iterator

from pipeline.artifacts import Run
from pipeline.lineage import card
from pipeline.registry import history, versions
from pipeline.registry.history import Registry
from pipeline.report.blocks import Block, Details, Section, Table, Text

_HEADING, _CELL, _ITEM = "## ", "| ", "- "


def section(run: Run) -> Section | None:
    """Shows the card of the run's version; `None` if it is none."""
    registry = history.read(run.config.serving_directory)
    number = _version(run, registry)
    if number is None:
        return None
    text = card.markdown(run.lineage, registry, number)
    where = f"Of version {number}; the same as `throughline models card {number}`."
    return Section("Model card", [Text(where), *_blocks(text)])


def _version(run: Run, registry: Registry) -> int | None:
    """Returns the newest version that is the run's model."""
    if not run.has("Model"):
        return None
    model = run.artifact("Model")
    same = {versions.MODEL_ID: model.id, versions.MODEL_URI: model.uri}
    origins = {number: event.origin for number, event in registry.added.items()}
    found = [n for n, origin in origins.items() if same.items() <= origin.items()]
    return max(found, default=None)


def _blocks(text: str) -> Iterator[Block]:
    """Yields a block for each part of a card, with its heading."""
    for part in text.split(f"\n{_HEADING}")[1:]:
        title, _, rest = part.partition("\n")
        yield Details(title, list(_content(rest.splitlines())))


def _content(lines: list[str]) -> Iterator[Block]:
    """Yields the tables and the paragraphs among lines of Markdown."""
    rows = [_cells(line) for line in lines if line.startswith(_CELL)]
    if rows:
        head, _, *body = rows
        yield Table(head, body)
    paragraphs: list[str] = []
    for line in lines:
        if line.startswith("  ") and paragraphs:
            paragraphs[-1] += f" {line.strip()}"
        elif line and not line.startswith(_CELL):
            paragraphs.append(line.removeprefix(_ITEM))
    yield from (Text(each) for each in paragraphs)


def _cells(line: str) -> list[str]:
    cells = line.removeprefix(_CELL).removesuffix(" |").split(" | ")
    return [cell.replace("&#124;", "|") for cell in cells]
