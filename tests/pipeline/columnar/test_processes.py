"""Forked processes: results, failures, deaths and limits."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

# Here, not in each forked process: four seconds.
import tensorflow as tf  # noqa: F401

from pipeline.columnar import engine, progress
from pipeline.columnar.processes import Failed, exit_cause, forked


def test_each_piece_gets_its_result() -> None:
    """Results come with their pieces, from processes that are not this one."""
    found: Any = dict(forked(lambda piece: (piece * 10, os.getpid()), range(1, 6), 2))

    assert {piece: result[0] for piece, result in found.items()} == {
        piece: piece * 10 for piece in range(1, 6)
    }
    pids = {result[1] for result in found.values()}
    assert len(pids) == 5
    assert os.getpid() not in pids


def test_no_more_processes_than_allowed() -> None:
    """Pieces are read when a process is free, and not before."""
    read: list[int] = []

    def pieces() -> Iterator[int]:
        for piece in range(1, 6):
            read.append(piece)
            yield piece

    results = forked(lambda piece: piece, pieces(), 2)
    next(results)

    assert len(read) <= 3
    assert len(list(results)) == 4


def test_a_process_computes_with_one_thread() -> None:
    """Else a sum would depend on how many processes there are."""
    ((_, workers),) = forked(lambda _: engine.Workers().at_once, ["piece"], 2)

    assert workers == 1


def _end(how: str) -> str:
    if how == "raise":
        raise ValueError("of no use")
    if how == "exit":
        os._exit(7)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "sleep":
        time.sleep(60)
    return "done"


def test_one_failure_leaves_the_others_alone() -> None:
    """An error, an exit, a kill and a timeout are causes in one line each."""
    ways = ["raise", "exit", "kill", "sleep", "return"]

    found = dict(forked(_end, ways, 5, seconds=3))

    assert found["return"] == "done"
    assert found["raise"] == Failed("ValueError: of no use")
    assert found["exit"] == Failed("its process ended with code 7 and said nothing")
    assert isinstance(found["kill"], Failed)
    assert "SIGKILL" in found["kill"].cause
    assert found["sleep"] == Failed("it took more than 3 seconds")


def test_progress_is_heard_with_its_piece() -> None:
    """Of a task that runs in a process; its notes aren't."""
    heard: list[tuple[str, int]] = []

    def work(piece: str) -> str:
        progress.note("a note")
        with progress.running(progress.Task(3)):
            progress.advance(3)
        return piece

    list(forked(work, ["a"], 1, heard=lambda piece, r: heard.append((piece, r.done))))

    assert heard == [("a", 3)]


def test_processes_end_with_whoever_stops_listening() -> None:
    """A caller that gives up leaves no process behind."""
    results = forked(
        lambda piece: time.sleep(60) if piece == "slow" else os.getpid(),
        ["slow", "fast"],
        2,
    )
    next(results)
    slow = _children()

    results.close()  # type: ignore[attr-defined]

    assert len(slow) == 1
    assert _children() == set()


def _children() -> set[int]:
    import multiprocessing

    return {child.pid or 0 for child in multiprocessing.active_children()}


@pytest.mark.parametrize(
    ("exit_code", "cause"),
    [
        (7, "its process ended with code 7"),
        (-signal.SIGSEGV, "killed by SIGSEGV"),
        (-signal.SIGKILL, "out of memory"),
    ],
)
def test_a_silent_death_is_explained(exit_code: int, cause: str) -> None:
    """What a process could not say itself is told from how it ended."""
    assert cause in exit_cause(exit_code)
