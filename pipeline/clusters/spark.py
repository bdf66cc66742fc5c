"""A standalone Spark cluster on this machine: a master, and workers of one core."""

from pipeline.clusters import jars
from pipeline.clusters.standalone import BRIEF, Cluster, opened

_MASTER_PORT = 7077
_WEB_PORT = 8180
_WORKER_MEMORY = "1536m"
_EXECUTOR_MEMORY = "1g"

# Java 17 closes what Spark looks into: Spark's JavaModuleOptions, which it gives to its
# executors itself.
_OPENS = (
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "jdk.internal.ref",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
)
_OPTIONS = tuple(opened(_OPENS))


class Spark(Cluster):
    """A running Spark cluster."""

    NAME = "spark"
    WORKER = "spark-worker"
    WEB_PORT = _WEB_PORT

    def registered(self) -> int:
        """Returns how many workers have registered, and are alive."""
        return int(self.asked("/json/")["aliveworkers"])

    def start_master(self) -> None:
        """Starts the master."""
        ports = ["--port", str(_MASTER_PORT), "--webui-port", str(_WEB_PORT)]
        self.run_java(
            "spark-master",
            [*_OPTIONS, "-Xmx256m"],
            "org.apache.spark.deploy.master.Master",
            ["--host", "127.0.0.1", *ports],
            self._environment(),
        )

    def start_worker(self, name: str) -> None:
        """Starts a worker, which starts an executor with the first job."""
        of = ["--cores", "1", "--memory", _WORKER_MEMORY, "--webui-port", "0"]
        self.run_java(
            name,
            [*_OPTIONS, "-Xmx256m"],
            "org.apache.spark.deploy.worker.Worker",
            ["--host", "127.0.0.1", *of, f"spark://127.0.0.1:{_MASTER_PORT}"],
            self._environment(),
        )

    def start_job_server(self) -> None:
        """Starts Beam's job server, which is the driver of each job."""
        settings = {
            # A job brings no jars; see QuietLoader.
            "executor.extraClassPath": jars.joined(self.jars),
            "executor.cores": "1",
            "executor.memory": _EXECUTOR_MEMORY,
            "executor.extraJavaOptions": " ".join(BRIEF),
            "driver.host": "127.0.0.1",
            "driver.bindAddress": "127.0.0.1",
            "default.parallelism": str(self.workers),
            "local.dir": str(self.directory / "local"),
            "ui.enabled": "false",
        }
        self.run_job_server(
            [
                *_OPTIONS,
                "-Xmx768m",
                # Otherwise each job starts an executor on each worker, which takes
                # seconds, and jobs of nodes that run at once wait for each other.
                "-Dbeam.spark.test.reuseSparkContext=true",
                *(f"-Dspark.{name}={value}" for name, value in settings.items()),
            ],
            "org.apache.beam.runners.spark.SparkJobServerDriver",
            [f"--spark-master-url=spark://127.0.0.1:{_MASTER_PORT}"],
            self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        home = self.directory / "spark"
        # A worker refuses to start executors without this directory.
        (home / "jars").mkdir(parents=True, exist_ok=True)
        return {
            "SPARK_HOME": str(home),
            "SPARK_SCALA_VERSION": "2.12",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_HOSTNAME": "127.0.0.1",
            "SPARK_WORKER_DIR": str(self.directory / "work"),
        }
