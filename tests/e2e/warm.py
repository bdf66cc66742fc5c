"""Runs commands of the project over and over without importing TFX each time.

A process that has imported TFX listens on a socket and forks per request: what runs
is the real command in a process of its own, many seconds sooner. It may be told to have
a run killed at a certain moment.
"""

import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

PROJECT = Path(__file__).resolve().parents[2]
MODULES = (
    "pipeline.pipeline",
    "pipeline.runners.local.summary",
    "pipeline.runners.local.parts",
    "pipeline.runners.local.scheduler",
    "pipeline.runners.node",
)
MOMENTS = ("before it runs", "while it writes", "before it is published")
# Largest request: its arguments and environment.
_MESSAGE_BYTES = 1 << 17
_CLIENT = """\
#!{python}
import sys
sys.path.insert(0, {project!r})
from tests.e2e import warm
sys.exit(warm.call({address!r}, "throughline", sys.argv[1:], [0, 1, 2]).wait())
"""


@dataclass(frozen=True)
class Forked:
    """A command that runs in a fork of the warm process.

    Attributes:
        pid: Its process id.
        connection: Reports the exit code.
        printed: The file that has what it printed, if it prints to one.
    """

    pid: int
    connection: socket.socket
    printed: Path = Path(os.devnull)

    def wait(self) -> int:
        """Waits for its end; returns the exit code, negative for a signal."""
        with self.connection:
            answer = self.connection.recv(_MESSAGE_BYTES)
        return int(json.loads(answer)["code"])

    def communicate(self) -> tuple[int, str]:
        """Waits for its end; returns the exit code and what was printed."""
        return self.wait(), self.printed.read_text()

    def wait_for(self, text: str) -> None:
        """Waits until it has printed a text."""
        while text not in self.printed.read_text():
            assert Path(f"/proc/{self.pid}").exists(), self.printed.read_text()
            time.sleep(0.02)


def call(
    address: str,
    program: str,
    arguments: Sequence[str],
    descriptors: Sequence[int],
    **more: Any,
) -> Forked:
    """Starts a command in a fork of the warm process.

    Args:
        address: The socket of the warm process.
        program: "run_local", "throughline", or "script" with its path as the first
            argument.
        arguments: Its arguments.
        descriptors: Its standard input, output and error.
        **more: Other fields of the request: `environment`, `kill`, `terminal`.
    """
    request = {
        "program": program,
        "arguments": list(arguments),
        "cwd": str(Path.cwd()),
        "environment": dict(os.environ),
        "kill": "",
        "terminal": False,
        "project": str(PROJECT),
        **more,
    }
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(address)
    socket.send_fds(connection, [json.dumps(request).encode()], list(descriptors))
    return Forked(json.loads(connection.recv(_MESSAGE_BYTES))["pid"], connection)


