"""What the clusters of this machine have in common.

A cluster is a master, some workers, Beam's job server and a pool of Python workers.
Each is a process of its own, as on several machines, and all listen on loopback, except
Beam's job server: it listens on all interfaces whatever it is told.
"""

import abc
import http.client
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pipeline.clusters import jars, pool_process
from pipeline.clusters.processes import Processes, listens

JOB_PORT = 8099
_ARTIFACT_PORT = 8098
_EXPANSION_PORT = 8097
# A busy machine takes a minute; a process that has ended is noticed at once.
_SECONDS_TO_START = 300

BRIEF = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Java's flags for processes that live for minutes: compiling well doesn't pay there,
and the work is done in Python."""


@dataclass
class Cluster(abc.ABC):
    """A cluster of one engine.

    Attributes:
        processes: What it consists of.
        directory: Its configuration, logs and temporary files.
        workers: How many workers it has, of one core each.
        jars: Class path of all Java processes.
    """

    processes: Processes
    directory: Path
    workers: int
    jars: Sequence[Path] = ()

    NAME: ClassVar[str]
    """Of the engine, as in --engine."""
    WORKER: ClassVar[str]
    """What the engine calls a worker; the processes are WORKER-1, WORKER-2, ..."""
    WEB_PORT: ClassVar[int]
    """Port of the master's web interface."""

    def flags(self) -> list[str]:
        """Returns the flags of the pipeline's commands for this cluster."""
        return [
            f"--engine={self.NAME}",
            f"--beam.job-endpoint=127.0.0.1:{JOB_PORT}",
            *pool_process.FLAGS,
        ]

    def worker(self, number: int) -> str:
        """Returns the name of a worker's process, the first being 1."""
        return f"{self.WORKER}-{number}"

    def replace_lost(self) -> list[str]:
        """Restarts workers that have exited; returns their names."""
        names = map(self.worker, range(1, self.workers + 1))
        lost = sorted(set(self.processes.ended()) & set(names))
        for name in lost:
            self.start_worker(name)
        return lost

    def start(self) -> None:
        """Starts all processes, and waits until they are ready.

        Raises:
            ThroughlineError: One has ended; the message names its log.
        """
        pool_process.start(self.processes)
        self.start_master()
        for number in range(1, self.workers + 1):
            self.start_worker(self.worker(number))
        self.start_job_server()
        wait = self.processes.wait_until
        wait(self.is_up, _SECONDS_TO_START, f"cluster of {self.workers} {self.WORKER}s")
        wait(lambda: listens(JOB_PORT), _SECONDS_TO_START, "job server")
        wait(lambda: listens(pool_process.PORT), _SECONDS_TO_START, "worker pool")

    def is_up(self) -> bool:
        """Whether all workers have registered with the master."""
        try:
            return self.registered() >= self.workers
        except (OSError, ValueError, KeyError):
            return False

    @abc.abstractmethod
    def registered(self) -> int:
        """Returns how many workers the master has.

        Raises:
            OSError, ValueError, KeyError: The master isn't ready.
        """

    @abc.abstractmethod
    def start_master(self) -> None:
        """Starts the process that workers register with."""

    @abc.abstractmethod
    def start_worker(self, name: str) -> None:
        """Starts a worker's process."""

    @abc.abstractmethod
    def start_job_server(self) -> None:
        """Starts Beam's job server."""

    def run_java(
        self,
        name: str,
        options: Sequence[str],
        main: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        """Starts a class with the cluster's jars on its class path."""
        path = ["-cp", jars.joined(self.jars)]
        self._start(name, [*options, *path, main, *arguments], environment)

    def run_job_server(
        self,
        options: Sequence[str],
        main: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        """Starts a job server that sends no jars with its jobs."""
        loader = jars.compiled("QuietLoader", self.directory)
        hidden = [
            "-Djava.system.class.loader=QuietLoader",
            f"-Dthroughline.jars={jars.joined(self.jars)}",
            *("-cp", str(loader)),
        ]
        ports = [
            "--job-host=127.0.0.1",
            f"--job-port={JOB_PORT}",
            f"--artifact-port={_ARTIFACT_PORT}",
            f"--expansion-port={_EXPANSION_PORT}",
            f"--artifacts-dir={self.directory / 'artifacts'}",
        ]
        command = [*options, *hidden, main, *arguments, *ports]
        self._start("job-server", command, environment)

    def _start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        given = {**os.environ, **environment}
        self.processes.start(name, [jars.java(), *BRIEF, *command], given)

    def asked(self, path: str) -> Any:
        """Requests a path of the master's web interface, which answers in JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.WEB_PORT, timeout=10)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@contextmanager
def running(
    kind: type[Cluster], directory: Path, workers: int, say: Callable[[str], None]
) -> Iterator[Cluster]:
    """Runs a cluster during a block.

    Args:
        kind: Of which engine.
        directory: For its configuration, logs and temporary files.
        workers: How many workers, of one core each.
        say: Is told what takes long.

    Raises:
        UsageError: There is no Java, or no Maven for jars that are missing.
        ThroughlineError: The cluster doesn't start.
    """
    path = jars.class_path(kind.NAME, say)
    with Processes(directory) as processes:
        started = kind(processes, directory, workers, path)
        started.start()
        yield started


def opened(
    packages: Sequence[str], exported: Sequence[tuple[str, str]] = ()
) -> list[str]:
    """Returns the flags that open the JDK's packages to Java 8's code.

    Args:
        packages: Of the module java.base, for reflection.
        exported: Modules and their packages, for use.
    """
    return [
        *(f"--add-exports={module}/{name}=ALL-UNNAMED" for module, name in exported),
        *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in packages),
    ]
