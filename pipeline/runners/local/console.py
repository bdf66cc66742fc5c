"""Progress of a run on the console: a live table in a terminal, else a line per event.

Redirects all other output of the process, and of the nodes it forks, to log files.
"""

import io
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.columnar.progress import Clock, Progress
from pipeline.errors import ThroughlineError, cause_of, printable
from pipeline.runners.local.progress_text import fitted

_WIDTH_WITHOUT_TERMINAL = 100
_LINE_SECONDS = 10.0
_STATE_WIDTH, _SECONDS_WIDTH = 8, 7


class State(StrEnum):
    """State of a node in a run."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    CANCELED = "canceled"
    NOT_RUN = "not run"


_STYLES = {
    State.WAITING: "dim",
    State.RUNNING: "bold cyan",
    State.DONE: "green",
    State.CACHED: "green",
    State.FAILED: "bold red",
    State.CANCELED: "yellow",
    State.NOT_RUN: "dim",
}


@dataclass
class NodeStatus:
    """State and duration of one node during a run.

    Attributes:
        state: Its state.
        started: When it started, in seconds of the monotonic clock.
        seconds: Its duration; `None` until it has ended.
        progress: Its progress, if that is the latest that it reported.
        note: The sentence that it reported last, or the cause of its failure.
        lined: When its last line was printed, by the same clock.
    """

    state: State = State.WAITING
    started: float = 0.0
    seconds: float | None = None
    progress: Progress | None = None
    note: str = ""
    lined: float = 0.0

    def elapsed(self, now: float) -> float | None:
        """Seconds that the node took, or has taken so far; `None` before it starts."""
        if self.seconds is None and self.state is State.RUNNING:
            return now - self.started
        return self.seconds


@dataclass
class RunConsole:
    """The console output of a run.

    Attributes:
        rich: Where to print; a terminal gets a live table.
        nodes: Status of each node, in topological order.
        clock: Seconds that only grow.
    """

    rich: RichConsole
    nodes: dict[str, NodeStatus] = field(default_factory=dict)
    clock: Clock = time.monotonic
    _live: Live | None = None

    def say(self, text: str, style: str = "") -> None:
        """Prints a paragraph; wraps it only in a terminal.

        Args:
            text: The text; control characters are escaped.
            style: A rich style, such as "red".
        """
        self.rich.print(
            Text(printable(text), style=style), soft_wrap=not self.rich.is_terminal
        )

    @contextmanager
    def table(self, node_ids: Iterable[str]) -> Iterator[None]:
        """Shows the live table of nodes during the block, and its last state after."""
        self.nodes = {node_id: NodeStatus() for node_id in node_ids}
        if not self.rich.is_terminal:
            yield
            return
        # No refresh thread: nodes are forked, and would inherit a lock that the thread
        # holds. No redirection: forked nodes would inherit a sys.stderr that prints to
        # the terminal, wherever their file descriptors point.
        with Live(
            self._render(),
            console=self.rich,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live:
            self._live = live
            try:
                yield
            finally:
                self.refresh()
                self._live = None

    def started(self, node_id: str) -> None:
        """Marks a node as running."""
        status = self.nodes[node_id]
        status.state, status.started = State.RUNNING, self.clock()
        self._event(node_id, "started")

    def progress(self, node_id: str, report: Progress | str) -> None:
        """Takes the progress of a running node, or a sentence about its result.

        `refresh` shows progress, so that frequent reports don't print more often.
        """
        status = self.nodes[node_id]
        if isinstance(report, Progress):
            status.progress, status.note = report, ""
        else:
            status.progress, status.note = None, report
            self._event(node_id, report)

    def ended(self, node_id: str, state: State, note: str = "") -> None:
        """Marks a node as ended.

        Args:
            node_id: The node.
            state: Its final state.
            note: The cause of a failure.
        """
        status = self.nodes[node_id]
        status.seconds = status.elapsed(self.clock())
        status.state = state
        if note:
            status.progress, status.note = None, note
        took = "" if status.seconds is None else f" after {status.seconds:.1f} s"
        self._event(node_id, f"{state}{took}{f': {note}' if note else ''}")

    def not_run(self, node_ids: Collection[str]) -> None:
        """Marks nodes that won't run because another one failed."""
        for node_id in node_ids:
            self.nodes[node_id].state = State.NOT_RUN
        if node_ids and not self._live:
            self.say(f"{'':10}not run: {', '.join(node_ids)}")

    def refresh(self) -> None:
        """Redraws the live table; without a terminal prints lines every ten seconds."""
        if self._live:
            self._live.update(self._render(), refresh=True)
        elif not self.rich.is_terminal:
            self._print_running()

    def _print_running(self) -> None:
        """Prints a line for each running node that had none for ten seconds."""
        now = self.clock()
        for node_id, status in self.nodes.items():
            if status.state is State.RUNNING and now - status.lined >= _LINE_SECONDS:
                for_now = f"running for {now - status.started:.0f} s"
                said = f": {status.progress}" if status.progress else ""
                self._event(node_id, f"{for_now}{said}")

    def _event(self, node_id: str, text: str) -> None:
        if self._live:
            self.refresh()
        elif not self.rich.is_terminal:
            self.nodes[node_id].lined = self.clock()
            line = f"{time.strftime('%H:%M:%S')}  {node_id:17} {_first_line(text)}"
            self.say(line.rstrip())

    def _render(self) -> Table:
        # One column between columns: 80 must hold count, rate and time left.
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        # Users type node ids, so these are never cut; the notes are.
        longest = max(map(len, self.nodes), default=0)
        table.add_column("node", no_wrap=True, min_width=longest)
        table.add_column("state", no_wrap=True, min_width=_STATE_WIDTH)
        table.add_column(
            "seconds", justify="right", no_wrap=True, min_width=_SECONDS_WIDTH
        )
        # Of a given width: what is in it changes, and the columns before must not.
        gaps = 3
        taken = longest + _STATE_WIDTH + _SECONDS_WIDTH + gaps
        room = max(1, self.rich.width - taken)
        table.add_column("", overflow="ellipsis", no_wrap=True, width=room)
        now = self.clock()
        for node_id, status in self.nodes.items():
            elapsed = status.elapsed(now)
            table.add_row(
                node_id,
                Text(status.state, style=_STYLES[status.state]),
                "" if elapsed is None else f"{elapsed:.1f}",
                self._about(status, room),
            )
        return table

    def _about(self, status: NodeStatus, room: int) -> Text:
        """Returns what a node reported last."""
        if status.progress:
            ascii_only = self.rich.options.ascii_only
            return fitted(status.progress, room, ascii_only=ascii_only)
        return Text(printable(_first_line(status.note)), style="dim")


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")