@dataclass
class WarmProcess:
    """The process that forks, seen from the tests.

    Attributes:
        process: The process itself.
        directory: Has its socket, and a `throughline` that runs in its forks.
    """

    process: subprocess.Popen[bytes]
    directory: Path
    _started: list[Path] = field(default_factory=list)

    @classmethod
    def start(cls, modules: Sequence[str] = MODULES) -> "WarmProcess":
        """Starts it; it answers when the modules are imported."""
        directory = Path(tempfile.mkdtemp(prefix="warm-"))
        address = str(directory / "socket")
        program = directory / "throughline"
        client = {"python": sys.executable, "project": str(PROJECT), "address": address}
        program.write_text(_CLIENT.format(**client))
        program.chmod(0o755)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(address)
            listener.listen(16)
            process = subprocess.Popen(
                [sys.executable, __file__, str(listener.fileno()), *modules],
                cwd=PROJECT,
                # Never written to: its end tells the process that the tests are over.
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
            )
        return cls(process, directory)

    @property
    def throughline(self) -> Path:
        """A program like `throughline`, which runs in forks of this process."""
        return self.directory / "throughline"

    def run(
        self, output: Path, *flags: Any, kill: str = "", columns: int = 0
    ) -> tuple[int, str]:
        """Runs `run_local.py` to its end.

        Args:
            output: The output directory.
            *flags: The other flags.
            kill: "<node> <moment>" to have node and runner killed then.
            columns: Width of a pseudo-terminal to run in; without one if 0.

        Returns:
            The exit code, negative for a signal, and what was printed.
        """
        if columns:
            return self._run_in_terminal(output, flags, columns)
        return self.begin(output, *flags, kill=kill).communicate()

    def run_script(self, script: Path, *arguments: Any) -> tuple[int, str]:
        """Runs a Python script to its end; returns exit code and what was printed."""
        printed = script.with_suffix(".txt")
        with printed.open("wb") as file, Path(os.devnull).open() as nothing:
            descriptors = [nothing.fileno(), file.fileno(), file.fileno()]
            words = [str(part) for part in (script, *arguments)]
            forked = call(str(self.directory / "socket"), "script", words, descriptors)
        return forked.wait(), printed.read_text()

    def begin(self, output: Path, *flags: Any, kill: str = "") -> Forked:
        """Starts `run_local.py` and doesn't wait for it."""
        output.parent.mkdir(parents=True, exist_ok=True)
        printed = output.with_name(f"{output.name}.{len(self._started)}.txt")
        with printed.open("wb") as file, Path(os.devnull).open() as nothing:
            descriptors = [nothing.fileno(), file.fileno(), file.fileno()]
            forked = self._run_local(output, flags, descriptors, kill=kill)
        return Forked(forked.pid, forked.connection, printed)

    def run_in(self, project: Path, program: str, *arguments: Any) -> tuple[int, str]:
        """Runs a command of another project, whose modules replace those of this one.

        Args:
            project: The project's directory, which the command runs in.
            program: "run_local", "throughline" or "pipeline_run".
            *arguments: Its arguments.

        Returns:
            The exit code, and what was printed.
        """
        return self.begin_in(project, program, *arguments).communicate()

    def begin_in(self, project: Path, program: str, *arguments: Any) -> Forked:
        """Starts a command of another project, see `run_in`; doesn't wait for it."""
        printed = project.with_name(f"{project.name}.{len(self._started)}.txt")
        self._started.append(printed)
        with printed.open("wb") as file, Path(os.devnull).open() as nothing:
            forked = call(
                str(self.directory / "socket"),
                program,
                [str(part) for part in arguments],
                [nothing.fileno(), file.fileno(), file.fileno()],
                cwd=str(project),
                project=str(project),
            )
        return Forked(forked.pid, forked.connection, printed)

    def _run_in_terminal(
        self, output: Path, flags: Sequence[Any], columns: int
    ) -> tuple[int, str]:
        from tests import terminals

        output.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = os.openpty()
        terminals.resize(theirs, columns)
        forked = self._run_local(output, flags, [theirs] * 3, terminal=True)
        os.close(theirs)
        text = terminals.read_all(ours).decode()
        return forked.wait(), text

    def _run_local(
        self, output: Path, flags: Sequence[Any], descriptors: list[int], **more: Any
    ) -> Forked:
        """Starts it with a directory for temporary files of its own."""
        temporary = output.with_name(f"{output.name}.{len(self._started)}.tmp")
        temporary.mkdir()
        self._started.append(temporary)
        environment = {**os.environ, "TMPDIR": str(temporary)}
        arguments = [str(part) for part in ("--output", output, *flags)]
        address = str(self.directory / "socket")
        more = {"environment": environment, "cwd": str(PROJECT), **more}
        return call(address, "run_local", arguments, descriptors, **more)

    def stop(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory)


def serve(descriptor: int, modules: Sequence[str]) -> None:
    """Imports modules and answers requests until standard input ends.

    Args:
        descriptor: The listening socket.
        modules: What takes long to import.
    """
    sys.path.insert(0, str(PROJECT))
    import run_local
    from operations import pipeline_run
    from pipeline import cli, create_pipeline
    from pipeline.config import local
    from pipeline.runners.local.runner import gc_frozen

    with gc_frozen():
        for name in modules:
            importlib.import_module(name)
        from pipeline.runners.compiler import compile_pipeline

        # Forks then find the project's modules parsed, and compile in no time.
        compile_pipeline(create_pipeline(local()))
    programs = {
        "run_local": lambda: cli.exit_code(run_local.main),
        "throughline": cli.main,
        "pipeline_run": pipeline_run.main,
        "script": _run_script,
    }
    listener = socket.socket(fileno=descriptor)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            _supervise(connection, programs)
        connection.close()
        _reap()


