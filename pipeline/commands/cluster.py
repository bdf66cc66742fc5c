"""The command `cluster`: a Flink or Spark cluster on this machine, to try things on."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pipeline.clusters import jars, network
from pipeline.clusters.flink import Flink
from pipeline.clusters.spark import Spark
from pipeline.clusters.standalone import Cluster, running
from pipeline.commands.flags import say
from pipeline.errors import EXIT_DONE, UsageError

_ENGINES: dict[str, type[Cluster]] = {kind.NAME: kind for kind in (Flink, Spark)}
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class ClusterFlags:
    """The flags of `cluster`, up to the `--` in front of a command."""

    engine: Annotated[Literal["flink", "spark"], tyro.conf.Positional]
    """The engine: Flink 1.19 or Spark 3.5."""
    workers: int = 2
    """Flink's TaskManagers or Spark's workers, each with one Python worker."""
    directory: Path = Path("output") / "cluster"
    """Directory for configuration, logs and temporary files."""
    isolated: bool = True
    """Whether cluster and command are in a network of their own with loopback only,
    which needs root. Otherwise whoever reaches this machine can send the cluster
    code."""

    def __post_init__(self) -> None:
        """Rejects a cluster without workers."""
        if self.workers < 1:
            raise UsageError(f"workers is {self.workers}; it must be at least 1")


def cluster(arguments: list[str]) -> int:
    """Run a Flink or Spark cluster on this machine, for a command or until Ctrl-C."""
    ours, command = _divided(arguments)
    flags = tyro.cli(ClusterFlags, prog="throughline cluster", args=ours)
    # In a network of its own Maven reaches nothing.
    jars.class_path(flags.engine, say)
    isolated = flags.isolated and network.isolate()
    if not isolated:
        say(
            "the job server listens on all interfaces of this machine, and runs the "
            "code that it is sent; only root can give it a network of its own"
        )
    kind, place = _ENGINES[flags.engine], flags.directory.absolute()
    with running(kind, place, flags.workers, say) as started:
        say(
            f"{kind.__name__} with {flags.workers} workers is up; {flags.directory} "
            "has its logs"
        )
        if command:
            return _run(started, [*command, *started.flags()])
        _explain(started.flags(), isolated=isolated)
        return _stay(started)


def _divided(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divides arguments at the first `--`: ours, and the command's."""
    words = list(arguments)
    if "--" not in words:
        return words, []
    at = words.index("--")
    if at == len(words) - 1:
        raise UsageError("there is no command after `--`; give one, or leave out `--`")
    return words[:at], words[at + 1 :]


def _run(started: Cluster, command: Sequence[str]) -> int:
    """Runs a command to its end, with lost workers replaced; returns its code."""
    try:
        process = subprocess.Popen(command)
    except OSError as error:
        raise UsageError(f"{command[0]} can't be run: {error.strerror}") from error
    try:
        while process.poll() is None:
            _replace_lost(started)
            time.sleep(_POLL_SECONDS)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return process.returncode


def _explain(flags: Sequence[str], *, isolated: bool) -> None:
    enter = f"nsenter --target {os.getpid()} --net " if isolated else ""
    say(
        "in another terminal:\n\n"
        f"    {enter}{sys.executable} run_local.py {' '.join(flags)}\n\n"
        "Ctrl-C ends the cluster"
    )


def _stay(started: Cluster) -> int:
    try:
        while True:
            _replace_lost(started)
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        return EXIT_DONE


def _replace_lost(started: Cluster) -> None:
    for name in started.replace_lost():
        say(f"{name} was lost; another one is started")
