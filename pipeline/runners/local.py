"""Runs the pipeline on this machine: each ready node at once, a process each.

The nodes are forked from a process that has imported TFX once, which costs a tenth of a
second instead of the nine that a fresh process needs; a crash of one takes down nothing
else, and its memory goes back when it ends.
"""

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from data import taxi
from pipeline.config import Config
from pipeline.console import RunConsole, State, own_console
from pipeline.errors import (
    EXIT_FAILED,
    DataRefusedError,
    ThroughlineError,
    UsageError,
    cause_of,
    exit_code_of,
)
from pipeline.fingerprint import digest, sources

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2 as mlmd
    from tfx.orchestration.pipeline import Pipeline
    from tfx.proto.orchestration import pipeline_pb2

_LOG = logging.getLogger(__name__)
PROGRESS_LOGGER = "throughline.progress"
PROPOSAL_NODE = "SchemaGen"
_REFRESH_SECONDS = 0.25
_LOG_FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"


@dataclass(frozen=True)
class Options:
    """How to run, apart from what to run."""

    workers: int = os.cpu_count() or 1
    """Most nodes that run at once."""

    def __post_init__(self) -> None:
        """Refuses a run that could not run anything."""
        if self.workers < 1:
            msg = f"workers is {self.workers}; it must be at least 1"
            raise UsageError(msg)


@dataclass(frozen=True)
class Run:
    """A run's name, and where it keeps its logs and its compiled pipeline.

    Attributes:
        run_id: When it began (UTC), and a digest of the configuration and the code, so
            that a run of a changed pipeline never counts as the same.
        directory: Its own directory.
    """

    run_id: str
    directory: Path

    def log_of(self, name: str) -> Path:
        """Where the output of a node, or of the runner, goes."""
        return self.directory / "logs" / f"{name}.log"


@dataclass(frozen=True)
class Failure:
    """Why a node failed, in a sentence, and the exit code that it stands for."""

    cause: str
    exit_code: int


def run(config: Config, options: Options, build: Callable[[Config], "Pipeline"]) -> int:
    """Runs the pipeline; what it prints is for a person.

    Args:
        config: What to run.
        options: How.
        build: Makes the pipeline; called when TFX may be imported.

    Returns:
        The exit code: 0 done, 1 a node failed, 2 the reviewed schema is missing, 3 the
        data was refused, 4 the candidate was not blessed.

    Raises:
        UsageError: The configuration names something that is not there.
        DataRefusedError: There is no data.
    """
    _check_data(config)
    run = _new_run(config)
    with own_console(run.log_of("runner")) as console:
        _start_log()
        console.say(f"Throughline: pipeline {config.name}, run {run.run_id}")
        if config.data is None:
            taxi.lay_out(config.data_directory)
        console.say("Loading TFX and TensorFlow, about ten seconds …", style="dim")
        try:
            return _run_nodes(config, options, build, run, console)
        except ThroughlineError:
            raise
        except Exception as error:
            _LOG.exception("The runner failed")
            msg = f"{cause_of(error)}\nThe log is {run.log_of('runner')}"
            raise ThroughlineError(msg) from error


def _run_nodes(
    config: Config,
    options: Options,
    build: Callable[[Config], "Pipeline"],
    run: Run,
    console: RunConsole,
) -> int:
    # These import TFX, which takes seconds and prints: not before the console is ours.
    from pipeline import metadata, summary
    from pipeline.runners import compiler, node  # noqa: F401 - for the forked nodes

    connection = metadata.open_store(config.metadata_url)
    pipeline = compiler.compile_pipeline(build(config))
    compiler.write(pipeline, run.directory)
    upstream: Mapping[str, Collection[str]] = compiler.upstream_of(pipeline)
    if not config.schema.exists():
        upstream = _ancestors(upstream, PROPOSAL_NODE)
    scheduler = _Scheduler(pipeline, run, connection, console)
    with console.table(upstream):
        failures = scheduler.run(upstream, options.workers)
    metadata.end_unfinished(connection, run.run_id)
    if failures:
        summary.print_failures(console, run.log_of, failures)
        return max(failure.exit_code for failure in failures.values())
    if not config.schema.exists():
        raise _no_reviewed_schema(config)
    return summary.print_results(console, config, connection, run.run_id, run.directory)


@dataclass
class _Child:
    """A node that runs in a process of its own."""

    process: BaseProcess
    pipe: Connection
    ended: bool = False


