"""The section about the lineage of the run's model."""

from pipeline.config import Config
from pipeline.report.blocks import Details, Facts
from pipeline.report.sections.origin import section
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore, train


def test_model_is_traced_to_its_executions(config: Config, store: StockStore) -> None:
    """Run, versions and schema are facts; each execution is in the drawing."""
    made = train(store, "monday", version="101")

    shown = section(opened(config))

    assert shown is not None
    facts, _, drawing, code = shown.blocks
    assert isinstance(facts, Facts)
    assert facts.facts["model"] == made.model
    assert facts.facts["trained in run"] == "monday"
    assert facts.facts["versions"] == "101"
    assert facts.facts["schema's columns"] == 1
    assert isinstance(drawing, Details)
    assert "CsvExampleGen" in str(drawing.blocks[0])
    assert isinstance(code, Details)
    assert "trainer@10" in str(code.blocks[0])


def test_a_model_that_was_not_pushed_has_no_version(
    config: Config, store: StockStore
) -> None:
    """It is said to be never pushed."""
    train(store, "monday")

    shown = section(opened(config))

    assert shown is not None
    facts = shown.blocks[0]
    assert isinstance(facts, Facts)
    assert facts.facts["versions"] == "never pushed"


def test_a_run_without_a_model_has_no_section(
    config: Config, store: StockStore
) -> None:
    """There is nothing to trace."""
    store.ran("monday", "CsvExampleGen", outputs={"examples": store.examples()})

    assert section(opened(config)) is None
