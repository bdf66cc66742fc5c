"""The section with the model card."""

from pipeline.config import Config
from pipeline.lineage import card
from pipeline.lineage.query import open_lineage
from pipeline.registry import history
from pipeline.report.blocks import Details, Table, Text
from pipeline.report.sections.card import section
from tests.pipeline.lineage.test_card import pushed
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore, train


def test_the_section_says_what_the_card_says(config: Config, store: StockStore) -> None:
    """Each part, paragraph and cell of the Markdown, and nothing else."""
    number = pushed(config, store, "1")
    registry = history.read(config.serving_directory)
    text = card.markdown(open_lineage(config), registry, number)

    shown = section(opened(config, "1"))

    assert shown is not None
    intro, *parts = shown.blocks
    assert isinstance(intro, Text)
    assert f"throughline models card {number}" in intro.text
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    found: list[str] = []
    for part in parts:
        assert isinstance(part, Details)
        for block in part.blocks:
            if isinstance(block, Table):
                found += [str(c) for row in (block.columns, *block.rows) for c in row]
            else:
                assert isinstance(block, Text)
                found.append(block.text)
    assert [part.summary for part in parts if isinstance(part, Details)] == titles
    assert "company A|B" in found
    flat = " ".join(text.replace("&#124;", "|").split())
    assert all(" ".join(each.split()) in flat for each in found)
    assert "decided as positive above 0.25" in " ".join(found)
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert sum(line[2:] in " ".join(found) for line in lines) == len(lines)


def test_a_run_that_pushed_nothing_here_has_no_card(
    config: Config, store: StockStore
) -> None:
    """Nor has one whose version is in no registry."""
    train(store, "1", version="1")

    assert section(opened(config, "1")) is None
