"""Runs the nodes of a compiled pipeline in topological order, each in a forked process.

A fork of a process that has imported TFX costs 0.1 s; a fresh process needs 8 s. The
crash of a node doesn't affect the others, and its memory is freed when it ends.

Of a node whose executor has a `prepare`, the process is forked before its inputs exist,
when a worker is free. It prepares, and waits to be told to run.
"""

import functools
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.proto.orchestration import pipeline_pb2

from pipeline.columnar import progress
from pipeline.columnar.engine import limit_workers, return_freed_memory
from pipeline.columnar.orphans import die_with
from pipeline.columnar.processes import exit_cause
from pipeline.errors import EXIT_FAILED, cause_of, exit_code_of
from pipeline.runners import node
from pipeline.runners.local.console import RunConsole, State, redirect_output
from pipeline.runners.logs import LogLevel, start_log

_LOG = logging.getLogger(__name__)
_REFRESH_SECONDS = 0.25
_WORKS_SECONDS = 1.0
"""A node that runs for so long isn't taken from the cache, which takes less."""
_ORPHAN_SECONDS = 5.0

Upstream = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class Failure:
    """Why a node failed.

    Attributes:
        cause: One sentence for the user.
        exit_code: 3 if the data was rejected, else 1.
    """

    cause: str
    exit_code: int


@dataclass(frozen=True)
class Job:
    """A compiled pipeline and what its nodes need to run.

    Attributes:
        pipeline: The compiled pipeline.
        run_id: Name of the run.
        connection: The metadata store.
        log_of: Returns a node's log file.
        log_level: Lowest level of the messages in the log.
        temporary: Directory for the nodes' temporary files.
    """

    pipeline: pipeline_pb2.Pipeline
    run_id: str
    connection: mlmd.ConnectionConfig
    log_of: Callable[[str], Path]
    log_level: LogLevel
    temporary: str


@dataclass
class _Child:
    """The process of a node that runs or prepares.

    Attributes:
        process: The process.
        pipe: It reports through it.
        start: Tells a process that prepares to run the node.
        started: When the node started, by `time.monotonic`.
        ended: Whether it has reported the node's end.
        prepared: Whether it had prepared before it was told to run.
    """

    process: BaseProcess
    pipe: Connection
    start: Connection
    started: float = field(default_factory=time.monotonic)
    ended: bool = False
    prepared: bool = False

    def run(self) -> None:
        """Has a process that prepares run its node."""
        self.started, self.prepared = time.monotonic(), True
        # If it has died, the end of its pipe will say so.
        with suppress(OSError):
            self.start.send(None)


