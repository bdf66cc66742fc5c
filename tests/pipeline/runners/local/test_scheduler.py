"""Nodes in forked processes, as they get ready."""

import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from pipeline import create_pipeline
from pipeline.components.serving_check import Executor
from pipeline.config import Config
from pipeline.errors import EXIT_DATA_REFUSED
from pipeline.runners import compiler
from pipeline.runners.local import scheduler
from pipeline.runners.local.console import RunConsole, State
from pipeline.runners.local.scheduler import Job, Scheduler
from pipeline.store.connection import open_store

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

# protobuf warns on behalf of TFX's caller, which is us.
pytestmark = pytest.mark.filterwarnings("ignore:label:DeprecationWarning")

UPSTREAM = {"Gen": [], "Left": ["Gen"], "Right": ["Gen"], "Push": ["Left", "Right"]}


@pytest.fixture
def scheduled(tmp_path: Path) -> Iterator[Scheduler]:
    """The default pipeline, without data, about to run."""
    (tmp_path / "data").mkdir()
    schema = tmp_path / "schema.pbtxt"
    schema.write_text('feature { name: "fare" type: FLOAT }\n')
    config = Config(output=tmp_path / "out", data=tmp_path / "data", schema=schema)
    job = Job(
        pipeline=compiler.compile_pipeline(create_pipeline(config)),
        run_id="monday",
        connection=open_store(config.metadata_url),
        log_of=lambda node_id: tmp_path / f"{node_id}.log",
        log_level="info",
        temporary=str(tmp_path),
    )
    with (tmp_path / "console").open("w") as screen:
        yield Scheduler(job, RunConsole(Console(file=screen)), lambda: None)


def run(scheduled: Scheduler, upstream: scheduler.Upstream) -> dict[str, State]:
    """Runs nodes; returns the state in which each ended."""
    with scheduled.console.table(upstream):
        scheduled.run(upstream, workers=2)
    return {name: status.state for name, status in scheduled.console.nodes.items()}


def test_a_node_runs_in_a_process_of_its_own(
    scheduled: Scheduler, tmp_path: Path
) -> None:
    """A node that ends well is done, and what it logs is in its log."""
    states = run(scheduled, {"ImportSchemaGen": []})

    assert states == {"ImportSchemaGen": State.DONE}
    assert scheduled.failures == {}
    assert "ImportSchemaGen" in (tmp_path / "ImportSchemaGen.log").read_text()


def test_after_a_failure_nothing_that_waits_starts(
    scheduled: Scheduler, tmp_path: Path
) -> None:
    """The failure has its cause and its exit code; what runs beside it ends well."""
    upstream = {
        "ExampleGen": [],
        "ImportSchemaGen": [],
        "StatisticsGen": ["ExampleGen"],
    }

    states = run(scheduled, upstream)

    assert states["ExampleGen"] is State.FAILED
    assert states["ImportSchemaGen"] is State.DONE
    assert not (tmp_path / "StatisticsGen.log").exists()
    (failure,) = scheduled.failures.values()
    assert failure.exit_code == EXIT_DATA_REFUSED
    assert str(tmp_path / "data") in failure.cause


def test_a_node_does_not_wait_for_memory_to_be_returned(
    scheduled: Scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one runs while the process of the one before it still ends."""
    run_in_child = scheduler._run_in_child
    alive: list[list[bool]] = []

    def linger(pipe: Any, job: Any, node_id: str, *rest: Any) -> None:
        run_in_child(pipe, job, node_id, *rest)
        until = time.monotonic() + 60
        while node_id == "ImportSchemaGen" and time.monotonic() < until:
            if (tmp_path / "end").exists():
                return
            time.sleep(0.01)

    def note() -> None:
        alive.append([process.is_alive() for process in scheduled._ending])
        if len(alive) == 2:
            (tmp_path / "end").touch()

    monkeypatch.setattr(scheduler, "_run_in_child", linger)
    scheduled.note = note
    run(scheduled, {"ImportSchemaGen": [], "ServingCheck": ["ImportSchemaGen"]})

    assert alive == [[], [True]]
    assert scheduled._ending == []


def test_a_node_prepares_while_those_before_it_run(
    scheduled: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prepared process is the one that runs the node, once it can."""
    monkeypatch.setattr(scheduler, "_WORKS_SECONDS", 0.0)
    # Less than the first node takes on any machine.
    monkeypatch.setattr(scheduler, "_REFRESH_SECONDS", 0.001)
    monkeypatch.setattr(Executor, "PREPARE_AFTER", "ImportSchemaGen")
    seen: list[tuple[dict[str, int | None], dict[str, int | None]]] = []

    def note() -> None:
        prepared = {n: c.process.pid for n, c in scheduled._prepared.items()}
        running = {n: c.process.pid for n, c in scheduled._children.items()}
        seen.append((prepared, running))

    scheduled.note = note
    states = run(
        scheduled, {"ImportSchemaGen": [], "ServingCheck": ["ImportSchemaGen"]}
    )

    assert states["ImportSchemaGen"] is State.DONE
    # It has no model; what matters is that its process was there before.
    assert states["ServingCheck"] is State.FAILED
    (prepared, before), (left, running) = seen
    assert list(before) == ["ImportSchemaGen"]
    assert list(prepared) == ["ServingCheck"]
    assert running == prepared
    assert left == {}


@pytest.mark.parametrize(("workers", "prepared"), [(1, 0), (2, 1)])
def test_nothing_prepares_without_a_free_worker(
    scheduled: Scheduler,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    prepared: int,
) -> None:
    """What is prepared and never runs is ended with the run."""
    monkeypatch.setattr(scheduler, "_WORKS_SECONDS", 0.0)
    # Less than the first node takes on any machine.
    monkeypatch.setattr(scheduler, "_REFRESH_SECONDS", 0.001)
    monkeypatch.setattr(Executor, "PREPARE_AFTER", "ExampleGen")
    processes: list[BaseProcess] = []
    scheduled.note = lambda: processes.extend(
        child.process for child in scheduled._prepared.values()
    )
    upstream = {"ExampleGen": [], "ServingCheck": ["ExampleGen"]}

    with scheduled.console.table(upstream):
        failures = scheduled.run(upstream, workers)

    assert list(failures) == ["ExampleGen"]
    assert [p.exitcode for p in processes] == [-signal.SIGTERM] * prepared


def test_only_executed_nodes_show_that_others_will_have_work(
    scheduled: Scheduler,
) -> None:
    """After a node that was taken from the cache, nothing is prepared."""
    upstream: scheduler.Upstream = {"ImportSchemaGen": []}
    run(scheduled, upstream)
    tuesday = replace(scheduled.job, run_id="tuesday")
    again = Scheduler(tuesday, scheduled.console, scheduled.note)

    states = run(again, upstream)

    assert scheduled._executed == {"ImportSchemaGen"}
    assert states == {"ImportSchemaGen": State.CACHED}
    assert again._executed == set()


def test_what_much_waits_for_is_urgent() -> None:
    """Descendants and ancestors are found through other nodes."""
    assert scheduler.descendants(UPSTREAM, "Gen") == {"Left", "Right", "Push"}
    assert scheduler.descendants(UPSTREAM, "Push") == set()
    assert scheduler.ancestors(UPSTREAM, "Left") == {"Left", "Gen"}
