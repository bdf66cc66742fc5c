"""After a kill -9 at any moment of any node, the run can be resumed."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.registry.history import REGISTRY_FILE
from tests.e2e.places import FLAGS, SMALL_ROWS, executions
from tests.e2e.runs import Rows, write_csv
from tests.e2e.warm import MOMENTS, WarmProcess

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


@pytest.fixture(scope="module")
def output(
    tmp_path_factory: pytest.TempPathFactory, warm: WarmProcess, sample_rows: Rows
) -> Path:
    """An output directory in which every node has run once."""
    place = tmp_path_factory.mktemp("kills")
    write_csv(place / "data" / "trips.csv", sample_rows[:SMALL_ROWS])
    code, text = warm.run(place / "out", *FLAGS, "--data", place / "data")
    assert code == 0, text
    return place / "out"


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
        if p.name != REGISTRY_FILE and not (p / "saved_model.pb").is_file()
    ]
    return running + orphans + partial


def test_killed_run_does_not_stop_the_next(output: Path, warm: WarmProcess) -> None:
    """After a kill, a new run instead of a resume clears up and works as well."""
    # First in this file: then all that the new run needs is still cached.
    flags = (*FLAGS, "--data", output.parent / "data")
    killed, _ = warm.run(
        output, *flags, "--no-cache", "Evaluator", kill=f"Evaluator {WRITING}"
    )

    code, text = warm.run(output, *flags, "--force")

    assert killed == -9
    assert code == 0, text
    assert left_behind(output) == []


@pytest.mark.parametrize("node", KILLS)
def test_killed_run_is_resumed(node: str, output: Path, warm: WarmProcess) -> None:
    """A node and its runner, killed at each moment, leave nothing in a resume's way."""
    flags: tuple[object, ...] = (
        *(*FLAGS, "--data", output.parent / "data"),
        *("--only", node, "--no-cache", node),
    )
    counts = [len(executions(output))]

    # The resume of a killed run is killed in turn: a node runs half as often.
    for moment in KILLS[node]:
        code, _ = warm.run(output, *flags, kill=f"{node} {moment}")
        flags = ("--resume",)
        counts.append(len(executions(output)))
        assert code == -9
    code, text = warm.run(output, "--resume")

    assert code == 0, text
    assert left_behind(output) == []
    counts.append(len(executions(output)))
    # A killed execution is continued or replaced; a node without one gets its first.
    assert all(after - before <= 1 for before, after in pairwise(counts[1:]))
    assert counts[-1] > counts[0]
    newest = max((output / "runs").glob("*/"))
    record = json.loads((newest / "run.json").read_text())
    assert record["outcome"] == "done"
    assert record["nodes"][node]["state"] == "done"
