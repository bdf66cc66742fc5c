"""The README's commands, in a fresh clone."""

import re
from pathlib import Path

import pytest

from tests.e2e.runs import PROJECT, SECOND_RUN, Finished, in_clone

pytestmark = pytest.mark.e2e


def commands() -> list[str]:
    """Every command in the README's shell blocks, in order."""
    text = (PROJECT / "README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


# What a command is run with in addition, because all of it would take too long here.
NARROWED = {
    "make test": " ARGS=tests/pipeline/store/test_names.py",
    # A minute of processor time for one more environment; this clone's serves as well.
    "cd ../cars && make run": " -o env PYTHON_HERE=\"'$VIRTUAL_ENV/bin/python'\"",
}

# An environment that is complete is no news.
SILENT = {". .venv/bin/activate", "make dev"}


@pytest.mark.parametrize("command", commands())
def test_command_works(
    command: str, clone: Path, main_run: Finished, second_run: Finished
) -> None:
    """Each command that the README gives succeeds in a clone after `make run`."""
    if run := {"make run": main_run, SECOND_RUN: second_run}.get(command):
        assert run.exit_code == 0, run.text
        return

    done = in_clone(clone, command + NARROWED.get(command, ""))

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout or command in SILENT


def test_shared_run_is_the_readme_s() -> None:
    """The second run that other tests look at is a command of the README."""
    assert SECOND_RUN in commands()


def test_expected_output_is_what_comes_out(main_run: Finished) -> None:
    """The summary in the README has the lines, in their order, of a real one."""
    text = (PROJECT / "README.md").read_text()
    (shown,) = re.findall(
        r"^(on the test split.*?)^```$", text, re.MULTILINE | re.DOTALL
    )

    def heads(summary: str) -> list[str]:
        return [
            line.split("  ")[0].rstrip("0123456789.") for line in summary.split("\n")
        ]

    printed = main_run.text[main_run.text.index("on the test split") :]
    assert heads(shown.strip()) == heads(printed.strip())
