"""Answers as a tree, JSON, DOT and SVG, on stores as stock TFX writes them."""

import json
import re

import pytest

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.lineage.views import show
from tests.pipeline.tfx_store import StockStore, train


def test_tree_shows_what_made_a_model(config: Config, store: StockStore) -> None:
    """The tree has version, run, rows, verdicts, metrics and settings in plain text."""
    train(store, "monday", version="101", auc=0.8765)

    text = show(config, ["model"], "tree")

    for said in ("stock version 101", "monday", "70 train", "0.8765", "num_steps  10"):
        assert said in text
    assert "Evaluator passed the model: no baseline to beat" in text


def test_json_is_the_whole_answer(config: Config, store: StockStore) -> None:
    """--json prints every fact by name."""
    made = train(store, "monday", version="101")

    answer = json.loads(show(config, ["model"], "json"))

    assert answer["versions"] == ["101"]
    assert answer["data"][0]["rows"] == {"train": 70, "eval": 30}
    assert answer["artifacts"][str(made.model)] == "Model"


def test_dot_has_an_edge_for_each_input_and_output(
    config: Config, store: StockStore
) -> None:
    """--dot connects the Trainer with its inputs and outputs."""
    made = train(store, "monday", version="101")

    dot = show(config, ["model"], "dot")

    (trainer,) = [n.split('"')[1] for n in dot.splitlines() if 'label="Trainer' in n]
    assert f'"artifact {made.examples}" -> "{trainer}";' in dot
    assert f'"{trainer}" -> "artifact {made.model}";' in dot


def test_svg_draws_each_step_and_artifact(config: Config, store: StockStore) -> None:
    """--svg names each node, also for a file's models."""
    train(store, "monday", version="101")

    drawings = [show(config, asked, "svg") for asked in (["model"], ["data", "0"])]

    for drawing in drawings:
        texts = set(re.findall(r"<text[^>]*>([^<]*)</text>", drawing))
        assert drawing.startswith("<svg ")
        assert {"CsvExampleGen", "Trainer", "monday"} <= texts


@pytest.mark.parametrize("form", ["dot", "svg"])
def test_difference_is_no_graph(config: Config, store: StockStore, form: str) -> None:
    """--dot and --svg are rejected for `diff`."""
    train(store, "monday", version="101")

    with pytest.raises(UsageError, match=f"no --{form}"):
        show(config, ["diff", "101", "101"], form)


def test_tree_has_a_table_per_subject_of_a_difference(
    config: Config, store: StockStore
) -> None:
    """A difference lists the changed values, and the subjects without any."""
    train(store, "monday", version="101", steps=10)
    train(store, "tuesday", version="102", steps=20)

    lines = show(config, ["diff", "101", "102"], "tree").splitlines()

    assert lines[0] == "101 → 102"
    assert [line for line in lines if re.search(r"num_steps +10 +→ +20", line)]
    assert [line for line in lines if line.endswith("schema  the same")]


def test_tree_lists_the_models_of_a_span(config: Config, store: StockStore) -> None:
    """An answer about data has its rows and each model that learned from it."""
    train(store, "monday", version="101", auc=0.8765)

    text = show(config, ["data", "0"], "tree")

    assert "· 1 model learned from it" in text
    assert "(70 train, 30 eval rows)" in text
    assert "version 101" in text
    assert "AUC 0.8765" in text


@pytest.mark.parametrize("asked", [[], ["models"], ["data"], ["diff", "101"]])
def test_a_malformed_question_names_the_forms(
    config: Config, store: StockStore, asked: list[str]
) -> None:
    """Wrong arguments are answered with the arguments that lineage takes."""
    with pytest.raises(UsageError, match=r"model \[VERSION\]"):
        show(config, asked, "tree")
