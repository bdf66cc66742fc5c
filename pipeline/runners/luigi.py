"""Runs a compiled pipeline with Luigi, one task per node.

    throughline compile --target luigi --out compiled
    python -m pipeline.runners.luigi --compiled compiled --run monday

Repeating the command continues the run where it stopped, and does nothing if all nodes
are done. Luigi's own command works too, with its scheduler and options:

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
from pipeline.runners import checks
from pipeline.runners.job import Job, read_job
from pipeline.store.names import run_name


class Node(luigi.Task):
    """A node of a run; complete when it has ended with exit code 0."""

    # Strings, because Luigi identifies a task by its parameters as text.
    compiled = luigi.Parameter()
    run_name = luigi.Parameter()
    node = luigi.Parameter()

    @property
    def job(self) -> Job:
        """The compiled pipeline of the node."""
        return read_job(Path(self.compiled))

    def requires(self) -> list["Node"]:
        """Returns the upstream nodes."""
        return [
            Node(compiled=self.compiled, run_name=self.run_name, node=node)
            for node in self.job.upstream[self.node]
        ]

    def complete(self) -> bool:
        """Whether the run has finished the node."""
        # By exit code rather than by output: outputs are in the metadata store, which
        # this process has no client for.
        return self.job.exit_code_of(self.node, self.run_name) == EXIT_DONE

    def run(self) -> None:
        """Runs the node in its own process."""
        self.job.run_node(self.node, self.run_name)


class Pipeline(luigi.WrapperTask):
    """All nodes of a run."""

    compiled = luigi.Parameter(description="directory that throughline compile wrote")
    run_name = luigi.Parameter(description="name of the run; a new name, a new run")

    def requires(self) -> list[Node]:
        """Returns all nodes; Luigi sorts them by their own requirements."""
        return [
            Node(compiled=self.compiled, run_name=self.run_name, node=node)
            for node in read_job(Path(self.compiled)).upstream
        ]


@dataclass(frozen=True)
class Flags:
    """The flags of the command."""

    run: str
    """Name of the run; an existing one continues where it stopped."""
    compiled: Path = Path("compiled")
    """Directory that `throughline compile --target luigi` wrote."""
    workers: int = os.cpu_count() or 1
    """Maximum number of nodes that run at once."""

    def __post_init__(self) -> None:
        """Rejects an invalid name of a run, and fewer than one worker."""
        run_name(self.run)
        checks.at_least(self, 1, "workers")


def run(arguments: Sequence[str]) -> int:
    """Runs the pipeline; returns 0, or the highest exit code of the failed nodes."""
    flags = tyro.cli(Flags, prog="python -m pipeline.runners.luigi", args=arguments)
    job = read_job(flags.compiled)
    task = Pipeline(compiled=str(job.directory), run_name=flags.run)
    done = luigi.build(
        # Without luigid: no service to start, and no lock across machines.
        [task],
        workers=flags.workers,
        local_scheduler=True,
        log_level="WARNING",
    )
    return EXIT_DONE if done else job.exit_code(flags.run)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: run(sys.argv[1:])))
