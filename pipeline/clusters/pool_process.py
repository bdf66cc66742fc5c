"""The worker pool of a cluster on this machine, as a process."""

import sys

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
