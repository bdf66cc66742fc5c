"""The first section: whether the model was blessed and pushed."""

import pytest

from pipeline.config import Config
from pipeline.report.blocks import Facts, Note
from pipeline.report.sections.verdict import section
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore, train


def note_of(config: Config) -> Note:
    """The section's first block."""
    note = section(opened(config)).blocks[0]
    assert isinstance(note, Note)
    return note


@pytest.mark.parametrize(
    ("version", "text", "tone"),
    [
        ("101", "Blessed, and pushed as version 101.", "good"),
        ("", "Not blessed, and so not pushed.", "bad"),
    ],
)
def test_verdict_is_the_evaluator_s_and_the_pusher_s(
    config: Config, store: StockStore, version: str, text: str, tone: str
) -> None:
    """What was pushed has its version; what wasn't blessed was not pushed."""
    train(store, "monday", version=version)

    note = note_of(config)

    assert note.text == text
    assert note.tone == tone


def test_a_run_without_a_model_has_no_verdict(
    config: Config, store: StockStore
) -> None:
    """A run that ended before the evaluation says so, and is no failure."""
    store.ran("monday", "CsvExampleGen", outputs={"examples": store.examples()})

    assert note_of(config) == Note("The run has evaluated no model.", "info")


@pytest.mark.parametrize(("auc", "shown"), [(0.84, 0.84), (float("nan"), "-")])
def test_auc_is_a_fact(
    config: Config, store: StockStore, auc: float, shown: float | str
) -> None:
    """A test split of one class has no AUC: "-", and never 0."""
    evaluation = store.evaluation(auc=auc, example_count=20.0)
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    facts = section(opened(config)).blocks[-1]

    assert isinstance(facts, Facts)
    assert facts.facts["AUC on the test split"] == shown
    assert facts.facts["rows in the test split"] == 20.0
