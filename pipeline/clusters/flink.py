"""A Flink cluster on this machine: a JobManager, and TaskManagers of one slot each."""

from typing import Any

from pipeline.clusters.standalone import Cluster, opened

_WEB_PORT = 8081

# Java 17 closes what Flink, of Java 8's time, looks into.
_EXPORTS = (
    ("java.base", "sun.net.util"),
    ("java.security.jgss", "sun.security.krb5"),
)
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
JAVA_OPTIONS = (
    *opened(_OPENS, _EXPORTS),
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)

SETTINGS: dict[str, str | int] = {
    "jobmanager.rpc.address": "127.0.0.1",
    "jobmanager.bind-host": "127.0.0.1",
    "jobmanager.rpc.port": 6123,
    "rest.address": "127.0.0.1",
    "rest.bind-address": "127.0.0.1",
    "rest.port": _WEB_PORT,
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
    # Without this, a TaskManager whose memory is full only logs it, and the job waits
    # for ever.
    "cluster.uncaught-exception-handling": "FAIL",
    # A job brings no jars; see QuietLoader.
    "classloader.resolve-order": "parent-first",
    # A lost TaskManager is noticed after two calls that failed, a silent one after the
    # timeout: Java may pause for seconds on a busy machine.
    "heartbeat.interval": 2_000,
    "heartbeat.timeout": 60_000,
}


class Flink(Cluster):
    """A running Flink cluster."""

    NAME = "flink"
    WORKER = "taskmanager"
    WEB_PORT = _WEB_PORT

    def flags(self) -> list[str]:
        """Returns the flags of the pipeline's commands for this cluster."""
        return [*super().flags(), f"--beam.parallelism={self.workers}"]

    def jobs(self) -> list[dict[str, Any]]:
        """Lists the submitted jobs, as Flink's REST API describes them."""
        jobs: list[dict[str, Any]] = self.asked("/jobs/overview")["jobs"]
        return jobs

    def registered(self) -> int:
        """Returns how many TaskManagers have registered."""
        return int(self.asked("/overview")["taskmanagers"])

    def start_master(self) -> None:
        """Starts the JobManager."""
        self.run_java(
            "jobmanager",
            [*JAVA_OPTIONS, "-Xmx512m"],
            "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
            [*self._configuration("jobmanager"), "--executionMode", "cluster"],
            self._environment(),
        )

    def start_worker(self, name: str) -> None:
        """Starts a TaskManager."""
        self.run_java(
            name,
            [*JAVA_OPTIONS, "-Xmx896m", "-XX:MaxDirectMemorySize=640m"],
            "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            self._configuration(name),
            self._environment(),
        )

    def start_job_server(self) -> None:
        """Starts Beam's job server for Flink."""
        self.run_job_server(
            [*JAVA_OPTIONS, "-Xmx512m"],
            "org.apache.beam.runners.flink.FlinkJobServerDriver",
            [
                f"--flink-master=127.0.0.1:{_WEB_PORT}",
                f"--flink-conf-dir={self.directory / 'jobmanager'}",
            ],
            self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        # Flink reads its configuration from this variable too.
        return {"FLINK_CONF_DIR": str(self.directory / "jobmanager")}

    def _configuration(self, name: str) -> list[str]:
        """Writes the configuration of a process; returns the flag that names it."""
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        (directory / "tmp").mkdir(exist_ok=True)
        settings = {**SETTINGS, "io.tmp.dirs": str(directory / "tmp")}
        lines = (f"{key}: {value}\n" for key, value in settings.items())
        (directory / "flink-conf.yaml").write_text("".join(lines))
        return ["--configDir", str(directory)]
