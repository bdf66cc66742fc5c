"""The processes of the demo: `throughline serve` and `throughline operate`."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pipeline.config import METADATA_VARIABLE
from pipeline.errors import ThroughlineError
from pipeline.project.settings_file import PROJECT
from pipeline.store import clock

_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.05


def free_port(wanted: int) -> int:
    """Returns a port of loopback that nobody listens on.

    Args:
        wanted: The port to take if it is free; 0 for any.
    """
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ThroughlineError("no port of 127.0.0.1 is free; stop a server")


@dataclass
class Processes:
    """What was started, and is stopped in the end.

    Attributes:
        clock: The file with the simulated time, which all of them get.
        logs: Directory for what they print.
    """

    clock: Path
    logs: Path
    _running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, command: str, flags: Sequence[str]) -> None:
        """Starts a command of `throughline`."""
        with self.log_of(command).open("ab") as log:
            self._running[command] = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli", command, *flags],
                cwd=PROJECT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C goes to the demo, which stops them in order.
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        """Returns this process's, with the clock and without the user's store."""
        inherited = {n: v for n, v in os.environ.items() if n != METADATA_VARIABLE}
        return {**inherited, clock.VARIABLE: str(self.clock)}

    def log_of(self, command: str) -> Path:
        """Returns the file with what a command prints."""
        return self.logs / f"{command}.txt"

    def wait_until(
        self, holds: Callable[[], bool], what: str, seconds: float = 600.0
    ) -> None:
        """Waits until something holds.

        Args:
            holds: Tells whether it does.
            what: What is waited for, for the message.
            seconds: Longest time.

        Raises:
            ThroughlineError: It took longer, or a process has ended.
        """
        deadline = time.monotonic() + seconds
        while not holds():
            self.check()
            if time.monotonic() > deadline:
                raise ThroughlineError(
                    f"{what} took more than {seconds:.0f} s; {self.logs} has what the "
                    "processes printed"
                )
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Fails if a process has ended.

        Raises:
            ThroughlineError: One has; the message has the last line that it printed.
        """
        for command, process in self._running.items():
            if (code := process.poll()) is not None:
                log = self.log_of(command)
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise ThroughlineError(
                    f"`throughline {command}` has ended with {code}: "
                    f"{''.join(last) or 'it printed nothing'}; see {log}"
                )

    def stop(self) -> dict[str, int]:
        """Stops all, the last one first, as a service manager does.

        Returns:
            The exit codes, by command.
        """
        codes = {}
        for command, process in reversed(self._running.items()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                codes[command] = process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[command] = process.wait()
        self._running.clear()
        return codes
