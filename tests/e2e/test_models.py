"""Several models in one place: what `gc` frees, and which version is live."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import local
from pipeline.lineage.query import open_lineage
from pipeline.registry import history
from tests.e2e.places import Place
from tests.e2e.runs import PROJECT, Finished

pytestmark = pytest.mark.e2e

THROUGHLINE = (sys.executable, "-m", "pipeline.cli")


def test_gc_spares_what_models_came_from(
    restored: Place, settled_runs: tuple[Place, Finished]
) -> None:
    """`gc` deletes outputs of old runs, but never what a blessed model is made from."""
    blessed = settled_runs[1].output_of("Trainer", "model")
    restored.run("--seed", "2", "--min-auc", "0.9999")
    restored.run("--seed", "3", "--to", "Trainer")
    command = [*THROUGHLINE, "gc", "--keep", "1"]
    where = ["--output", str(restored.output)]
    trained = restored.output / "artifacts" / "Trainer" / "model"
    before = _by_age(trained)

    dry = _text_of([*command, *where, "--dry-run"])
    still = _by_age(trained)
    freed = _text_of([*command, *where])
    again = _text_of([*command, *where])

    assert still == before
    # Seed 2's model was not blessed; the blessed and the newest one stay.
    assert len(before) >= 3
    assert _by_age(trained) == [blessed, before[-1]]
    assert "would be freed" in dry
    assert freed.replace("freed", "would be freed") == dry
    assert again.startswith("0 artifacts")
    assert restored.run("--force").exit_code == 0


def test_summary_and_serving_agree_when_models_come_back(restored: Place) -> None:
    """The model that a run names as its own is live, also one that was live before."""
    seeds = ("1", "3", "1", "3", "1")

    runs = [restored.run("--seed", seed) for seed in seeds]
    same = restored.run("--seed", "1")
    reason = ["--because", "complaints", "--output", str(restored.output)]
    command = [*THROUGHLINE, "models", "rollback", "--json", *reason]
    rolled_back = json.loads(_text_of(command))
    held_back = restored.run("--seed", "1")
    back = restored.run("--seed", "3")
    (back.versions[-1] / "saved_model.pb").write_text("")
    repaired = restored.run("--seed", "3")

    first = len(runs[0].versions)
    for count, run in enumerate(runs, start=first):
        assert run.exit_code == 0, run.text
        assert len(run.versions) == count
        assert f"model      {run.versions[-1]}\n" in run.text
    assert f"the model of version {runs[2].versions[-1].name} is back" in runs[4].text
    assert "Nothing has changed" in same.text
    assert str(runs[-1].versions[-1]) in same.text
    live = held_back.versions[-1]
    assert live.name == str(rolled_back["live"])
    assert held_back.exit_code == 4, held_back.text
    assert "Blessed, but not pushed: this model was live as version" in held_back.text
    assert "complaints" in held_back.text
    assert f"live       {live}\n" in held_back.text
    assert "Nothing has changed" in back.text
    assert weights_equal(runs[1].versions[-1], repaired.versions[-1])
    assert f"version {live.name} is damaged (saved_model.pb is empty)" in repaired.text


def test_a_worse_model_is_never_live(restored: Place) -> None:
    """A network that was hardly trained is evaluated, refused, and pushed nowhere."""
    live = restored.run("--force")
    flags = ("--train-steps", "1", "--learning-rate", "1e-9", "--max-auc-loss", "0.005")

    worse = restored.run(*flags)

    assert worse.exit_code == 4, worse.text
    auc = {name: found["auc"] for name, found in worse.metrics().items()}
    assert auc["candidate"] < auc["baseline"] - 0.1
    assert "overall: auc is " in worse.text
    assert {worse.states()[node] for node in ("Evaluator", "Pusher")} == {"COMPLETE"}
    assert worse.versions == live.versions
    assert f"live       {live.versions[-1]}\n" in worse.text
    registry = history.read(restored.output / "serving" / "taxi")
    assert registry.live == int(live.versions[-1].name)


def test_a_search_and_a_warm_start_end_in_a_pushed_model(restored: Place) -> None:
    """The Trainer reads what the Tuner found and begins with the live model."""
    live = restored.run("--force").versions[-1].name
    flags = ("--tune", "--tune.trials", "2", "--tune.train-steps", "10")

    run = restored.run(*flags, "--warm-start", "--seed", "4")

    assert run.exit_code == 0, run.text
    results = run.output_of("Tuner", "tuner_results") / "trials.json"
    found = json.loads(results.read_text())
    assert [trial["trial"] for trial in found["trials"]] == [0, 1]
    best = found["trials"][found["best"]]["values"]
    model = run.output_of("Trainer", "model") / "Format-Serving"
    names = json.loads((model / "assets.extra" / "weights.json").read_text())
    hidden = {name for name in names["weights"] if name.startswith("hidden_")}
    assert len(hidden) == 2 * len(best["hidden_layers"])
    assert names["inputs"]["company_id"] == best["embedding_width"]
    taken = run.output_of("Trainer", "model_run") / "warm_start.json"
    assert "hidden_0/bias" in str(json.loads(taken.read_text()))
    config = replace(local(), output=restored.output)
    lineage = open_lineage(config).model(run.versions[-1].name)
    assert lineage.base == f"version {live}"
    assert "Tuner" in {step.node for step in lineage.steps}
    assert "next       throughline tuning accept " in run.text


def weights_equal(one: Path, other: Path) -> bool:
    """Whether two versions hold the same weights, bit by bit."""
    name = "variables/variables.data-00000-of-00001"
    return (one / name).read_bytes() == (other / name).read_bytes()


def _by_age(directory: Path) -> list[Path]:
    return sorted(directory.iterdir(), key=lambda path: int(path.name))


def _text_of(command: list[str]) -> str:
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return done.stdout
