"""Runs `run_local.py` over and over without importing TFX each time.

A process that has imported TFX waits for command lines on standard input, a JSON list
each, and forks for each of them: what runs is the real command in a process of its own,
seven seconds sooner. It may be told to have a run killed at a certain moment.
"""

import importlib
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
LOCAL = ("summary", "parts", "scheduler")
MOMENTS = ("before it runs", "while it writes", "before it is published")


@dataclass
class WarmProcess:
    """The process that forks, seen from the tests."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls) -> "WarmProcess":
        """Starts it; it answers when TFX is imported."""
        command = [sys.executable, __file__]
        log = subprocess.DEVNULL
        pipe = subprocess.PIPE
        return cls(
            subprocess.Popen(
                command, cwd=PROJECT, stdin=pipe, stdout=pipe, stderr=log, text=True
            )
        )

    def run(
        self, output: Path, *flags: Any, kill: str = "", columns: int = 0
    ) -> tuple[int, str]:
        """Runs a command line to its end.

        Args:
            output: The output directory.
            *flags: The other flags.
            kill: "<node> <moment>" to have node and runner killed then.
            columns: Width of a pseudo-terminal to run in; without one if 0.

        Returns:
            The exit code, negative for a signal, and what was printed.
        """
        self.ask(output, *flags, kill=kill, columns=columns)
        return self.answer()

    def ask(self, output: Path, *flags: Any, kill: str = "", columns: int = 0) -> None:
        """Starts a command line and does not wait for it."""
        assert self.process.stdin
        arguments = [str(part) for part in ("--output", output, *flags)]
        request = {
            "arguments": arguments,
            "kill": kill,
            "columns": columns,
            "text": f"{output}.txt",
        }
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def answer(self) -> tuple[int, str]:
        """Waits for the command line that was started."""
        assert self.process.stdout
        answer = json.loads(self.process.stdout.readline())
        return answer["code"], Path(answer["text"]).read_bytes().decode()

    def stop(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.wait()


def serve() -> None:
    """Imports TFX and answers requests until standard input ends."""
    sys.path.insert(0, str(PROJECT))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in ("pipeline", *(f"runners.local.{n}" for n in LOCAL)):
        importlib.import_module(f"pipeline.{name}")
    import run_local
    from tests import terminals

    for line in sys.stdin:
        request = json.loads(line)
        Path(request["text"]).parent.mkdir(parents=True, exist_ok=True)
        child, terminal = pty.fork() if request["columns"] else (os.fork(), -1)
        if not child:
            _run_and_exit(request, run_local.main)
        if request["columns"]:
            Path(request["text"]).write_bytes(terminals.read_all(terminal))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        answers.write(json.dumps({"code": code, "text": request["text"]}) + "\n")
        answers.flush()


def _run_and_exit(request: dict[str, Any], main: Callable[[], int]) -> None:
    from pipeline import cli
    from tests import terminals

    if request["columns"]:
        terminals.resize(1, request["columns"])
    else:
        descriptor = os.open(request["text"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
    temporary = Path(f"{request['text']}.tmp")
    temporary.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    # The old streams remember what the descriptors were, such as that they can seek.
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    sys.argv = ["run_local.py", *request["arguments"]]
    if request["kill"]:
        node_id, _, moment = request["kill"].partition(" ")
        _arrange_death(node_id, moment)
    code = 70
    try:
        code = cli.exit_code(main)
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
    while not any(p.is_file() for uri in uris for p in Path(uri).rglob("*")):
        time.sleep(0.001)
    _die()


def _die() -> None:
    # The runner first: whatever it could still note of its node must not help it.
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve()
