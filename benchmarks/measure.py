"""Runs a command and measures the whole tree of processes that it becomes."""

import os
import re
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
        largest_megabytes: Most memory of one of its processes, its own and shared.
        written_megabytes: What all its processes wrote to disk.
        lines: Lines it printed on standard output and standard error.
        exit_code: What it ended with.
    """

    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    largest_megabytes: float
    written_megabytes: float
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
    before, written = os.times(), _written()
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout  # noqa: S101 - a pipe was asked for
        os.set_blocking(process.stdout.fileno(), False)
        peak, largest, text = 0.0, 0.0, b""
        while process.poll() is None:
            sizes = _memory_of(process.pid)
            peak = max(peak, sum(shared for shared, _ in sizes))
            largest = max([largest, *(resident for _, resident in sizes)])
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
        round(largest / _MEGABYTE),
        round((_written() - written) / _MEGABYTE),
        text.count(b"\n"),
        process.returncode,
    )


def _memory_of(pid: int) -> list[tuple[float, float]]:
    """Proportional and resident set size, in bytes, of a process and all below it."""
    found = []
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            memory = process.memory_full_info()
            found.append((memory.pss, memory.rss))
    except psutil.NoSuchProcess:
        pass
    return found


def _written() -> int:
    """Bytes that this process and all that it has waited for have written to disk."""
    text = Path("/proc/self/io").read_text()
    return int(re.findall(r"^write_bytes: (\d+)$", text, re.MULTILINE)[0])
