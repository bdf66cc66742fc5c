"""What a user sees of a data directory that can't be read as a whole."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
Put = Callable[..., Path]


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (
            lambda path: path.symlink_to("/unmounted/a.csv"),
            "span-2/a.csv",
            "{data}/span-2/a.csv is a link to /unmounted/a.csv, which is not there",
        ),
        (os.mkfifo, "span-2/a.csv", "{data}/span-2/a.csv is a named pipe"),
        (Path.touch, "span-2/\udcff.csv", r"'\xff.csv' in {data}/span-2 has bytes"),
        (
            Path.touch,
            "span-99999999999999999999/a.csv",
            "99999999999999999999 is greater than 2147483647",
        ),
    ],
    ids=["dangling link", "named pipe", "name not UTF-8", "endless number"],
)
def test_the_command_line_says_what_can_not_be_read(
    put: Put, make: Callable[[Path], object], name: str, said: str
) -> None:
    """One sentence names the place, before TFX is loaded; the exit code is 3."""
    data = put("span-1/a.csv")
    (data / name).parent.mkdir()
    make(data / name)
    output = data.parent / "out"
    command = ["run_local.py", "--data", str(data), "--output", str(output)]

    done = subprocess.run(
        [sys.executable, *command, "--pattern", "span-{SPAN}/*.csv"],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
    )

    assert done.returncode == 3, done.stdout + done.stderr
    assert said.format(data=data) in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "Loading TFX" not in done.stdout
