"""A Flink cluster on this machine: JobManager, TaskManagers, job server, worker pool.

Each is a process of its own, as on several machines, and all listen on loopback, except
Beam's job server: it listens on all interfaces whatever it is told.
"""

import http.client
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.clusters import jars, pool_process
from pipeline.clusters.processes import Processes, listens

NAME = "flink"
WEB_PORT = 8081
JOB_PORT = 8099
_ARTIFACT_PORT = 8098
_EXPANSION_PORT = 8097
# A busy machine takes a minute; a process that has ended is noticed at once.
_SECONDS_TO_START = 300

# Java 17 closes what Flink, of Java 8's time, looks into.
_EXPORTS = ("java.base/sun.net.util", "java.security.jgss/sun.security.krb5")
_OPENS = (
    "java.lang",
    "java.lang.reflect",
    "java.net",
    "java.io",
    "java.nio",
    "java.text",
    "java.time",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "java.util.concurrent.locks",
    "sun.nio.ch",
)

_SETTINGS: dict[str, str | int] = {
    "jobmanager.rpc.address": "127.0.0.1",
    "jobmanager.bind-host": "127.0.0.1",
    "jobmanager.rpc.port": 6123,
    "rest.address": "127.0.0.1",
    "rest.bind-address": "127.0.0.1",
    "rest.port": WEB_PORT,
    "taskmanager.host": "127.0.0.1",
    "taskmanager.bind-host": "127.0.0.1",
    "taskmanager.numberOfTaskSlots": 1,
    "taskmanager.cpu.cores": "1.0",
    "taskmanager.memory.framework.heap.size": "128mb",
    "taskmanager.memory.framework.off-heap.size": "128mb",
    "taskmanager.memory.task.heap.size": "768mb",
    "taskmanager.memory.task.off-heap.size": "0mb",
    "taskmanager.memory.managed.size": "512mb",
    "taskmanager.memory.jvm-metaspace.size": "384mb",
    "taskmanager.memory.jvm-overhead.min": "256mb",
    "taskmanager.memory.jvm-overhead.max": "256mb",
    # TFT's analysis has a hundred shuffles, each of which holds 512 buffers of 32 kB by
    # default, whatever it sends: "insufficient number of network buffers".
    "taskmanager.memory.network.min": "384mb",
    "taskmanager.memory.network.max": "384mb",
    "taskmanager.network.sort-shuffle.min-buffers": 64,
    # Without one, a job fails with the first TaskManager that does.
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": 3,
    "restart-strategy.fixed-delay.delay": "2s",
    # A job brings no jars; see QuietLoader.
    "classloader.resolve-order": "parent-first",
    # A lost TaskManager is noticed after two calls that failed, a silent one after the
    # timeout: Java may pause for seconds on a busy machine.
    "heartbeat.interval": 2_000,
    "heartbeat.timeout": 60_000,
}


