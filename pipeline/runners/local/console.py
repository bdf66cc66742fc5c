"""What a person sees of a run: a live table in a terminal, else a line per event."""

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

from pipeline.errors import ThroughlineError, cause_of, printable

_WIDTH_WITHOUT_TERMINAL = 100


class State(StrEnum):
    """Where a node of a run stands."""

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
    """What is known of one node while a run goes on.

    Attributes:
        state: Where it stands.
        started: When it began, in seconds of the monotonic clock.
        seconds: How long it took, once it has ended.
        note: Its latest progress, or why it failed.
    """

    state: State = State.WAITING
    started: float = 0.0
    seconds: float | None = None
    note: str = ""

    @property
    def elapsed(self) -> float | None:
        """Seconds it took or has taken so far; none before it started."""
        if self.seconds is None and self.state is State.RUNNING:
            return time.monotonic() - self.started
        return self.seconds


@dataclass
class RunConsole:
    """Shows a run. All that TFX prints goes elsewhere, so this is all there is to see.

    Attributes:
        rich: Where to print; a terminal gets a live table.
        nodes: Status of each node, in running order.
    """

    rich: RichConsole
    nodes: dict[str, NodeStatus] = field(default_factory=dict)
    _live: Live | None = None

    def say(self, text: str, style: str = "") -> None:
        """Prints a paragraph; wraps in a terminal only."""
        self.rich.print(
            Text(printable(text), style=style), soft_wrap=not self.rich.is_terminal
        )

    @contextmanager
    def table(self, node_ids: Iterable[str]) -> Iterator[None]:
        """Shows the table of nodes while the block runs, and leaves it standing."""
        self.nodes = {node_id: NodeStatus() for node_id in node_ids}
        if not self.rich.is_terminal:
            yield
            return
        # No refresh thread: nodes are forked, and a thread's locks would be too. And no
        # redirection: forked nodes would inherit a sys.stderr that prints on the
        # terminal, whatever their file descriptors were turned to.
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
        """Notes that a node runs."""
        status = self.nodes[node_id]
        status.state, status.started = State.RUNNING, time.monotonic()
        self._event(node_id, "started")

    def progress(self, node_id: str, text: str) -> None:
        """Shows how far a running node is."""
        self.nodes[node_id].note = text
        self._event(node_id, text)

    def ended(self, node_id: str, state: State, note: str = "") -> None:
        """Notes how a node ended."""
        status = self.nodes[node_id]
        status.seconds = status.elapsed
        status.state, status.note = state, note or status.note
        took = "" if status.seconds is None else f" after {status.seconds:.1f} s"
        self._event(node_id, f"{state}{took}{f': {note}' if note else ''}")

    def not_run(self, node_ids: Collection[str]) -> None:
        """Notes nodes that will not run any more."""
        for node_id in node_ids:
            self.nodes[node_id].state = State.NOT_RUN
        if node_ids and not self._live:
            self.say(f"{'':10}not run: {', '.join(node_ids)}")

    def refresh(self) -> None:
        """Draws the table again, if there is one."""
        if self._live:
            self._live.update(self._render(), refresh=True)

    def _event(self, node_id: str, text: str) -> None:
        if self._live:
            self.refresh()
        elif not self.rich.is_terminal:
            line = f"{time.strftime('%H:%M:%S')}  {node_id:17} {_first_line(text)}"
            self.say(line.rstrip())

    def _render(self) -> Table:
        table = Table(box=None, pad_edge=False)
        # Names of nodes are what a user types: notes are cut short instead.
        longest = max(map(len, self.nodes), default=0)
        table.add_column("node", no_wrap=True, min_width=longest)
        table.add_column("state", no_wrap=True, min_width=8)
        table.add_column("seconds", justify="right", no_wrap=True, min_width=7)
        table.add_column("", overflow="ellipsis", no_wrap=True)
        for node_id, status in self.nodes.items():
            elapsed = status.elapsed
            table.add_row(
                node_id,
                Text(status.state, style=_STYLES[status.state]),
                "" if elapsed is None else f"{elapsed:.1f}",
                Text(printable(_first_line(status.note)), style="dim"),
            )
        return table


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")


def shown(path: Path) -> Path:
    """Shortens a path below the current directory."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


@contextmanager
def own_console(log: Path) -> Iterator[RunConsole]:
    """Keeps the console to ourselves: whatever else is printed goes to a log.

    Args:
        log: Gets everything that is not printed through the console.

    Yields:
        The console, on what standard output was.
    """
    with _output_turned_to(log) as screen:
        width = None if screen.isatty() else _WIDTH_WITHOUT_TERMINAL
        yield RunConsole(RichConsole(file=screen, highlight=False, width=width))


def turn_output_to(log: Path) -> None:
    """Sends all that this process prints to a log, for good; for forked processes.

    Python's streams are made anew: what stood in for them in the parent, such as a live
    display's, may print elsewhere than to file descriptors 1 and 2.
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
    """Lets a block print through sys.stdout alone, and nothing that libraries say.

    What they say is in a log, which is kept and named if the block fails in a way that
    we didn't foresee.
    """
    descriptor, name = tempfile.mkstemp(prefix="throughline-", suffix=".log")
    os.close(descriptor)
    log, is_needed = Path(name), False
    try:
        with _output_turned_to(log) as screen, redirect_stdout(screen):
            yield
    except (ThroughlineError, OSError):
        # They say themselves what is wrong.
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
def _output_turned_to(log: Path) -> Iterator[io.TextIOWrapper]:
    """Turns file descriptors 1 and 2 to a log; yields what standard output was.

    Libraries print on import and C++ code writes to the descriptors, so these are what
    is turned away, for this process and the ones it forks.
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
    """Where a run is shown; when nobody reads it any more, the run goes on unseen.

    `run_local.py | head -1` closes the pipe after a line, and a disk may be full that a
    file is on: neither is a reason to lose the run.
    """

    def write(self, data: Any, /) -> int:
        """Writes, or drops what can't be written."""
        try:
            return super().write(data) or 0
        except OSError:
            return memoryview(data).nbytes


def _flush_buffers() -> None:
    """Writes what Python has buffered to where it was meant to go."""
    sys.stdout.flush()
    sys.stderr.flush()
