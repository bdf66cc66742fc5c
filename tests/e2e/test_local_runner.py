"""The local runner: parallel, resumable and cached.

A run of the whole pipeline costs ten times what any of these tests looks at. So tests
share the runs of one place, in which everything is cached.
"""

import json
import subprocess
import sys
from itertools import pairwise

import pytest

from pipeline.store.graph import Graph
from tests.e2e.places import Place
from tests.e2e.runs import PROJECT, Finished, finished, run_local_lightly

pytestmark = pytest.mark.e2e

THROUGHLINE = (sys.executable, "-m", "pipeline.cli")
# Runs always: it looks at which model is live.
RESOLVER = {"Resolver"}


@pytest.fixture(scope="module")
def forced(settled: Place) -> Finished:
    """A run of a pipeline of which everything is cached."""
    run = settled.run("--force")
    assert run.exit_code == 0, run.text
    return run


def ran(run: Finished) -> set[str]:
    """Component classes that the run executed, and not only took from the cache."""
    return {name for name, state in run.states().items() if state == "COMPLETE"}


def starts_before_an_end(text: str) -> bool:
    """Whether the events of a run's output have two starts in a row."""
    events = [line.split()[1:3] for line in text.splitlines() if line[2:3] == ":"]
    kinds = [kind for _, kind in events if kind in {"started", "done", "cached"}]
    return ("started", "started") in pairwise(kinds)


def test_independent_nodes_run_at_once(settled: Place) -> None:
    """Two workers run two nodes at once, one worker runs one after the other."""
    two = settled.run("--to", "ExampleValidator", "--workers", "2")
    one = settled.run("--to", "ExampleValidator", "--workers", "1")

    assert two.exit_code == one.exit_code == 0, two.text + one.text
    assert starts_before_an_end(two.text)
    assert not starts_before_an_end(one.text)


def test_nothing_changed_is_told_without_tensorflow(settled: Place) -> None:
    """An unchanged pipeline names the live model, and does not import TensorFlow."""
    before = finished(0, "", settled.output)

    run = run_local_lightly(settled.output, *settled.flags)

    assert run.exit_code == 0, run.text
    assert "Nothing has changed" in run.text
    assert str(before.versions[-1]) in run.text
    assert run.run == before.run


def test_force_runs_from_the_cache(forced: Finished) -> None:
    """A forced run of an unchanged pipeline computes and pushes nothing."""
    # The Pusher compares with the live version in each run, and keeps it.
    assert ran(forced) == RESOLVER | {"Pusher"}
    assert len(forced.versions) == 1


def test_record_describes_the_run(forced: Finished) -> None:
    """run.json has configuration, outcome, and each node's state and seconds."""
    record = json.loads((forced.run / "run.json").read_text())

    assert record["outcome"] == "done"
    assert record["exit_code"] == 0
    assert record["live"] == str(forced.versions[-1])
    assert record["config"]["train_steps"] == 50
    assert record["nodes"]["Transform"]["state"] == "cached"
    assert record["nodes"]["Transform"]["seconds"] >= 0


@pytest.mark.parametrize(
    ("flags", "part", "others"),
    [
        (("--only", "SchemaGen"), {"SchemaGen"}, {"StatisticsGen", "Transform"}),
        # Resolvers run again, and from the cache what depends on them.
        (
            ("--from", "Evaluator"),
            {"Evaluator", "Pusher"},
            {"ExampleGen", "StatisticsGen"},
        ),
        (
            ("--from", "StatisticsGen", "--to", "SchemaGen"),
            {"StatisticsGen", "SchemaGen"},
            {"ExampleGen", "Transform"},
        ),
    ],
)
def test_part_runs_on_top_of_earlier_outputs(
    flags: tuple[str, ...], part: set[str], others: set[str], settled: Place
) -> None:
    """`--from`, `--to` and `--only` run that part, on earlier outputs of the rest."""
    run = settled.run("--no-cache", "SchemaGen", *flags)

    nodes = json.loads((run.run / "run.json").read_text())["nodes"].keys()
    assert run.exit_code == 0, run.text
    assert part <= nodes
    assert nodes.isdisjoint(others)
    # The run has the outputs of the other nodes too, so that its lineage is complete.
    assert "ExampleGen" in Graph(run.store).outputs_of_run(run.run.name)


def test_wrong_node_lists_the_right_ones(settled: Place) -> None:
    """A node that does not exist ends with 2 and the names of those that do."""
    run = settled.run("--only", "Trainr")

    assert run.exit_code == 2
    assert "'Trainr'" in run.text
    assert "Trainer" in run.text


def test_changed_setting_runs_what_depends_on_it(settled: Place) -> None:
    """Another training setting runs the Trainer again; `explain` gives the reason."""
    # After the tests of parts, which take the newest model.
    run = settled.run("--learning-rate", "0.01", "--to", "Trainer")
    explained = subprocess.run(
        [*THROUGHLINE, "explain", "Trainer", "--output", str(settled.output)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.exit_code == 0, run.text
    assert ran(run) == {"Trainer"} | RESOLVER
    assert "hyperparameters.learning_rate: 0.002 -> 0.01" in explained.stdout
