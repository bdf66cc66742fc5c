"""The worker pool of a cluster on this machine, as a process, and what its log says."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.clusters.processes import Processes

PORT = 50_000
NAME = "worker-pool"
FLAGS = (
    "--beam.environment-type=EXTERNAL",
    f"--beam.environment-config=127.0.0.1:{PORT}",
)
"""The flags of the pipeline's commands for workers of this pool."""


def start(processes: Processes) -> None:
    """Starts the pool; it listens when it has imported TFX."""
    command = [sys.executable, "-m", "pipeline.clusters.pool", f"--port={PORT}"]
    processes.start(NAME, command, None)


@dataclass(frozen=True)
class Worker:
    """A worker of the pool.

    Attributes:
        job: Name of the job that it works for.
        pid: Its process id.
        seconds: The processor time that it has used.
    """

    job: str
    pid: int
    seconds: float


def workers_in(log: Path) -> list[Worker]:
    """Reads from a pool's log which workers it started, and what they have used."""
    text = log.read_text()
    ended = dict(re.findall(r"ended, pid (\d+): ([\d.]+) CPU s", text))
    return [
        Worker(job, int(pid), float(ended.get(pid) or _seconds_of(pid)))
        for job, pid in re.findall(
            r"worker \S+ of \S+ started for (\S+), pid (\d+)", text
        )
    ]


def _seconds_of(pid: str) -> float:
    """Returns the processor time of a process; 0 if it has ended meanwhile."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # The name before the last parenthesis may have spaces in it.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