def _run_script() -> int:
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
    return 0


def _reap() -> None:
    """Takes note of the forks that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _supervise(
    connection: socket.socket, programs: Mapping[str, Callable[[], int]]
) -> NoReturn:
    """Forks once more, for the command, and reports how that ends."""
    message, descriptors, *_ = socket.recv_fds(connection, _MESSAGE_BYTES, 3)
    request = json.loads(message)
    child = os.fork()
    if not child:
        connection.close()
        _run_and_exit(request, descriptors, programs[request["program"]])
    for descriptor in descriptors:
        os.close(descriptor)
    connection.send(json.dumps({"pid": child}).encode())
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    connection.send(json.dumps({"code": code}).encode())
    os._exit(0)


def _run_and_exit(
    request: dict[str, Any], descriptors: Sequence[int], main: Callable[[], int]
) -> NoReturn:
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
    if request["terminal"]:
        os.login_tty(os.dup(0))
    for descriptor in descriptors:
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    # It was chosen when the tests started.
    tempfile.tempdir = None
    # The old streams remember what the descriptors were, such as that they can seek.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    sys.argv = [request["program"], *request["arguments"]]
    if request["kill"]:
        node_id, _, moment = request["kill"].partition(" ")
        _arrange_death(node_id, moment)
    code = 70
    try:
        if request["project"] != str(PROJECT):
            main = _of_project(request["project"], request["program"])
        code = main()
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        # os._exit would end this process without saying why.
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _of_project(project: str, program: str) -> Callable[[], int]:
    """Returns a command of another project; TFX and TensorFlow stay imported."""
    rooms = {path.stem for path in PROJECT.iterdir()} - {"tests"}
    for name in [n for n in sys.modules if n.partition(".")[0] in rooms]:
        del sys.modules[name]
    sys.path[0] = project
    os.environ["PYTHONPATH"] = project
    run_local = importlib.import_module("run_local")
    cli = importlib.import_module("pipeline.cli")
    if program == "throughline":
        return cli.main
    return lambda: cli.exit_code(run_local.main)


def _arrange_death(node_id: str, moment: str) -> None:
    """Makes a node kill its runner and itself at a moment of its life."""
    from tfx.orchestration.portable import launcher, resolver_node_handler

    if node_id == "Baseline":
        _arrange_death_of_resolver(resolver_node_handler, moment)
        return
    node_class = launcher.Launcher
    run, publish = node_class._run_executor, node_class._publish_successful_execution

    def is_it(instance: Any) -> bool:
        return bool(instance._pipeline_node.node_info.id == node_id)

    def run_or_die(self: Any, info: Any) -> Any:
        if is_it(self) and moment == MOMENTS[0]:
            launcher.outputs_utils.make_output_dirs(info.output_dict)
            _die()
        if is_it(self) and moment == MOMENTS[1]:
            uris = [a.uri for group in info.output_dict.values() for a in group]
            threading.Thread(target=_die_at_first_file, args=(uris,)).start()
        return run(self, info)

    def publish_or_die(self: Any, *arguments: Any) -> Any:
        if is_it(self) and moment in MOMENTS[1:]:
            _die()
        return publish(self, *arguments)

    node_class._run_executor = run_or_die
    node_class._publish_successful_execution = publish_or_die


def _arrange_death_of_resolver(module: Any, moment: str) -> None:
    handler = module.ResolverNodeHandler
    run = handler.run

    def run_or_die(self: Any, *arguments: Any) -> Any:
        if moment == MOMENTS[0]:
            _die()
        if moment == MOMENTS[1]:
            threading.Timer(0.01, _die).start()
        result = run(self, *arguments)
        _die()
        return result

    handler.run = run_or_die


def _die_at_first_file(uris: list[str]) -> None:
    from pipeline.columnar import files

    while not any(map(files.tree, uris)):
        time.sleep(0.001)
    _die()


def _die() -> None:
    # The runner first: whatever it could still note of its node must not help it.
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:])
