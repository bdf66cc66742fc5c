"""Processes that live as long as the one that started them, each with its own log."""

import functools
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.columnar.orphans import die_with
from pipeline.errors import ThroughlineError

_SECONDS_TO_STOP = 15
_POLL_SECONDS = 0.2


class Processes(AbstractContextManager["Processes"]):
    """Named processes; all end with the block, or with this process if it is killed."""

    def __init__(self, directory: Path) -> None:
        """Stores where logs go; starts nothing.

        Args:
            directory: Gets NAME.log of each, with what it printed.
        """
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None
    ) -> None:
        """Starts a process, again if it has ended.

        Args:
            name: Its name, and that of its log.
            command: Its command line.
            environment: Its environment; None for this process's.
        """
        with self.log_of(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A terminal's Ctrl-C is for us, who stop them in order.
                start_new_session=True,
                # No threads here, which the lint rule is about.
                preexec_fn=functools.partial(die_with, os.getpid()),  # noqa: PLW1509
            )

    def log_of(self, name: str) -> Path:
        """Returns the log of a process."""
        return self.directory / f"{name}.log"

    def pid_of(self, name: str) -> int:
        """Returns the id of a process."""
        return self._running[name].pid

    def ended(self) -> list[str]:
        """Returns the names of processes that have exited by themselves."""
        return [n for n, each in self._running.items() if each.poll() is not None]

    def stop(self, name: str) -> None:
        """Stops a process, at the latest after 15 seconds."""
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_until(
        self, condition: Callable[[], bool], seconds: float, what: str
    ) -> None:
        """Waits until a condition holds.

        Args:
            condition: Whether it is.
            seconds: How long to wait at most.
            what: What is waited for, for the error.

        Raises:
            ThroughlineError: It isn't in time, or a process has ended meanwhile; the
                message names a log.
        """
        end = time.monotonic() + seconds
        while not condition():
            if ended := self.ended():
                log = self.log_of(ended[0])
                raise ThroughlineError(
                    f"{ended[0]} has ended before there was {what}: {_reason(log)} "
                    f"(log: {log})"
                )
            if time.monotonic() > end:
                raise ThroughlineError(
                    f"there is no {what} after {seconds:.0f} seconds; "
                    f"{self.directory} has the logs"
                )
            time.sleep(_POLL_SECONDS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops all, the last one first."""
        for name in reversed(list(self._running)):
            self.stop(name)

    def __enter__(self) -> Self:
        """Returns the processes."""
        return self


def listens(port: int) -> bool:
    """Whether something accepts connections at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _reason(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    told = [line for line in lines if "Exception" in line or "rror" in line]
    return (told or lines or ["it said nothing"])[-1].strip()[:300]
