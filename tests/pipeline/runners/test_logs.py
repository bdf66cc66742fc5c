"""How much a node's process logs."""

import subprocess
import sys

import pytest

# Logging is set up for a whole process, so each case has its own. absl is what TFX and
# TensorFlow log with.
_PROGRAM = """
import logging, sys
from absl import logging as absl_logging
from pipeline.runners.logs import start_log

start_log(sys.argv[1])
for level in ("debug", "info", "warning", "error"):
    getattr(logging.getLogger("beam"), level)(f"beam {level}")
absl_logging.info("absl info")
absl_logging.error("absl error")
"""


@pytest.mark.parametrize(
    ("level", "kept"),
    [
        ("debug", ["beam debug", "beam info", "beam warning", "beam error"]),
        ("info", ["beam info", "beam warning", "beam error"]),
        ("warning", ["beam warning", "beam error"]),
        ("error", ["beam error"]),
    ],
)
def test_keeps_what_is_severe_enough(level: str, kept: list[str]) -> None:
    """Less severe messages are left out, TFX's among them."""
    absl = ["absl info", "absl error"] if level in {"debug", "info"} else ["absl error"]

    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, level],
        capture_output=True,
        text=True,
        check=True,
    )

    messages = [line.rpartition(": ")[2] for line in done.stderr.splitlines()]
    assert messages == [*kept, *absl]
    assert done.stdout == ""