@dataclass
class Scheduler:
    """Starts each node when its upstream nodes are done and a worker is free.

    Attributes:
        job: The pipeline to run.
        console: Shows the events.
        note: Called after each node has ended.
        failures: The failed nodes.
    """

    job: Job
    console: RunConsole
    note: Callable[[], None]
    failures: dict[str, Failure] = field(default_factory=dict)
    _children: dict[str, _Child] = field(default_factory=dict)
    _prepared: dict[str, _Child] = field(default_factory=dict)
    _executed: set[str] = field(default_factory=set)
    _ending: list[BaseProcess] = field(default_factory=list)

    def run(self, upstream: Upstream, workers: int) -> dict[str, Failure]:
        """Runs nodes; after a failure starts no more, and waits for the running ones.

        Args:
            upstream: The nodes to run, each with those of them that it waits for.
            workers: Most processes at once, and most workers on the data within each.

        Returns:
            The failed nodes; empty if all are done.

        Raises:
            KeyboardInterrupt: Ctrl-C; all processes have been stopped.
        """
        waiting = {node_id: set(before) for node_id, before in upstream.items()}
        # Nodes that the most others wait for go first: Transform before SchemaGen.
        urgency = {n: len(descendants(upstream, n)) for n in upstream}
        job = self.job
        preparations = node.preparations(job.pipeline, job.run_id, job.connection)
        try:
            while self._children or (waiting and not self.failures):
                ready = [n for n, before in waiting.items() if not before]
                early = self._preparations(waiting, preparations)
                work = sorted([*ready, *early], key=urgency.__getitem__, reverse=True)
                for node_id in [] if self.failures else work:
                    # One that still prepares has a worker already.
                    busy = len(self._children) + len(self._preparing - {node_id})
                    if busy < workers and node_id in early:
                        prepare = early[node_id]
                        self._prepared[node_id] = self._fork(node_id, workers, prepare)
                    elif busy < workers:
                        del waiting[node_id]
                        self._start(node_id, workers)
                for done in self._wait():
                    for before in waiting.values():
                        before.discard(done)
        except BaseException:
            self._stop()
            raise
        self._discard_prepared()
        self._join_ending()
        self.console.not_run(waiting)
        return self.failures

    def _start(self, node_id: str, workers: int) -> None:
        self.console.started(node_id)
        child = self._prepared.pop(node_id, None)
        if child:
            child.run()
        else:
            child = self._fork(node_id, workers)
        self._children[node_id] = child

    @property
    def _preparing(self) -> set[str]:
        """The nodes that still prepare."""
        # Those that have are waiting, and have sent that; it is read when they run.
        return {n for n, child in self._prepared.items() if not child.pipe.poll()}

    def _preparations(
        self, waiting: Upstream, known: Mapping[str, node.Preparation]
    ) -> dict[str, Callable[[], None]]:
        """Returns what can be prepared and will have work: not all is in the cache."""
        before = time.monotonic() - _WORKS_SECONDS
        # A node that was prepared had work before it too.
        running = {
            node_id
            for node_id, child in self._children.items()
            if child.prepared or child.started < before
        }
        return {
            node_id: preparation.run
            for node_id, preparation in known.items()
            if waiting.get(node_id)
            and node_id not in self._prepared
            and preparation.after in running | self._executed
        }

    def _fork(
        self, node_id: str, workers: int, prepare: Callable[[], None] | None = None
    ) -> _Child:
        """Forks a node; with `prepare` it does that, and waits for `_Child.run`."""
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe(duplex=False)
        told, start = context.Pipe(duplex=False)
        first = prepare and functools.partial(_prepare_and_wait, prepare, told, theirs)
        process = context.Process(
            target=_run_in_child,
            name=node_id,
            args=(theirs, self.job, node_id, workers, first),
        )
        process.start()
        theirs.close()
        told.close()
        return _Child(process, ours, start)

    def _wait(self) -> list[str]:
        """Waits briefly for messages; returns the nodes that ended successfully."""
        by_pipe: dict[object, str] = {c.pipe: n for n, c in self._children.items()}
        pipes = [child.pipe for child in self._children.values()]
        ready = wait(pipes, timeout=_REFRESH_SECONDS)
        self.console.refresh()
        return [by_pipe[pipe] for pipe in ready if self._take(by_pipe[pipe])]

    def _take(self, node_id: str) -> bool:
        """Handles one message of a node; returns whether its process has succeeded."""
        child = self._children[node_id]
        try:
            message = child.pipe.recv()
        except EOFError:
            self._process_ended(node_id, child)
            return node_id not in self.failures
        if message is State.WAITING:
            # It was prepared, and runs by now.
            return False
        if isinstance(message, State):
            self._ended(node_id, message)
        elif isinstance(message, Failure):
            self.failures[node_id] = message
            self._ended(node_id, State.FAILED, message.cause)
        else:
            self.console.progress(node_id, message)
        return False

    def _ended(self, node_id: str, state: State, note: str = "") -> None:
        if state is State.DONE:
            self._executed.add(node_id)
        self._children[node_id].ended = True
        self.console.ended(node_id, state, note)
        self.note()

    def _process_ended(self, node_id: str, child: _Child) -> None:
        """Handles the end of a process, including one that died without a message."""
        child.pipe.close()
        if child.ended:
            # It only returns its memory, for which no other node needs to wait.
            self._ending.append(child.process)
        else:
            child.process.join()
            cause = exit_cause(child.process.exitcode or 0)
            self.failures[node_id] = Failure(cause, EXIT_FAILED)
            self._ended(node_id, State.FAILED, cause)
        del self._children[node_id]

    def _join_ending(self) -> None:
        for process in self._ending:
            process.join()
        self._ending.clear()

    def _discard_prepared(self) -> None:
        """Ends the processes of nodes that won't run, after a failure."""
        for child in self._prepared.values():
            child.process.terminate()
            child.process.join()
            child.pipe.close()
            child.start.close()
        self._prepared.clear()

    def _stop(self) -> None:
        """Terminates all processes; a second Ctrl-C kills them."""
        self._discard_prepared()
        for child in self._children.values():
            child.process.terminate()
        try:
            for child in self._children.values():
                child.process.join()
        except KeyboardInterrupt:
            for child in self._children.values():
                child.process.kill()
                child.process.join()
        self._join_ending()
        for node_id in list(self._children):
            self._ended(node_id, State.CANCELED)
        self._children.clear()


def descendants(upstream: Upstream, node_id: str) -> set[str]:
    """Returns all nodes that depend on a node, directly or indirectly."""
    below = {name for name, before in upstream.items() if node_id in before}
    return below.union(*(descendants(upstream, name) for name in below))


def ancestors(upstream: Upstream, node_id: str) -> set[str]:
    """Returns a node and all nodes that it depends on, directly or indirectly."""
    return {node_id}.union(*(ancestors(upstream, name) for name in upstream[node_id]))


def _run_in_child(
    pipe: Connection,
    job: Job,
    node_id: str,
    workers: int,
    first: Callable[[], None] | None,
) -> None:
    """Runs a node in a forked process, and sends its result to the parent.

    Args:
        pipe: Gets progress and the result.
        job: The pipeline.
        node_id: The node.
        workers: Most workers on its data.
        first: Called before the node is run.
    """
    # The terminal sends SIGINT to all processes; only the parent acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    die_with((parent and parent.pid) or 0)
    redirect_output(job.log_of(node_id))
    os.environ["TMPDIR"] = tempfile.tempdir = job.temporary
    start_log(job.log_level)
    # Here and not in the parent: a library's threads don't survive a fork.
    limit_workers(workers)
    progress.listen(pipe.send)
    # TFX passes sys.argv on to executors and Beam, which would parse our flags.
    sys.argv = [node_id]
    try:
        if first:
            first()
        result = node.run_node(job.pipeline, node_id, job.run_id, job.connection)
    except Exception as error:  # noqa: BLE001 - the parent reports any failure
        _LOG.exception("%s failed", node_id)
        pipe.send(Failure(cause_of(error), exit_code_of(error)))
    else:
        pipe.send(State.CACHED if result.cached else State.DONE)
    finally:
        logging.shutdown()
        pipe.close()


def _prepare_and_wait(
    prepare: Callable[[], None], told: Connection, pipe: Connection
) -> None:
    """Prepares a node, says so, and waits until the parent says that it can run."""
    parent = os.getppid()
    return_freed_memory()
    try:
        prepare()
    except Exception:  # noqa: BLE001 - the node itself meets it, and fails as others do
        _LOG.warning("It could not be prepared", exc_info=True)
    pipe.send(State.WAITING)
    # Its end is no end of the pipe: this process holds a copy of the parent's side.
    while not told.poll(_ORPHAN_SECONDS):
        if os.getppid() != parent:
            os._exit(EXIT_FAILED)
