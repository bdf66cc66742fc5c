"""The local runner: parallel, resumable and cached.

A run of the whole pipeline costs ten times what any of these tests looks at. So tests
share the runs of one place, in which everything is cached, and the runs of another,
in which Transform is stopped in each way; only tests of cached models train more.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.store.graph import Graph
from tests.e2e.places import Place, executions
from tests.e2e.runs import PROJECT, Finished, Rows, finished, run_local_lightly
from tests.e2e.warm import Forked, WarmProcess

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


def children_of(process: Forked) -> list[int]:
    """Process ids of the nodes that a runner runs."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in path.read_text().split()]


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


@dataclass(frozen=True)
class Stopped:
    """Runs up to Transform, each stopped in the middle of it but for the last.

    Attributes:
        beside: A run that was started while another one ran.
        process: Process id of that other one.
        orphans: Nodes that ran when their runner was killed, and then ended.
        failed: A new run, of which the system killed Transform.
        states_failed: The states of its executions then.
        canceled: It was resumed, and interrupted by Ctrl-C.
        states_canceled: The states of its executions then.
        nodes: Nodes that ran when it was interrupted.
        resumed: It was resumed again, and reached its end.
    """

    beside: Finished
    process: int
    orphans: list[int]
    failed: Finished
    states_failed: dict[str, str]
    canceled: Finished
    states_canceled: dict[str, str]
    nodes: list[int]
    resumed: Finished


@pytest.fixture(scope="module")
def stopped(
    tmp_path_factory: pytest.TempPathFactory, warm: WarmProcess, sample_rows: Rows
) -> Stopped:
    """Stops one pipeline's Transform by a signal to runner, node and runner again."""
    place = Place(tmp_path_factory.mktemp("stopped"), warm, sample_rows)
    part = ("--to", "Transform")

    first = in_transform(place.start(*part), place.output)
    beside = place.run(*part)
    orphans = children_of(first)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    deadline = time.monotonic() + 10
    while any(_is_alive(pid) for pid in orphans) and time.monotonic() < deadline:
        time.sleep(0.05)

    second = in_transform(place.start(*part), place.output)
    for pid in children_of(second):
        os.kill(pid, signal.SIGKILL)
    failed = finished(*second.communicate(), place.output)
    states_failed = failed.states()

    third = in_transform(place.start_resume(), place.output)
    nodes = children_of(third)
    os.kill(third.pid, signal.SIGINT)
    canceled = finished(*third.communicate(), place.output)
    states_canceled = canceled.states()

    return Stopped(
        beside,
        first.pid,
        orphans,
        failed,
        states_failed,
        canceled,
        states_canceled,
        nodes,
        place.resume(),
    )


def in_transform(process: Forked, output: Path) -> Forked:
    """Waits until a run is in the middle of Transform."""
    process.wait_for("Transform         started")
    while not any(
        name.endswith(".Transform") and state == mlmd.Execution.RUNNING
        for _, name, state in executions(output)
    ):
        assert Path(f"/proc/{process.pid}").exists(), process.printed.read_text()
        time.sleep(0.1)
    return process


def test_second_run_names_the_first(stopped: Stopped) -> None:
    """A run in a directory in use names the process that uses it, and ends with 2."""
    assert stopped.beside.exit_code == 2
    assert f"process {stopped.process}" in stopped.beside.text


def test_nodes_die_with_their_runner(stopped: Stopped) -> None:
    """When the runner is killed its nodes end too, and the next run gets as far."""
    assert stopped.orphans
    assert not any(_is_alive(pid) for pid in stopped.orphans)
    assert "Transform         started" in stopped.failed.text


def test_dead_node_takes_nothing_else_down(stopped: Stopped) -> None:
    """A node killed by the system ends the run with 1, and is named with the cause."""
    assert stopped.failed.exit_code == 1
    assert "Transform failed" in stopped.failed.text
    assert "killed by SIGKILL" in stopped.failed.text
    assert stopped.states_failed["Transform"] == "FAILED"
    assert stopped.states_failed["DataGate"] == "CACHED"


def test_interrupted_run_is_resumed(stopped: Stopped) -> None:
    """Ctrl-C stops the nodes, marks them canceled, and the run can be resumed."""
    assert stopped.canceled.exit_code == 130
    assert "--resume" in stopped.canceled.text
    assert stopped.nodes
    assert not any(_is_alive(pid) for pid in stopped.nodes)
    assert stopped.states_canceled["Transform"] == "CANCELED"
    assert stopped.resumed.exit_code == 0, stopped.resumed.text
    assert stopped.resumed.run == stopped.canceled.run
    assert "StatisticsGen     started" not in stopped.resumed.text
    assert stopped.resumed.states()["Transform"] == "COMPLETE"


def _is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def models(
    tmp_path_factory: pytest.TempPathFactory, warm: WarmProcess, sample_rows: Rows
) -> Place:
    """A place for several models, where nothing has run yet."""
    return Place(tmp_path_factory.mktemp("models"), warm, sample_rows)


def test_gc_spares_what_models_came_from(models: Place) -> None:
    """`gc` deletes outputs of old runs, but never what a blessed model is made from."""
    blessed = models.run()
    models.run("--seed", "2", "--min-auc", "0.9999")
    models.run("--seed", "3", "--min-auc", "0.9999")
    command = [*THROUGHLINE, "gc", "--keep", "1"]
    where = ["--output", str(models.output)]
    trained = models.output / "artifacts" / "Trainer" / "model"
    before = _by_age(trained)

    dry = _text_of([*command, *where, "--dry-run"])
    still = _by_age(trained)
    freed = _text_of([*command, *where])
    again = _text_of([*command, *where])

    assert still == before
    assert len(before) == 3
    # The second run's model was not blessed; the blessed and the newest one stay.
    assert _by_age(trained) == [before[0], before[2]]
    assert before[0] == blessed.output_of("Trainer", "model")
    assert "would be freed" in dry
    assert freed.replace("freed", "would be freed") == dry
    assert again.startswith("0 artifacts")
    assert models.run("--force").exit_code == 0


def test_summary_and_serving_agree_when_models_come_back(models: Place) -> None:
    """The model that a run names as its own is live, also one that was live before."""
    seeds = ("1", "3", "1", "3", "1")

    runs = [models.run("--seed", seed) for seed in seeds]
    same = models.run("--seed", "1")
    reason = ["--because", "complaints", "--output", str(models.output)]
    command = [*THROUGHLINE, "models", "rollback", "--json", *reason]
    rolled_back = json.loads(_text_of(command))
    held_back = models.run("--seed", "1")
    restored = models.run("--seed", "3")
    (restored.versions[-1] / "saved_model.pb").write_text("")
    repaired = models.run("--seed", "3")

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
    assert "Nothing has changed" in restored.text
    assert weights_equal(runs[1].versions[-1], repaired.versions[-1])
    assert f"version {live.name} is damaged (saved_model.pb is empty)" in repaired.text


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
