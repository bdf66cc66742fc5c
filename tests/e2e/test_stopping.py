"""Runs that are stopped in the middle: by Ctrl-C, by the system, or by another run."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from tests.e2e.places import Place, executions
from tests.e2e.runs import Finished, finished
from tests.e2e.warm import Forked

pytestmark = pytest.mark.e2e


def children_of(process: Forked) -> list[int]:
    """Process ids of the nodes that a runner runs."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in path.read_text().split()]


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
def stopped(restored: Place) -> Stopped:
    """Stops one pipeline's Transform by a signal to runner, node and runner again."""
    place = restored
    part = ("--to", "Transform", "--no-cache", "Transform")

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
