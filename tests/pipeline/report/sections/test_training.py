"""The section about training."""

import json

import pytest

from models.names import HISTORY_FILE, WARM_START_FILE
from pipeline.config import Config
from pipeline.report.blocks import Facts, Grid, Lines, Table, Text
from pipeline.report.sections.training import section
from pipeline.store.artifact_files import TRIALS_FILE
from tests.pipeline.commands.test_tuning import trials
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore

CURVES = {
    "step": [10, 20, 30],
    "loss": [0.6, 0.5, 0.4],
    "eval_loss": [0.7, 0.5, 0.55],
    "eval_auc": [0.6, 0.8, 0.79],
}


def test_curves_mark_the_step_that_was_kept(config: Config, store: StockStore) -> None:
    """The weights with the least evaluation loss are named, with their metrics."""
    artifact = store.artifact("ModelRun")
    (store.path(artifact) / HISTORY_FILE).write_text(json.dumps(CURVES))
    store.ran("monday", "Trainer", outputs={"model_run": artifact})

    shown = section(opened(config))

    assert shown is not None
    facts, grid = shown.blocks
    assert isinstance(facts, Facts)
    assert facts.facts == {
        "weights kept of step": 20,
        "last step": 30,
        "eval loss": 0.5,
        "eval AUC": 0.8,
    }
    assert isinstance(grid, Grid)
    loss, auc = grid.blocks
    assert isinstance(loss, Lines)
    assert loss.mark_x == 20
    assert loss.series["eval"] == [(10, 0.7), (20, 0.5), (30, 0.55)]
    assert isinstance(auc, Lines)
    assert set(auc.series) == {"eval"}


def test_a_warm_start_says_what_was_taken(config: Config, store: StockStore) -> None:
    """The count, and each weight that wasn't, or not as a whole."""
    taken = {
        "found": True,
        "taken": ["a/kernel", "b/embeddings"],
        "new_rows": {"b/embeddings": "2 of 9 tokens are new"},
        "left": {"c/bias": "the live model has none of that name"},
    }
    artifact = store.artifact("ModelRun")
    (store.path(artifact) / HISTORY_FILE).write_text(json.dumps(CURVES))
    (store.path(artifact) / WARM_START_FILE).write_text(json.dumps(taken))
    store.ran("monday", "Trainer", outputs={"model_run": artifact})

    shown = section(opened(config))

    assert shown is not None
    *_, text, table = shown.blocks
    assert isinstance(text, Text)
    assert "2 of 3 weights began as the live model's" in text.text
    assert isinstance(table, Table)
    assert table.rows == [
        ["b/embeddings", "2 of 9 tokens are new"],
        ["c/bias", "random: the live model has none of that name"],
    ]


def test_trials_of_a_search_are_listed(config: Config, store: StockStore) -> None:
    """The best first, with their values; also of a run that went no further."""
    artifact = store.artifact("TunerResults")
    (store.path(artifact) / TRIALS_FILE).write_text(json.dumps(trials()))
    store.ran("monday", "Tuner", outputs={"tuner_results": artifact})

    shown = section(opened(config))

    assert shown is not None
    (table,) = shown.blocks
    assert isinstance(table, Table)
    assert table.columns == [
        *("trial", "learning-rate", "hidden-layers"),
        *("eval AUC", "step", "seconds", "failed"),
    ]
    assert table.rows == [
        [1, 0.004, "64 32", 0.91, 100, 3.0, ""],
        [0, 0.002, "64 32", 0.9, 50, 2.0, ""],
        [2, 0.5, "8", None, None, None, "its eval AUC is nan"],
    ]


@pytest.mark.parametrize("registered", [True, False])
def test_a_run_without_curves_has_no_section(
    config: Config, store: StockStore, *, registered: bool
) -> None:
    """Another trainer's run may have no curves, or no such artifact at all."""
    outputs = {"model_run": store.artifact("ModelRun")} if registered else {}
    store.ran("monday", "Trainer", outputs=outputs)

    assert section(opened(config)) is None