def shown(path: Path) -> Path:
    """Returns a path relative to the current directory, if it is below that."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


@contextmanager
def own_console(log: Path) -> Iterator[RunConsole]:
    """Redirects standard output and error to a log; only the console prints to screen.

    Args:
        log: Receives everything that is not printed through the console.

    Yields:
        A console that prints to the original standard output.
    """
    with _output_redirected(log) as screen:
        width = None if screen.isatty() else _WIDTH_WITHOUT_TERMINAL
        yield RunConsole(RichConsole(file=screen, highlight=False, width=width))


def redirect_output(log: Path) -> None:
    """Redirects this forked process's standard output and error to a log, for good.

    Also replaces `sys.stdout` and `sys.stderr`: those inherited from the parent, such
    as a live display's, may not write to file descriptors 1 and 2.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    _flush_buffers()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = os.fdopen(1, "w", buffering=1, errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="replace", closefd=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Hides what libraries print during the block; `sys.stdout` still prints.

    Hidden output goes to a temporary log, which is deleted unless the block raises an
    unexpected exception.

    Raises:
        ThroughlineError: The block raised an unexpected exception; names the log.
    """
    descriptor, name = tempfile.mkstemp(prefix="throughline-", suffix=".log")
    os.close(descriptor)
    log, is_needed = Path(name), False
    try:
        with _output_redirected(log) as screen, redirect_stdout(screen):
            yield
    except (ThroughlineError, OSError):
        # Their messages are complete without the log.
        raise
    except Exception as error:
        is_needed = True
        with log.open("a") as file:
            traceback.print_exception(error, file=file)
        raise ThroughlineError(f"{cause_of(error)}\nThe log is {log}") from error
    finally:
        if not is_needed:
            log.unlink()


@contextmanager
def _output_redirected(log: Path) -> Iterator[io.TextIOWrapper]:
    """Points file descriptors 1 and 2 to a log; yields the original standard output.

    Replacing `sys.stdout` would not be enough: C++ code writes to the descriptors.
    Forked processes inherit the redirection.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    kept = [os.dup(1), os.dup(2)]
    screen = io.TextIOWrapper(
        _Screen(kept[0], "w", closefd=False), errors="replace", write_through=True
    )
    try:
        _flush_buffers()
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        yield screen
    finally:
        _flush_buffers()
        screen.flush()
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(descriptor)


class _Screen(io.FileIO):
    """The original standard output; ignores write errors, so that the run continues.

    `run_local.py | head -1` closes the pipe after one line, and the disk of a file may
    be full: neither must end the run.
    """

    def write(self, data: Any, /) -> int:
        """Writes bytes, or drops them if that fails."""
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


def _flush_buffers() -> None:
    """Flushes Python's buffers before the descriptors are redirected."""
    sys.stdout.flush()
    sys.stderr.flush()