@dataclass
class Cluster:
    """A running Flink cluster.

    Attributes:
        processes: What it consists of.
        directory: Its configuration, logs and temporary files.
        workers: How many TaskManagers it has.
    """

    processes: Processes
    directory: Path
    workers: int
    _jars: list[Path] = field(default_factory=list)

    def flags(self) -> list[str]:
        """Returns the flags of the pipeline's commands for this cluster."""
        return [
            "--engine=flink",
            f"--beam.job-endpoint=127.0.0.1:{JOB_PORT}",
            f"--beam.parallelism={self.workers}",
            *pool_process.FLAGS,
        ]

    def task_manager(self, number: int) -> str:
        """Returns the name of a TaskManager's process, the first being 1."""
        return f"taskmanager-{number}"

    def replace_lost(self) -> list[str]:
        """Restarts TaskManagers that have exited; returns their names."""
        managers = map(self.task_manager, range(1, self.workers + 1))
        lost = sorted(set(self.processes.ended()) & set(managers))
        for name in lost:
            self._start_task_manager(name)
        return lost

    def jobs(self) -> list[dict[str, Any]]:
        """Lists the submitted jobs, as Flink's REST API describes them."""
        jobs: list[dict[str, Any]] = _asked("/jobs/overview")["jobs"]
        return jobs

    def is_up(self) -> bool:
        """Whether all TaskManagers have registered."""
        try:
            return bool(_asked("/overview")["taskmanagers"] >= self.workers)
        except (OSError, ValueError, KeyError):
            return False

    def start(self) -> None:
        """Starts all processes, and waits until they are ready.

        Raises:
            ThroughlineError: One has ended; the message names its log.
        """
        pool_process.start(self.processes)
        self._start_java(
            "jobmanager",
            ["-Xmx512m", "-cp", jars.joined(self._jars)],
            "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            [*self._configuration("jobmanager"), "--executionMode", "cluster"],
        )
        for number in range(1, self.workers + 1):
            self._start_task_manager(self.task_manager(number))
        self._start_job_server()
        wait = self.processes.wait_until
        wait(self.is_up, _SECONDS_TO_START, f"Flink of {self.workers} TaskManagers")
        wait(lambda: listens(JOB_PORT), _SECONDS_TO_START, "job server")
        wait(lambda: listens(pool_process.PORT), _SECONDS_TO_START, "worker pool")

    def _start_task_manager(self, name: str) -> None:
        memory = ("-Xmx896m", "-XX:MaxDirectMemorySize=640m")
        self._start_java(
            name,
            [*memory, "-cp", jars.joined(self._jars)],
            "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            self._configuration(name),
        )

    def _start_job_server(self) -> None:
        loader = jars.compiled("QuietLoader", self.directory)
        self._start_java(
            "job-server",
            [
                "-Xmx512m",
                "-Djava.system.class.loader=QuietLoader",
                f"-Dthroughline.jars={jars.joined(self._jars)}",
                "-cp",
                str(loader),
            ],
            "org.apache.beam.runners.flink.FlinkJobServerDriver",
            [
                f"--flink-master=127.0.0.1:{WEB_PORT}",
                f"--flink-conf-dir={self.directory / 'jobmanager'}",
                "--job-host=127.0.0.1",
                f"--job-port={JOB_PORT}",
                f"--artifact-port={_ARTIFACT_PORT}",
                f"--expansion-port={_EXPANSION_PORT}",
                f"--artifacts-dir={self.directory / 'artifacts'}",
            ],
        )

    def _start_java(
        self, name: str, options: list[str], main: str, arguments: list[str]
    ) -> None:
        log = "-Dorg.slf4j.simpleLogger.showDateTime=true"
        command = [jars.java(), *opened_modules(), log, *options, main, *arguments]
        # Flink reads its configuration from this variable too.
        given = {**os.environ, "FLINK_CONF_DIR": str(self.directory / "jobmanager")}
        self.processes.start(name, command, given)

    def _configuration(self, name: str) -> list[str]:
        """Writes the configuration of a process; returns the flag that names it."""
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        (directory / "tmp").mkdir(exist_ok=True)
        settings = {**_SETTINGS, "io.tmp.dirs": str(directory / "tmp")}
        lines = (f"{key}: {value}\n" for key, value in settings.items())
        (directory / "flink-conf.yaml").write_text("".join(lines))
        return ["--configDir", str(directory)]


@contextmanager
def cluster(
    directory: Path, workers: int, say: Callable[[str], None]
) -> Iterator[Cluster]:
    """Runs a Flink cluster during a block.

    Args:
        directory: For its configuration, logs and temporary files.
        workers: How many TaskManagers, of one slot each.
        say: Is told what takes long.

    Raises:
        UsageError: There is no Java, or no Maven for jars that are missing.
        ThroughlineError: The cluster doesn't start.
    """
    path = jars.class_path(NAME, say)
    with Processes(directory) as processes:
        started = Cluster(processes, directory, workers, path)
        started.start()
        yield started


def opened_modules() -> list[str]:
    """Returns the Java flags that open JDK packages to Flink."""
    return [
        *(f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTS),
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENS),
    ]


def _asked(path: str) -> Any:
    """Requests a path of Flink's REST API."""
    connection = http.client.HTTPConnection("127.0.0.1", WEB_PORT, timeout=10)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
