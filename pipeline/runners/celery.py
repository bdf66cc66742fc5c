"""Runs a compiled pipeline with Celery, one task per node, on any number of workers.

    throughline compile --target celery --out compiled
    python -m pipeline.runners.celery worker --compiled compiled --broker redis://HOST
    python -m pipeline.runners.celery run --run monday --broker redis://HOST

Workers may run on several machines if all see the compiled directory, the output
directory and the metadata store. Without `--broker`, messages are files in the compiled
directory. Neither workers nor the driver import TFX or TensorFlow.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from celery import Celery

from pipeline.config import environment
from pipeline.errors import EXIT_DONE, EXIT_USAGE, exit_code
from pipeline.runners import checks
from pipeline.runners.job import Job, read_job
from pipeline.store.names import run_name

if TYPE_CHECKING:
    from celery.result import AsyncResult

BROKER_VARIABLE = "CELERY_BROKER_URL"
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Flags:
    """The compiled pipeline and the message broker."""

    compiled: Path = Path("compiled")
    """Directory that `throughline compile --target celery` wrote."""
    broker: str | None = None
    """redis://host:port/0, amqp://… or another broker of Celery's; files in the
    compiled directory if not given. The variable CELERY_BROKER_URL does the same and
    keeps a password out of the process list."""
    redeliver_seconds: int = 6 * 3600
    """Time after which Redis delivers a node to another worker because the first one
    may have died; a longer node is delivered twice, but does not run twice."""

    def __post_init__(self) -> None:
        """Rejects a time of 0, which would redeliver each node forever."""
        checks.at_least(self, 1, "redeliver_seconds")


@dataclass(frozen=True)
class RunFlags(Flags):
    """The flags of `run`."""

    run: str = field(kw_only=True)
    """Name of the run; an existing one continues where it stopped."""

    def __post_init__(self) -> None:
        """Rejects an invalid name of a run."""
        super().__post_init__()
        run_name(self.run)


@dataclass(frozen=True)
class WorkerFlags(Flags):
    """The flags of `worker`."""

    workers: int = 1
    """Maximum number of nodes that this worker runs at once."""
    name: str = "throughline@%h"
    """Name of this worker, unique among all workers; %h is the host's name."""

    def __post_init__(self) -> None:
        """Rejects a worker without a process."""
        super().__post_init__()
        checks.at_least(self, 1, "workers")


def make_app(job: Job, flags: Flags) -> Celery:
    """Creates the Celery application, with a task `<pipeline>.<node>` for each node.

    Args:
        job: The compiled pipeline.
        flags: Names the broker.
    """
    files = job.directory / "messages"
    app = Celery(
        job.name, broker=flags.broker or "filesystem://", backend=_backend(flags, files)
    )
    app.conf.update(
        # A message is only removed when its node has ended, so that the node of a dead
        # worker is delivered again.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        # A worker that is busy with training must not hold nodes that others could run.
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        task_default_queue=f"throughline-{job.name}",
        broker_transport_options=_transport(flags, files),
    )
    for node in job.upstream:
        _add_task(app, job, node)
    return app


def _add_task(app: Celery, job: Job, node: str) -> None:
    @app.task(name=f"{job.name}.{node}")
    def run_node(run: str) -> None:
        job.run_node(node, run)


def drive(job: Job, app: Celery, run: str) -> int:
    """Sends nodes in topological order until all are done or one has failed.

    Returns:
        0, or the highest exit code of the failed nodes.
    """
    waiting: dict[str, list[str]] = dict(job.upstream)
    sent: dict[str, AsyncResult] = {}
    done: set[str] = set()
    failed = False
    while sent or (waiting and not failed):
        ready = [node for node, before in waiting.items() if done.issuperset(before)]
        # After a failure nothing new is sent, and what runs may end: its outputs are
        # cached.
        for node in ready if not failed else []:
            del waiting[node]
            sent[node] = app.tasks[f"{job.name}.{node}"].delay(run)
        for node in [node for node, result in sent.items() if result.ready()]:
            result = sent.pop(node)
            if result.successful():
                done.add(node)
                sys.stdout.write(f"{node} done\n")
            else:
                failed = True
                sys.stderr.write(f"throughline: {result.result}\n")
        time.sleep(POLL_SECONDS)
    return job.exit_code(run) if failed else EXIT_DONE


def main(arguments: Sequence[str]) -> int:
    """Starts a worker, or drives a run; returns the exit code."""
    actions = {"worker": _worker, "run": _run}
    action, *rest = arguments or [""]
    if action not in actions:
        names = "|".join(actions)
        sys.stderr.write(f"usage: python -m pipeline.runners.celery {{{names}}} …\n")
        return EXIT_USAGE
    return actions[action](rest)


def _worker(arguments: list[str]) -> int:
    flags = tyro.cli(WorkerFlags, prog="… worker", args=arguments)
    app = make_app(read_job(flags.compiled), _with_environment(flags))
    options = ["--concurrency", str(flags.workers), "--hostname", flags.name]
    app.worker_main(["worker", "--loglevel", "INFO", "--without-gossip", *options])
    return EXIT_DONE


def _run(arguments: list[str]) -> int:
    flags = tyro.cli(RunFlags, prog="… run", args=arguments)
    job = read_job(flags.compiled)
    return drive(job, make_app(job, _with_environment(flags)), flags.run)


def _with_environment(flags: Flags) -> Flags:
    """Fills in the broker from the environment variable if it was not given."""
    given = environment().get(BROKER_VARIABLE)
    return flags if flags.broker else replace(flags, broker=given)


def _backend(flags: Flags, files: Path) -> str:
    """Returns the URL of the result backend: Redis, or files for other brokers."""
    # Of Celery's brokers only Redis can store results too.
    if flags.broker and flags.broker.startswith(("redis://", "rediss://")):
        return flags.broker
    results = files / "results"
    results.mkdir(parents=True, exist_ok=True)
    return f"file://{results}"


def _transport(flags: Flags, files: Path) -> Mapping[str, Any]:
    if flags.broker:
        # By default kombu checks for messages of dead workers only every 100 s.
        look_every_time = {"unacked_restore_throttle": 1}
        return {"visibility_timeout": flags.redeliver_seconds, **look_every_time}
    queue = files / "queue"
    queue.mkdir(parents=True, exist_ok=True)
    return {
        # One directory for both: what the driver sends is what the workers read.
        "data_folder_in": str(queue),
        "data_folder_out": str(queue),
        "control_folder": str(files),
    }


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
