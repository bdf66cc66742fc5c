"""Runs the nodes of a compiled pipeline, each in a forked process, as they get ready.

A node is forked from a process that has imported TFX once, which costs a tenth of a
second instead of the eight that a fresh process needs. A crash of one takes down
nothing else, and its memory goes back when it ends.
"""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.proto.orchestration import pipeline_pb2

from pipeline.columnar.engine import limit_workers
from pipeline.errors import EXIT_FAILED, cause_of, exit_code_of
from pipeline.runners import node
from pipeline.runners.local.console import RunConsole, State

PROGRESS_LOGGER = "throughline.progress"
LOG_FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"

_LOG = logging.getLogger(__name__)
_REFRESH_SECONDS = 0.25
_PR_SET_PDEATHSIG = 1

Upstream = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class Failure:
    """Why a node failed, in a sentence, and the exit code that it stands for."""

    cause: str
    exit_code: int


@dataclass(frozen=True)
class Job:
    """What is to be run.

    Attributes:
        pipeline: The compiled pipeline.
        run_id: Name of the run.
        connection: The metadata store.
        log_of: Where a node's output goes.
    """

    pipeline: pipeline_pb2.Pipeline
    run_id: str
    connection: mlmd.ConnectionConfig
    log_of: Callable[[str], Path]


@dataclass
class _Child:
    """A node that runs in a process of its own."""

    process: BaseProcess
    pipe: Connection
    ended: bool = False


@dataclass
class Scheduler:
    """Starts nodes as soon as those they wait for are done.

    Attributes:
        job: What is to be run.
        console: Gets told what happens.
        note: Called whenever a node has ended.
        failures: The nodes that failed.
    """

    job: Job
    console: RunConsole
    note: Callable[[], None]
    failures: dict[str, Failure] = field(default_factory=dict)
    _children: dict[str, _Child] = field(default_factory=dict)

    def run(self, upstream: Upstream, workers: int) -> dict[str, Failure]:
        """Runs nodes until all are done or, after a failure, the running ones are.

        Args:
            upstream: The nodes to run, each with those of them that it waits for.
            workers: Most processes at once, and most workers on the data within each.

        Returns:
            The nodes that failed; no failure means that all are done.

        Raises:
            KeyboardInterrupt: Ctrl-C; no process is left.
        """
        limit_workers(workers)
        waiting = {node_id: set(before) for node_id, before in upstream.items()}
        urgency = {n: len(descendants(upstream, n)) for n in upstream}
        try:
            while self._children or (waiting and not self.failures):
                ready = [n for n, before in waiting.items() if not before]
                ready.sort(key=urgency.__getitem__, reverse=True)
                free = 0 if self.failures else workers - len(self._children)
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
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_run_in_child,
            name=node_id,
            args=(theirs, self.job, node_id, os.getpid()),
        )
        self.console.started(node_id)
        process.start()
        theirs.close()
        self._children[node_id] = _Child(process, ours)

    def _wait(self) -> list[str]:
        """Takes messages for a moment; returns the nodes that were done in it."""
        by_pipe: dict[object, str] = {c.pipe: n for n, c in self._children.items()}
        pipes = [child.pipe for child in self._children.values()]
        ready = wait(pipes, timeout=_REFRESH_SECONDS)
        self.console.refresh()
        return [by_pipe[pipe] for pipe in ready if self._take(by_pipe[pipe])]

    def _take(self, node_id: str) -> bool:
        """Takes one message of a node; returns whether the node is done."""
        child = self._children[node_id]
        try:
            message = child.pipe.recv()
        except EOFError:
            self._gone(node_id, child)
            return node_id not in self.failures
        if isinstance(message, State):
            self._ended(node_id, message)
        elif isinstance(message, Failure):
            self.failures[node_id] = message
            self._ended(node_id, State.FAILED, message.cause)
        else:
            self.console.progress(node_id, message)
        return False

    def _ended(self, node_id: str, state: State, note: str = "") -> None:
        self._children[node_id].ended = True
        self.console.ended(node_id, state, note)
        self.note()

    def _gone(self, node_id: str, child: _Child) -> None:
        """Notes the end of a process, also of one that could not say why."""
        child.process.join()
        child.pipe.close()
        if not child.ended:
            cause = _death_of(child.process.exitcode or 0)
            self.failures[node_id] = Failure(cause, EXIT_FAILED)
            self._ended(node_id, State.FAILED, cause)
        del self._children[node_id]

    def _stop(self) -> None:
        """Stops all processes; a second Ctrl-C no longer asks."""
        for child in self._children.values():
            child.process.terminate()
        try:
            for child in self._children.values():
                child.process.join()
        except KeyboardInterrupt:
            for child in self._children.values():
                child.process.kill()
                child.process.join()
        for node_id in list(self._children):
            self._ended(node_id, State.CANCELED)
        self._children.clear()


def descendants(upstream: Upstream, node_id: str) -> set[str]:
    """Finds all nodes that wait for a node, directly or through others."""
    below = {name for name, before in upstream.items() if node_id in before}
    return below.union(*(descendants(upstream, name) for name in below))


def ancestors(upstream: Upstream, node_id: str) -> set[str]:
    """Finds a node and all nodes that it waits for, directly or through others."""
    return {node_id}.union(*(ancestors(upstream, name) for name in upstream[node_id]))


def start_log() -> None:
    """Sends what is logged to standard error, whatever a library has set up."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, force=True)


def _run_in_child(pipe: Connection, job: Job, node_id: str, parent: int) -> None:
    """Runs a node in a forked process and tells the parent how it went."""
    # The terminal sends Ctrl-C to all; it is the parent that decides what stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(parent)
    _write_output_to(job.log_of(node_id))
    start_log()
    logging.getLogger(PROGRESS_LOGGER).addHandler(_ProgressHandler(pipe))
    # TFX hands the command line on to executors, and that is ours, not theirs.
    sys.argv = [node_id]
    try:
        result = node.run_node(job.pipeline, node_id, job.run_id, job.connection)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is told
        _LOG.exception("%s failed", node_id)
        pipe.send(Failure(cause_of(error), exit_code_of(error)))
    else:
        pipe.send(State.CACHED if result.cached else State.DONE)
    finally:
        logging.shutdown()
        pipe.close()


def _die_with(parent: int) -> None:
    """Makes the kernel end this process when the parent is killed.

    Otherwise a node would go on writing for a run that nobody waits for. Only Linux can
    do this.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


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


def _death_of(exit_code: int) -> str:
    if exit_code >= 0:
        return f"its process ended with code {exit_code} and said nothing"
    name = signal.Signals(-exit_code).name
    hint = "; the machine may be out of memory" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}"