@dataclass
class _Scheduler:
    """Starts nodes as soon as those they wait for are done."""

    pipeline: "pipeline_pb2.Pipeline"
    run_of: Run
    connection: "mlmd.ConnectionConfig"
    console: RunConsole
    children: dict[str, _Child] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    def run(
        self, upstream: Mapping[str, Collection[str]], workers: int
    ) -> dict[str, Failure]:
        """Runs nodes until all are done or, after a failure, the running ones are.

        Args:
            upstream: For each node, those that it waits for.
            workers: Most processes at once.

        Returns:
            The nodes that failed; no failure means that all are done.
        """
        waiting = {node_id: set(before) for node_id, before in upstream.items()}
        urgency = {
            node_id: len(_descendants(upstream, node_id)) for node_id in upstream
        }
        try:
            while self.children or (waiting and not self.failures):
                ready = [n for n, before in waiting.items() if not before]
                ready.sort(key=urgency.__getitem__, reverse=True)
                free = 0 if self.failures else workers - len(self.children)
                for node_id in ready[:free]:
                    del waiting[node_id]
                    self._start(node_id)
                for done in self._wait():
                    for before in waiting.values():
                        before.discard(done)
        except BaseException:
            self._stop()
            raise
        self.console.not_run(waiting)
        return self.failures

    def _start(self, node_id: str) -> None:
        context = multiprocessing.get_context("fork")
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_run_in_child,
            name=node_id,
            args=(theirs, self, node_id),
        )
        self.console.started(node_id)
        process.start()
        theirs.close()
        self.children[node_id] = _Child(process, mine)

    def _wait(self) -> list[str]:
        """Takes messages for a moment; returns the nodes that were done in it."""
        by_pipe: dict[object, str] = {
            child.pipe: node_id for node_id, child in self.children.items()
        }
        ready = wait([c.pipe for c in self.children.values()], timeout=_REFRESH_SECONDS)
        self.console.refresh()
        return [by_pipe[p] for p in ready if self._take(by_pipe[p])]

    def _take(self, node_id: str) -> bool:
        """Takes one message of a node; returns whether the node is done."""
        child = self.children[node_id]
        try:
            message = child.pipe.recv()
        except EOFError:
            self._gone(node_id, child)
            return node_id not in self.failures
        if isinstance(message, State):
            self.console.ended(node_id, message)
            child.ended = True
        elif isinstance(message, Failure):
            self.failures[node_id] = message
            self.console.ended(node_id, State.FAILED, message.cause)
            child.ended = True
        else:
            self.console.progress(node_id, message)
        return False

    def _gone(self, node_id: str, child: _Child) -> None:
        """Notes the end of a process, also of one that could not say why."""
        child.process.join()
        child.pipe.close()
        del self.children[node_id]
        if not child.ended:
            cause = _death_of(child.process.exitcode or 0)
            self.failures[node_id] = Failure(cause, EXIT_FAILED)
            self.console.ended(node_id, State.FAILED, cause)

    def _stop(self) -> None:
        for node_id, child in self.children.items():
            child.process.terminate()
            child.process.join()
            self.console.ended(node_id, State.CANCELED)


def _run_in_child(pipe: Connection, scheduler: _Scheduler, node_id: str) -> None:
    """Runs a node in a forked process and tells the parent how it went."""
    from pipeline.runners import node

    # The terminal sends Ctrl-C to all; it is the parent that decides what stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _write_output_to(scheduler.run_of.log_of(node_id))
    _start_log()
    logging.getLogger(PROGRESS_LOGGER).addHandler(_ProgressHandler(pipe))
    # TFX hands the command line on to executors, and that is ours, not theirs.
    sys.argv = [node_id]
    try:
        result = node.run_node(
            scheduler.pipeline, node_id, scheduler.run_of.run_id, scheduler.connection
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is told
        _LOG.exception("%s failed", node_id)
        pipe.send(Failure(cause_of(error), exit_code_of(error)))
    else:
        pipe.send(State.CACHED if result.cached else State.DONE)
    finally:
        logging.shutdown()
        pipe.close()


class _ProgressHandler(logging.Handler):
    """Sends what a node says of its progress to the parent."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(logging.INFO)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        """Sends a record's text."""
        self._pipe.send(record.getMessage())


def _write_output_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _start_log() -> None:
    logging.basicConfig(level=logging.INFO, format=_LOG_FORMAT, force=True)


def _check_data(config: Config) -> None:
    if config.data is None:
        return
    if not config.data.is_dir():
        msg = f"data is {config.data}, which is not a directory; give one of CSV files"
        raise UsageError(msg)
    if not any(config.data.glob("*.csv")):
        msg = f"{config.data} holds no file that ends in .csv"
        raise DataRefusedError(msg)


def _new_run(config: Config) -> Run:
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    definition = "".join(digest(path.read_bytes()) for path in sources())
    run_id = f"{now}-{digest(repr(config) + definition)[:8]}"
    directory = config.runs_directory / run_id
    (directory / "logs").mkdir(parents=True, exist_ok=True)
    return Run(run_id, directory)


def _ancestors(
    upstream: Mapping[str, Collection[str]], node_id: str
) -> dict[str, Collection[str]]:
    """Keeps a node and those it depends on, in their order."""
    wanted, waiting = set(), [node_id]
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        waiting += upstream[name]
    return {name: before for name, before in upstream.items() if name in wanted}


def _descendants(upstream: Mapping[str, Collection[str]], node_id: str) -> set[str]:
    below = {name for name, before in upstream.items() if node_id in before}
    return below.union(*(_descendants(upstream, name) for name in below))


def _death_of(exit_code: int) -> str:
    if exit_code >= 0:
        return f"its process ended with code {exit_code} and said nothing"
    name = signal.Signals(-exit_code).name
    hint = "; the machine may be out of memory" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}"


def _no_reviewed_schema(config: Config) -> UsageError:
    msg = (
        f"There is no reviewed schema at {config.schema}, so nothing was trained. "
        f"{PROPOSAL_NODE} has proposed one: read it, then `throughline schema accept`"
    )
    return UsageError(msg)
