"""Runs a command, and measures the time and memory of all its processes."""

import os
import re
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_INTERVAL_SECONDS = 0.2
# Reading the memory of processes takes processor time, and halts them when they want
# more: it may take a twentieth of one core, whatever their number.
_REST = 20
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Measurement:
    """The time, memory and output of a command.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Processor time, user and system, of all its processes.
        peak_megabytes: Peak memory of all its processes together; shared memory counts
            once.
        largest_megabytes: Peak memory of a single process, its own and shared.
        written_megabytes: Bytes that all its processes wrote to disk.
        lines: Number of lines on standard output and standard error.
        exit_code: Its exit code.
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
        directory: Working directory of the command.

    Returns:
        The measurement. Memory is sampled at most five times a second, so a short peak
        may be missed.
    """
    before, written = os.times(), _written()
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout  # noqa: S101 - a pipe was asked for
        # Read while it runs: a full pipe would block the command.
        os.set_blocking(process.stdout.fileno(), False)
        peak, largest, text = 0.0, 0.0, b""
        while process.poll() is None:
            sampled = time.monotonic()
            sizes = _memory_of(process.pid)
            rest = _REST * (time.monotonic() - sampled)
            peak = max(peak, sum(shared for shared, _ in sizes))
            largest = max([largest, *(resident for _, resident in sizes)])
            text += process.stdout.read() or b""
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(_INTERVAL_SECONDS, rest))
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


def measure_done(command: list[str], directory: Path) -> Measurement:
    """Runs a command that must succeed; see `measure`.

    Raises:
        RuntimeError: It ended with another exit code than 0.
    """
    took = measure(command, directory)
    if took.exit_code:
        raise RuntimeError(
            f"the run ended with {took.exit_code}; to see why, run: {' '.join(command)}"
        )
    return took


def _memory_of(pid: int) -> list[tuple[float, float]]:
    """Returns PSS and RSS, in bytes, of a process and all its children."""
    found = []
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            # Proportional sizes (PSS): forked nodes share the imported TensorFlow, and
            # their resident sizes would count it once each.
            memory = process.memory_full_info()
            found.append((memory.pss, memory.rss))
    # A process ended between the listing and the reading; the next sample is complete.
    except psutil.NoSuchProcess:
        pass
    return found


def _written() -> int:
    """Returns the bytes that this process and its ended children wrote to disk."""
    # The kernel adds a child's counts to its parent's when the parent has waited for
    # it.
    text = Path("/proc/self/io").read_text()
    return int(re.findall(r"^write_bytes: (\d+)$", text, re.MULTILINE)[0])
