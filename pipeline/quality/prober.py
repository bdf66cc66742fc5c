"""Processes that probe a model, each forked from one with TensorFlow's loader alone.

    python -m pipeline.quality.prober CHANNEL

The local runner forks that one while it imports TensorFlow, before Keras and TFX are
imported: its imports then cost nothing, and most of their memory is shared. Where there
is no such runner, it is a program, which a node starts.

In both forms it reads lines of JSON from a channel: the directory of the model, and one
for files. To each it answers with two lines: the id of the process that probes, and how
that ended.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, Self

from pipeline.columnar.orphans import die_with
from pipeline.errors import ThroughlineError
from pipeline.project.settings_file import PROJECT
from pipeline.quality import serving_probe
from pipeline.quality.serving_probe import TensorFlow

ERRORS = "errors.txt"
"""What a process printed, in its directory of files."""


class Prober:
    """A process that waits to be asked for probes, and the way to ask it."""

    def __init__(
        self,
        channel: socket.socket,
        process: int,
        program: "subprocess.Popen[bytes] | None" = None,
    ) -> None:
        """Takes a process that serves the other end of a channel."""
        self._channel, self.process, self._program = channel, process, program
        self._received = b""

    @classmethod
    def forked(cls) -> Self:
        """Imports TensorFlow's loader, and forks this process; before other imports."""
        parent, tensorflow = os.getpid(), TensorFlow()
        ours, theirs = socket.socketpair()
        process = os.fork()
        if not process:
            ours.close()
            for number in (signal.SIGINT, signal.SIGTERM):
                # A job in a shell's background ignores Ctrl-C, and goes on.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
            gc.freeze()
            gc.enable()
            _serve_and_exit(theirs, parent, tensorflow)
        theirs.close()
        tensorflow.release_name()
        return cls(ours, process)

    @classmethod
    def started(cls) -> Self:
        """Starts the program."""
        ours, theirs = socket.socketpair()
        with theirs:
            program = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        return cls(ours, program.pid, program)

    def __enter__(self) -> Self:
        """Returns it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process."""
        self._channel.close()
        if self._program:
            with self._program:
                self._program.kill()
            return
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)

    def probe(self, model: Path, files: Path, seconds: float) -> str:
        """Has a process probe a model.

        Args:
            model: Directory of the SavedModel.
            files: Directory of the probe's files; see `serving_probe.probe_files`.
            seconds: The longest that it may take; then it is killed.

        Returns:
            How the process failed; nothing if it ended well.

        Raises:
            ThroughlineError: This process died, which says nothing about the model.
        """
        request = json.dumps({"model": str(model), "files": str(files)})
        self._channel.settimeout(seconds)
        try:
            self._channel.sendall(f"{request}\n".encode())
            process = int(self._line())
        except (OSError, EOFError) as error:
            raise self._died() from error
        try:
            code = int(self._line())
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            self._line()
            return f"it did not end within {seconds:g} s"
        except (OSError, EOFError) as error:
            raise self._died() from error
        if code < 0:
            return f"the process died of {signal.Signals(-code).name}"
        if code:
            errors = (files / ERRORS).read_text(errors="replace").strip().splitlines()
            return (errors or ["it gave no reason"])[-1]
        return ""

    def _died(self) -> ThroughlineError:
        return ThroughlineError(
            f"Process {self.process}, which was to have the model probed, died or was "
            "killed before; it says nothing about the model, so try the node again"
        )

    def _line(self) -> bytes:
        while b"\n" not in self._received:
            part = self._channel.recv(64)
            if not part:
                raise EOFError
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        return line


_at_hand: list[Prober] = []


@contextmanager
def at_hand() -> Iterator[None]:
    """Has one forked for what this process forks during the block.

    Not if TensorFlow has been imported, which can't be shared in part then.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    with Prober.forked() as prober:
        _at_hand.append(prober)
        try:
            yield
        finally:
            _at_hand.remove(prober)


def start_early() -> None:
    """Starts the program for this process' probe, unless one is at hand."""
    if not _at_hand:
        _at_hand.append(Prober.started())


@contextmanager
def for_one_probe() -> Iterator[Prober]:
    """Yields the one that is at hand, or starts the program and ends it."""
    if _at_hand:
        yield _at_hand[-1]
    else:
        with Prober.started() as prober:
            yield prober


def _serve_and_exit(
    channel: socket.socket, parent: int, tensorflow: TensorFlow
) -> NoReturn:
    """Serves a channel, and ends this forked process whatever happens."""
    code = 1
    try:
        serve(channel, parent, tensorflow)
        code = 0
    except BaseException:  # noqa: BLE001 - the runner's log has the reason
        traceback.print_exc()
    finally:
        os._exit(code)


def serve(channel: socket.socket, parent: int, tensorflow: TensorFlow) -> None:
    """Forks a process for each line of a channel, until its end.

    Args:
        channel: Gives requests, and takes what is said of them.
        parent: Process id of who asks; when it dies, this process does.
        tensorflow: The loader.
    """
    # A kill of the runner alone is none of its children.
    die_with(parent)
    with channel, channel.makefile("rw", encoding="utf-8", buffering=1) as lines:
        for line in lines:
            request = json.loads(line)
            here, process = os.getpid(), os.fork()
            if not process:
                _probe_and_exit(tensorflow, request["model"], request["files"], here)
            print(process, file=lines, flush=True)
            _, status = os.waitpid(process, 0)
            print(os.waitstatus_to_exitcode(status), file=lines, flush=True)


def _probe_and_exit(
    tensorflow: TensorFlow, model: str, files: str, parent: int
) -> NoReturn:
    """Probes a model, and ends this forked process."""
    code = 1
    try:
        die_with(parent)
        errors = os.open(Path(files, ERRORS), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(errors, 2)
        sys.stderr = os.fdopen(2, "w", errors="replace", closefd=False)
        serving_probe.probe_files(tensorflow, Path(model), Path(files))
        code = 0
    except BaseException as error:  # noqa: BLE001 - the last line is the reason
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def main(arguments: list[str]) -> int:
    """Serves the channel whose file descriptor is given."""
    parent = os.getppid()
    # Before the imports, which would go on for nobody.
    die_with(parent)
    serve(socket.socket(fileno=int(arguments[0])), parent, TensorFlow())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
