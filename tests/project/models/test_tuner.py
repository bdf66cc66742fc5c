"""The search for hyperparameters, in processes that nothing else has run in."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tensorflow_transform as tft

from models import search_space
from models.hyperparameters import Hyperparameters
from tests.project.models import searches
from tests.project.models.conftest import Records
from tests.project.models.searches import Request

ROOT = Path(__file__).parents[3]
START = {"hidden_layers": [8], "learning_rate": 0.05125, "steps_per_evaluation": 10}


@dataclass(frozen=True)
class Searches:
    """Results of searches, and where they kept their trials."""

    whole: Any
    """Three trials, one at a time."""
    killed: Any
    """The same, two at a time, killed when one was finished."""
    resumed: Any
    """The same after that."""
    longer: Any
    """With a fourth trial after that."""
    hopeless: Any
    """Rows without labels."""
    kept: Mapping[str, str]
    """Names and texts of the killed search's finished trials."""
    at_the_end: Mapping[str, str]
    """The same after the longest search."""


def _texts(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.glob("*.json")}


@pytest.fixture(scope="module")
def found(
    transform: tft.TFTransformOutput,
    records: Records,
    tmp_path_factory: pytest.TempPathFactory,
) -> Searches:
    """What the searches found on the 400 trips."""
    here = tmp_path_factory.mktemp("searches")
    whole, killed, hopeless = (here / n for n in ("whole", "killed", "hopeless"))
    for directory in (whole, killed, hopeless):
        directory.mkdir()
    arguments = {
        "train_files": [records.train],
        "eval_files": [records.evaluation],
        "transform_graph_path": transform._transform_output_dir,
        "train_steps": 20,
        "eval_steps": 0,
        "hyperparameters": None,
        "base_model": None,
        "custom_config": {"hyperparameters": START, "batch_size": 64, "seed": 0},
    }
    nothing = {**arguments, "train_files": [f"{hopeless}/*"]}

    def run(*requests: Request) -> list[Any]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.project.models.searches"],
            input=searches.as_json(list(requests)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers: list[Any] = json.loads(done.stdout)
        return answers

    first, stopped, lost = run(
        Request(str(whole), arguments, trials=3, workers=1),
        Request(str(killed), arguments, trials=3, workers=2, kill_after=1),
        Request(str(hopeless), nothing, trials=2, workers=2),
    )
    kept = _texts(killed)
    again, longer = run(
        Request(str(killed), arguments, trials=3, workers=2),
        Request(str(killed), arguments, trials=4, workers=2),
    )
    return Searches(first, stopped, again, longer, lost, kept, _texts(killed))


def _scores(result: Any) -> list[tuple[Any, ...]]:
    """Everything of the trials but how long they took."""
    return [(t["trial"], t["values"], t["score"], t["step"]) for t in result["trials"]]


def test_the_first_trial_is_of_the_values_in_use(found: Searches) -> None:
    """So the best of a search is never worse than they are; the others are new."""
    first, *others = found.whole["trials"]

    assert first["values"] == {"learning_rate": 0.05125, "hidden_layers": [8]}
    assert len({json.dumps(t["values"]) for t in found.whole["trials"]}) == 3
    for trial in others:
        rate = trial["values"]["learning_rate"]
        assert 0.001 <= rate <= 0.1
        assert rate == float(f"{rate:.3g}")
        assert trial["values"]["hidden_layers"] in ([4], [16], [16, 8])


def test_the_best_trial_has_the_highest_score(found: Searches) -> None:
    """The AUC on the eval split, of a label with two values."""
    result = found.whole
    scores = [trial["score"] for trial in result["trials"]]

    assert (result["metric"], result["direction"]) == ("eval AUC", "max")
    assert scores[result["best"]] == max(scores)
    assert len(set(scores)) > 1
    assert all(trial["seconds"] > 0 for trial in result["trials"])
    assert {trial["step"] for trial in result["trials"]} <= {10, 20}


def test_the_trainer_reads_the_best_values(found: Searches) -> None:
    """keras-tuner's configuration, as the standard component stores it."""
    values = found.whole["config"]["values"]

    trained = search_space.with_values(Hyperparameters.from_json(START), values)

    best = found.whole["trials"][found.whole["best"]]["values"]
    assert trained == Hyperparameters.from_json({**START, **best})


def test_a_killed_search_goes_on_where_it_stopped(found: Searches) -> None:
    """Finished trials are kept, and the result is that of a search without a stop."""
    assert found.killed is None
    assert 1 <= len(found.kept) < 3
    assert found.kept.items() <= found.at_the_end.items()
    assert _scores(found.resumed) == _scores(found.whole)
    assert found.resumed["best"] == found.whole["best"]


def test_a_longer_search_trains_only_the_further_trials(found: Searches) -> None:
    """Its first trials are those of the shorter one, with the seconds of then."""
    assert found.longer["trials"][:3] == found.resumed["trials"]
    assert len(found.longer["trials"]) == 4
    assert len(found.at_the_end) == 4


def test_progress_is_in_steps_and_trials(found: Searches) -> None:
    """All steps of all trials, the best so far, and at the end what was found."""
    *_, steps, note = found.whole["reports"]

    assert steps.startswith("60 of 60 steps (100 %)")
    assert "3 of 3 trials, best eval AUC " in steps
    assert note.startswith(f"trial {found.whole['best']} of 3 is the best: eval AUC")


def test_a_search_in_which_nothing_can_be_trained_fails(found: Searches) -> None:
    """The cause of the first trial is given."""
    assert found.hopeless.startswith("ThroughlineError: none of the 2 trials could be")
    assert "no row with a known label" in found.hopeless
