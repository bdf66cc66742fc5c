"""Runs a command and measures the whole tree of processes that it becomes."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_INTERVAL_SECONDS = 0.2
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Measurement:
    """What a command took.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Processor time, user and system, of all its processes.
        peak_megabytes: Most memory at once of all its processes together; what they
            share counts once.
        lines: Lines it printed on standard output and standard error.
        exit_code: What it ended with.
    """

    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    lines: int
    exit_code: int


def measure(command: list[str], directory: Path) -> Measurement:
    """Runs a command to its end.

    Args:
        command: Program and arguments.
        directory: Where to run it.

    Returns:
        The measurement. Memory is looked at five times a second, so a short peak may
        be missed.
    """
    before = os.times()
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout  # noqa: S101 - a pipe was asked for
        os.set_blocking(process.stdout.fileno(), False)
        peak, text = 0.0, b""
        while process.poll() is None:
            peak = max(peak, _memory_of(process.pid))
            text += process.stdout.read() or b""
            time.sleep(_INTERVAL_SECONDS)
        seconds = time.monotonic() - started
        text += process.stdout.read() or b""
    after = os.times()
    cpu = (
        after.children_user
        + after.children_system
        - before.children_user
        - before.children_system
    )
    return Measurement(
        round(seconds, 2),
        round(cpu, 2),
        round(peak / _MEGABYTE),
        text.count(b"\n"),
        process.returncode,
    )


def _memory_of(pid: int) -> float:
    """Sums the proportional set sizes of a process and all below it, in bytes."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:
        pass
    return total
