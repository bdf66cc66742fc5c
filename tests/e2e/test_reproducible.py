"""The same data, settings and code give the same model."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.runs import PROJECT, Finished, finished, run_local, weights_of

pytestmark = pytest.mark.e2e

FLAGS = ("--preset", "smoke", "--min-auc", "0.01")


def run_in_terminal(output: Path, *flags: str) -> Finished:
    """Runs `run_local.py` on a terminal of its own."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "run_local.py", "--output", str(output), *flags]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "50"}
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        text = b""
        try:
            while chunk := os.read(ours, 65536):
                text += chunk
        except OSError:  # Linux says so when the other end is closed.
            pass
        code = process.wait()
    os.close(ours)
    return finished(code, text.decode(), output)


def test_two_runs_give_identical_weights(
    tmp_path: Path, small_data: Callable[..., Path]
) -> None:
    """Two runs from nothing, one of them on a terminal, end in the same bits."""
    data = str(small_data())

    plain = run_local(tmp_path / "one", *FLAGS, "--data", data)
    table = run_in_terminal(tmp_path / "two", *FLAGS, "--data", data)

    assert plain.exit_code == 0, plain.text
    assert table.exit_code == 0, table.text
    one, two = weights_of(plain.versions[-1]), weights_of(table.versions[-1])
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    # TFMA sums in no fixed order, so the tenth digit of a metric may differ.
    candidate = table.metrics()["candidate"]
    assert plain.metrics()["candidate"] == pytest.approx(
        candidate, rel=1e-7, nan_ok=True
    )
    # The live table redraws itself in place and leaves each node once.
    assert "\x1b[" in table.text
    assert "started" not in table.text
    last = table.text[table.text.rindex("node ") :]
    assert last.count("done") == 11
