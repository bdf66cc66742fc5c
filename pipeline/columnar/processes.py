"""Runs a function in forked processes, a bounded number of them at once.

For work that threads can't do side by side in one process, such as the training of
several networks: TensorFlow's seed and its determinism are settings of a process. A
fork costs a tenth of a second, a new process with TensorFlow eight.
"""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from pipeline.columnar import progress
from pipeline.columnar.engine import limit_workers
from pipeline.columnar.orphans import die_with
from pipeline.errors import cause_of

In = TypeVar("In")
Out = TypeVar("Out")

_LOG = logging.getLogger(__name__)
_REFRESH_SECONDS = 0.25


@dataclass(frozen=True)
class Failed:
    """Why a piece of work has no result, in one line."""

    cause: str


@dataclass(frozen=True)
class _Result:
    value: Any


@dataclass
class _Child(Generic[In]):
    piece: In
    process: BaseProcess
    pipe: Connection
    ends: float
    outcome: Any = None


def forked(
    do: Callable[[In], Out],
    pieces: Iterable[In],
    at_once: int,
    *,
    seconds: float = float("inf"),
    heard: Callable[[In, progress.Progress], None] = lambda _piece, _report: None,
) -> Iterator[tuple[In, Out | Failed]]:
    """Unordered parallel map in forked processes with one thread each.

    One thread, so that a result doesn't depend on how many processes there are: sums of
    floating-point numbers depend on the number of threads. Call it before TensorFlow
    has computed anything in this process, since its threads don't survive a fork.

    Args:
        do: Makes a picklable result of a piece.
        pieces: Read when a process is free.
        at_once: Most processes at once.
        seconds: Most seconds for a piece; after that its process is killed.
        heard: Gets the progress that `do` reports.

    Yields:
        Each piece with its result, in the order in which they end.
    """
    waiting = iter(pieces)
    children: list[_Child[In]] = []
    try:
        while True:
            while len(children) < at_once:
                piece = next(waiting, None)
                if piece is None:
                    break
                children.append(_started(do, piece, time.monotonic() + seconds))
            if not children:
                return
            for child in _ended(children, heard):
                children.remove(child)
                yield child.piece, _outcome(child, seconds)
    finally:
        for child in children:
            child.process.kill()
            child.process.join()
            child.pipe.close()


def exit_cause(exit_code: int) -> str:
    """Explains the end of a process that sent neither a result nor an error."""
    if exit_code >= 0:
        return f"its process ended with code {exit_code} and said nothing"
    name = signal.Signals(-exit_code).name
    hint = "; the machine may be out of memory" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}"


def _started(do: Callable[[In], Any], piece: In, ends: float) -> _Child[In]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, do, piece, os.getpid()))
    process.start()
    theirs.close()
    return _Child(piece, process, ours, ends)


def _ended(
    children: list[_Child[In]], heard: Callable[[In, progress.Progress], None]
) -> list[_Child[In]]:
    """Waits briefly for messages; returns the processes that have ended."""
    ready = wait([child.pipe for child in children], timeout=_REFRESH_SECONDS)
    ended = []
    for child in children:
        if child.pipe in ready:
            try:
                message = child.pipe.recv()
            except EOFError:
                child.process.join()
                child.pipe.close()
                ended.append(child)
                continue
            if isinstance(message, progress.Progress):
                heard(child.piece, message)
            else:
                child.outcome = message
        elif time.monotonic() > child.ends:
            child.process.kill()
    return ended


def _outcome(child: _Child[Any], seconds: float) -> Any:
    if isinstance(child.outcome, _Result):
        return child.outcome.value
    if child.outcome is not None:
        return child.outcome
    if time.monotonic() > child.ends:
        return Failed(f"it took more than {seconds:g} seconds")
    return Failed(exit_cause(child.process.exitcode or 0))


def _run(pipe: Connection, do: Callable[[Any], Any], piece: Any, parent: int) -> None:
    """Makes a result in a forked process, and sends it to the parent."""
    # The terminal sends SIGINT to all processes; only the parent acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with(parent)
    progress.listen(lambda report: _send_progress(pipe, report))
    limit_workers(1)
    try:
        result = do(piece)
    except Exception as error:  # noqa: BLE001 - the parent reports any failure
        _LOG.exception("%s failed", piece)
        pipe.send(Failed(cause_of(error)))
    else:
        pipe.send(_Result(result))
    finally:
        logging.shutdown()
        pipe.close()


def _send_progress(pipe: Connection, report: progress.Progress | str) -> None:
    # Notes are about the whole node, which the parent alone can sum up.
    if isinstance(report, progress.Progress):
        pipe.send(report)
