"""Pipes whose reader leaves, as in `command | head -1`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def read_one_line(program: str) -> tuple[str, int, str]:
    """Runs a Python program until its end, reading only its first line.

    Args:
        program: The program's text.

    Returns:
        The line, the exit code, and all that was written to standard error.
    """
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout
        assert process.stderr
        first = process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    return first, process.returncode, err
