"""A minimal Debian 13, and what the README names for it: nothing else."""

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.containers import daemon
from tests.containers.conftest import build
from tests.e2e.runs import PROJECT, files_of_project

FRESH = "throughline-fresh:trixie"
_HOME = "/home/newcomer"


def installing() -> str:
    """The README's command for Debian 13."""
    text = (PROJECT / "README.md").read_text()
    (command,) = re.findall(
        r"^\| Debian 13 \| `apt-get (install [^`]+)`", text, re.MULTILINE
    )
    return f"apt-get {command}"


@pytest.fixture(scope="module")
def machine(debian: str) -> Iterator[str]:
    """A container with a user and this checkout in the user's home."""
    # A newcomer has cloned with git, and tests list the project's files with it.
    steps = (
        f"FROM {debian}\n"
        f"RUN apt-get update && {installing()} git --yes --no-install-recommends\n"
        "RUN useradd --create-home newcomer\n"
        f"USER newcomer\nWORKDIR {_HOME}\n"
    )
    build(FRESH, steps)
    container = daemon.docker(
        *("run", "--detach", "--rm", "--init", "--network=host", FRESH),
        *("sleep", "infinity"),
    )
    try:
        archive = subprocess.run(
            ["tar", "--create", "--null", "--files-from=-"],
            cwd=PROJECT,
            input="\0".join(files_of_project()).encode(),
            capture_output=True,
            check=True,
        )
        typed(container, "mkdir throughline")
        unpack = ("tar", "--extract", "--directory=throughline")
        daemon.docker("exec", "--interactive", container, *unpack, stdin=archive.stdout)
        typed(container, "cd throughline && git init --quiet && git add --all")
        yield container
    finally:
        daemon.docker("kill", container)


def typed(container: str, line: str) -> str:
    """Types a line into the user's shell; returns what is on the screen then."""
    done = subprocess.run(
        [daemon.CLIENT, "exec", container, "bash", "-c", line],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_make_run_pushes_a_model(machine: str) -> None:
    """`make run` needs neither root nor pip, and trains with Debian's own Python."""
    shown = typed(machine, "cd throughline && make run")

    assert "Python 3.13." in shown
    assert "Blessed: the candidate reached every threshold." in shown
    version = re.findall(r"^model +(output/serving/taxi/\d+)$", shown, re.MULTILINE)
    assert len(version) == 1
    typed(machine, f"test -f throughline/{version[0]}/saved_model.pb")


def test_the_unit_tests_pass(machine: str) -> None:
    """All but the end-to-end tests pass with Debian's own Python."""
    shown = typed(machine, "cd throughline && make test-fast")

    assert re.search(r"^=*.* \d{4,} passed", shown, re.MULTILINE), shown
