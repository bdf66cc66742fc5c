"""After a kill -9 at any moment of any node, the run can be resumed."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.lineage.card import DIRECTORY as CARDS
from pipeline.registry.history import REGISTRY_FILE
from tests.e2e.places import Place, executions
from tests.e2e.warm import MOMENTS

pytestmark = pytest.mark.e2e

BEFORE, WRITING, WRITTEN = MOMENTS
# 20 kills. All moments for the nodes whose outputs have many files or leave the
# artifacts' directory, and for each of the others the one that is its own risk.
KILLS = {
    "ExampleGen": MOMENTS,
    "StatisticsGen": (WRITING,),
    "SchemaGen": (WRITTEN,),
    # Its output directory is there and empty.
    "ImportSchemaGen": (BEFORE,),
    "ExampleValidator": (WRITING,),
    "DataGate": (WRITTEN,),
    "Transform": MOMENTS,
    "Trainer": MOMENTS,
    # A resolver publishes its execution itself, and has no output of its own.
    "Baseline": (WRITTEN,),
    "Evaluator": (WRITING,),
    "ServingCheck": (WRITTEN,),
    "Pusher": MOMENTS,
}


def left_behind(output: Path) -> list[str]:
    """What a dead run left: unfinished executions, and outputs that no one owns."""
    running = [f"{name} {i} runs" for i, name, state in executions(output) if state < 3]
    ended = {str(i) for i, _, state in executions(output) if state in {3, 6}}
    orphans = [
        str(path)
        for path in (output / "artifacts").glob("*/*/[0-9]*")
        if path.name not in ended and ".system" not in path.parts
    ]
    serving = output / "serving" / "taxi"
    partial = [
        str(p)
        for p in serving.iterdir()
        if p.name not in {REGISTRY_FILE, CARDS} and not (p / "saved_model.pb").is_file()
    ]
    return running + orphans + partial


def test_killed_run_does_not_stop_the_next(restored: Place) -> None:
    """After a kill, a new run instead of a resume clears up and works as well."""
    # First in this file: then all that the new run needs is still cached.
    killed = restored.run("--no-cache", "Evaluator", kill=f"Evaluator {WRITING}")

    run = restored.run("--force")

    assert killed.exit_code == -9
    assert run.exit_code == 0, run.text
    assert left_behind(restored.output) == []


@pytest.mark.parametrize("node", KILLS)
def test_killed_run_is_resumed(node: str, restored: Place) -> None:
    """A node and its runner, killed at each moment, leave nothing in a resume's way."""
    first, *others = (f"{node} {moment}" for moment in KILLS[node])
    counts = [len(executions(restored.output))]

    # The resume of a killed run is killed in turn: a node runs half as often.
    runs = [restored.run("--only", node, "--no-cache", node, kill=first)]
    counts.append(len(executions(restored.output)))
    for moment in others:
        runs.append(restored.resume(kill=moment))
        counts.append(len(executions(restored.output)))
    resumed = restored.resume()

    assert {run.exit_code for run in runs} == {-9}
    assert resumed.exit_code == 0, resumed.text
    assert left_behind(restored.output) == []
    counts.append(len(executions(restored.output)))
    # A killed execution is continued or replaced; a node without one gets its first.
    assert all(after - before <= 1 for before, after in pairwise(counts[1:]))
    assert counts[-1] > counts[0]
    record = json.loads((resumed.run / "run.json").read_text())
    assert record["outcome"] == "done"
    assert record["nodes"][node]["state"] == "done"
