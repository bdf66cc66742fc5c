"""Model cards: all that artifacts and registry know, and nothing else."""

import json
import re
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.lineage import card
from pipeline.lineage.query import open_lineage
from pipeline.registry import history
from pipeline.registry.changes import Author, push
from pipeline.registry.versions import identity
from pipeline.store.connection import open_store
from tests.pipeline.registry.saved_models import named
from tests.pipeline.tfx_store import StockStore, train

ABOUT = {
    "task": "binary",
    "label": "big_tipper",
    "threshold": 0.25,
    "costs": {"false_positive": 1.0, "false_negative": 3.0},
    "chosen_on": {"split": "eval", "rows": 1500, "cost": 0.125},
    "inputs": {"fare": "fare"},
}
GATES = {
    "metrics": [
        {
            "where": [],
            "rows": 90,
            # The evaluation's own AUC is 0.87.
            "metrics": {"auc": [0.8697, 0.8, 0.9], "recall": [0.5, 0.4, 0.625]},
        },
        {
            "where": [["company", "A|B"]],
            "rows": 30,
            "metrics": {"recall": [0.75, None, None]},
        },
    ],
    "findings": [
        {
            "where": "overall",
            "outcome": "passed",
            "rule": "auc >= 0.5",
            "text": "overall: auc is 0.87",
        },
        {
            "where": "company C",
            "outcome": "undecided",
            "rule": "auc by company loss <= 0.1",
            "text": "company C: 3 rows are too few",
        },
    ],
}


def pushed(config: Config, store: StockStore, run: str) -> int:
    """Trains, judges and pushes a model; returns its version."""
    made = train(store, run, version=run, auc=0.87)
    for artifact in store.path(made.model).parents[1].glob("ModelEvaluation/*"):
        (artifact / "gates.json").write_text(json.dumps(GATES))
    mlmd = MetadataStore(open_store(config.metadata_url))
    (model,) = mlmd.get_artifacts_by_id([made.model])
    saved = named(Path(model.uri), run)
    (saved / "assets.extra").mkdir(exist_ok=True)
    (saved / "assets.extra" / "model.json").write_text(json.dumps(ABOUT))
    origin = identity(model.id, model.uri, model.create_time_since_epoch)
    return push(saved, config.serving_directory, origin, Author(by=f"run {run}"))


def test_a_card_has_what_is_known(config: Config, store: StockStore) -> None:
    """Data, decision, metrics with slices, limits, lineage, and the way back."""
    first, second = (pushed(config, store, run) for run in ("101", "102"))
    registry = history.read(config.serving_directory)

    text = card.markdown(open_lineage(config), registry, second)

    for line in (
        f"# Model taxi, version {second}",
        "- rows: 70 train, 30 eval; spans: 0",
        "| auc | 0.87 | - |",
        "| recall | 0.5 | 0.4 to 0.625 |",
        "| company A&#124;B | 30 | - | - | 0.75 | - | - |",
        "- passed: `auc >= 0.5`: overall: auc is 0.87",
        "- not judged, for want of rows: company C: 3 rows are too few",
        f"- it replaced version {first}",
        f"- `throughline models rollback {first} --because TEXT`",
    ):
        assert line in text.splitlines()
    assert (
        "decided as positive above 0.25: a false positive costs 1, a false negative 3, "
        "and 1,500 rows of the eval split cost 0.125 each on average"
    ) in text
    assert re.search(r"\n- trained by run `102`, .*: Model artifact \d+ in `/", text)
    assert card._UNKNOWN not in text


def test_a_model_of_another_store_has_a_card_that_says_so(
    config: Config, store: StockStore
) -> None:
    """What the registry knows is there, and the rest is unknown."""
    train(store, "101", version="101")
    origin = identity(9999, "/elsewhere", 5)
    number = push(named(config.output, "a"), config.serving_directory, origin)
    registry = history.read(config.serving_directory)

    text = card.markdown(open_lineage(config), registry, number)

    assert card._UNKNOWN in text
    assert "can only be replaced by a new one" in text


def test_cards_are_written_once_and_read_without_the_store(
    config: Config, store: StockStore
) -> None:
    """A version's card is stored beside the versions, where servers don't look."""
    number = pushed(config, store, "101")
    base = config.serving_directory

    card.write_missing(open_lineage(config), history.read(base))

    text = card.stored(base, number)
    assert text.startswith(f"# Model taxi, version {number}")
    assert history.read(base).numbers == (number,)
    card.card_file(base, number).write_text("kept")
    card.write_missing(open_lineage(config), history.read(base))
    assert card.stored(base, number) == "kept"
    with pytest.raises(UsageError, match="there is no card of version 7"):
        card.stored(base, 7)
