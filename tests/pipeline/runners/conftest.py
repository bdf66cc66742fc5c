"""A pipeline of four nodes that cost nothing, for every orchestrator to run."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

# Writes its node and run; ends with the code that it is told to, for good or once.
PROGRAM = """\
import pathlib, sys, time
here = pathlib.Path(__file__).parent
words = sys.argv[1:]
node = words[words.index("--node") + 1] if "--node" in words else "Compile"
run = words[words.index("--run-id") + 1] if "--run-id" in words else "-"
def note(what):
    with (here / "calls").open("a") as file:
        file.write(f"{what} {node} {run}\\n")
note("start")
slow = here / f"slow-{node}"
time.sleep(float(slow.read_text()) if slow.exists() else 0.2)
for file in (here / f"fail-{node}", here / f"fail-once-{node}"):
    if file.exists():
        code = int(file.read_text())
        if "once" in file.name:
            file.unlink()
        note("fail")
        sys.exit(code)
note("end")
"""

UPSTREAM = {"Gen": [], "Left": ["Gen"], "Right": ["Gen"], "Push": ["Left", "Right"]}


@dataclass(frozen=True)
class Stub:
    """Four nodes: Gen, then Left and Right, then Push.

    Attributes:
        directory: What `throughline compile --target` would have written.
        programs: Holds a `throughline` for PATH.
    """

    directory: Path
    programs: Path
    upstream: dict[str, list[str]]

    def fail(self, node: str, code: int, *, once: bool = False) -> None:
        """Makes a node end with a code."""
        name = f"fail-once-{node}" if once else f"fail-{node}"
        (self.programs / name).write_text(str(code))

    def slow_down(self, node: str, seconds: float) -> None:
        """Makes a node take its time."""
        (self.programs / f"slow-{node}").write_text(str(seconds))

    def calls(self, what: str = "end") -> list[str]:
        """The nodes that started, ended or failed, in this order."""
        return [call.split()[1] for call in self._lines() if call.startswith(what)]

    def run_ids(self) -> set[str]:
        """The run ids that nodes were given."""
        return {call.split()[2] for call in self._lines()} - {"-"}

    def events(self) -> list[str]:
        """All that was written, such as `start Gen`."""
        return [" ".join(call.split()[:2]) for call in self._lines()]

    def _lines(self) -> list[str]:
        calls = self.programs / "calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    """Four nodes that write down when they start and end."""
    programs = tmp_path / "bin"
    directory = tmp_path / "compiled"
    for path in (programs, directory):
        path.mkdir()
    program = programs / "throughline"
    program.write_text(f"#!{sys.executable}\n{PROGRAM}")
    program.chmod(0o755)
    job = {
        "name": "stub",
        "definition": "abcd1234",
        "command": [str(program), "node", "--ir", str(directory / "ir.json")],
        "schedule": None,
        "retries": 0,
    }
    dag = [{"id": node, "upstream": before} for node, before in UPSTREAM.items()]
    (directory / "job.json").write_text(json.dumps(job))
    (directory / "dag.json").write_text(json.dumps(dag))
    return Stub(directory, programs, UPSTREAM)
