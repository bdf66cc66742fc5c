"""Runs a compiled pipeline with Luigi, a task per node.

    throughline compile --target luigi --out compiled
    python -m pipeline.runners.luigi --compiled compiled --run monday

The same command again does nothing if all is done, and else goes on where it stopped.
Luigi's own command works as well, with its scheduler and its options:

    luigi --module pipeline.runners.luigi Pipeline --compiled compiled --run-name monday

This process imports neither TFX nor TensorFlow.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import luigi
import tyro

from pipeline.errors import EXIT_DONE, exit_code
from pipeline.names import run_name
from pipeline.runners import checks
from pipeline.runners.job import Job, read_job


class Node(luigi.Task):
    """A node of a run; complete when it has ended with 0."""

    compiled = luigi.Parameter()
    run_name = luigi.Parameter()
    node = luigi.Parameter()

    @property
    def job(self) -> Job:
        """The compiled pipeline that the node belongs to."""
        return read_job(Path(self.compiled))

    def requires(self) -> list["Node"]:
        """The nodes that this one waits for."""
        return [
            Node(compiled=self.compiled, run_name=self.run_name, node=node)
            for node in self.job.upstream[self.node]
        ]

    def complete(self) -> bool:
        """Whether the run has finished the node."""
        return self.job.exit_code_of(self.node, self.run_name) == EXIT_DONE

    def run(self) -> None:
        """Runs the node in a process of its own."""
        self.job.run_node(self.node, self.run_name)


class Pipeline(luigi.WrapperTask):
    """All nodes of a run."""

    compiled = luigi.Parameter(description="what throughline compile has written")
    run_name = luigi.Parameter(description="name of the run; a new one runs anew")

    def requires(self) -> list[Node]:
        """Every node; Luigi finds their order."""
        return [
            Node(compiled=self.compiled, run_name=self.run_name, node=node)
            for node in read_job(Path(self.compiled)).upstream
        ]


@dataclass(frozen=True)
class Flags:
    """Which run of what."""

    run: str
    """Name of the run; the same one again goes on where it stopped."""
    compiled: Path = Path("compiled")
    """Directory that `throughline compile --target luigi` wrote."""
    workers: int = os.cpu_count() or 1
    """Most nodes that run at once."""

    def __post_init__(self) -> None:
        """Refuses a run that can't be."""
        run_name(self.run)
        checks.at_least(self, 1, "workers")


def run(arguments: Sequence[str]) -> int:
    """Runs the pipeline; returns 0, or the highest exit code of a node that failed."""
    flags = tyro.cli(Flags, prog="python -m pipeline.runners.luigi", args=arguments)
    job = read_job(flags.compiled)
    task = Pipeline(compiled=str(job.directory), run_name=flags.run)
    done = luigi.build(
        [task], workers=flags.workers, local_scheduler=True, log_level="WARNING"
    )
    return EXIT_DONE if done else job.exit_code(flags.run)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: run(sys.argv[1:])))
