"""A compiled pipeline in a directory, for orchestrators that start processes.

`throughline compile --target T` writes the directory, and an orchestrator on the same
file system reads it. Importing this module imports neither TFX nor TensorFlow.
"""

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.caching.fingerprint import digest
from pipeline.config import METADATA_VARIABLE, Config, given_metadata
from pipeline.errors import EXIT_DONE, EXIT_FAILED, ThroughlineError, UsageError
from pipeline.runners import checks, sample
from pipeline.store import durable
from pipeline.store.names import local_path, run_name
from pipeline.store.run_files import DAG_FILE, IR_FILE
from pipeline.store.url import redact

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline

JOB_FILE = "job.json"
AIRFLOW_FILE = "throughline_dag.py"

# The next command to type after compiling, by target.
TARGETS = {
    "airflow": "link {out} into Airflow's dags folder, then: airflow dags test {name}",
    "luigi": "python -m pipeline.runners.luigi --compiled {out} --run NAME",
    "celery": "python -m pipeline.runners.celery run --compiled {out} --run NAME",
}


@dataclass(frozen=True)
class Options:
    """Settings of the compiled directory."""

    out: Path = Path("compiled")
    """Directory to write the files to."""
    schedule: str | None = None
    """When Airflow starts a run, in cron's format; only manually if not given. Luigi
    and Celery are started by cron itself."""
    retries: int = 0
    """Number of times that Airflow retries a failed node; rejected data is not
    retried."""

    def __post_init__(self) -> None:
        """Rejects what Airflow would reject when it reads the DAG."""
        local_path(self.out, "out")
        checks.at_least(self, 0, "retries")
        if self.schedule is not None:
            checks.schedule(self.schedule)


class NodeFailedError(ThroughlineError):
    """A node ended with a code other than 0; the message names its log."""


@dataclass(frozen=True)
class Job:
    """A compiled pipeline, ready to run.

    Attributes:
        directory: The compiled directory; runs keep logs and exit codes below it.
        name: Name of the pipeline.
        definition: Digest of the compiled pipeline. It is part of each run's id, since
            a finished node of a run never runs again, even if the pipeline changed.
        command: The command that runs a node, without `--node` and `--run-id`.
        upstream: The upstream nodes of each node, in topological order.
    """

    directory: Path
    name: str
    definition: str
    command: list[str]
    upstream: dict[str, list[str]]

    def command_of(self, node: str, run: str) -> list[str]:
        """Returns the command that runs a node in a run."""
        return [*self.command, "--node", node, "--run-id", self._run_id(run)]

    def run_directory(self, run: str) -> Path:
        """Returns the directory of a run's logs and exit codes.

        Raises:
            UsageError: The name of the run is invalid.
        """
        return self.directory / "runs" / self._run_id(run)

    def _run_id(self, run: str) -> str:
        return f"{run_name(run)}-{self.definition}"

    def exit_code_of(self, node: str, run: str) -> int | None:
        """Returns the exit code of a node's last execution; `None` if it never ran.

        Raises:
            UsageError: There is no such node; the message lists the nodes.
        """
        if node not in self.upstream:
            known = ", ".join(self.upstream)
            raise UsageError(f"There is no node {node!r}; the nodes are {known}")
        record = self.run_directory(run) / f"{node}.exit"
        return int(record.read_text()) if record.is_file() else None

    def exit_code(self, run: str) -> int:
        """Returns the exit code of a finished run: the highest of its nodes'."""
        codes = [self.exit_code_of(node, run) for node in self.upstream]
        return max(EXIT_FAILED if code is None else code for code in codes)

    def run_node(self, node: str, run: str) -> None:
        """Runs a node in its own process, unless the run has finished it already.

        The process inherits the node's lock. If the caller dies and another one takes
        over, that one waits for the process instead of running the node twice.

        Raises:
            NodeFailedError: The node ended with an exit code other than 0.
        """
        directory = self.run_directory(run)
        directory.mkdir(parents=True, exist_ok=True)
        if self.exit_code_of(node, run) == EXIT_DONE:
            return
        log = directory / f"{node}.log"
        with _locked(directory / f"{node}.lock") as lock:
            # Another process may have finished it while this one waited.
            if self.exit_code_of(node, run) == EXIT_DONE:
                return
            # Appended, so that the log of a failed try isn't lost.
            with log.open("ab") as output:
                code = subprocess.run(
                    self.command_of(node, run),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[lock],
                    check=False,
                ).returncode
            # The return code of a killed process is the negative signal number.
            code = code if code >= 0 else EXIT_FAILED
            (directory / f"{node}.exit").write_text(str(code))
        if code != EXIT_DONE:
            raise NodeFailedError(f"{node} ended with exit code {code}; see {log}")


def read_job(directory: Path) -> Job:
    """Reads a directory that `throughline compile --target T` wrote.

    Raises:
        UsageError: A file is missing.
    """
    try:
        job = json.loads((directory / JOB_FILE).read_text())
        dag = json.loads((directory / DAG_FILE).read_text())
    except FileNotFoundError as error:
        msg = f"{error.filename} is not there; `throughline compile --target` makes it"
        raise UsageError(msg) from None
    upstream = {node["id"]: node["upstream"] for node in dag}
    return Job(
        directory.absolute(), job["name"], job["definition"], job["command"], upstream
    )


def compile_job(
    config: Config,
    options: Options,
    target: str | None,
    build: Callable[[Config], "Pipeline"],
) -> int:
    """Compiles the pipeline into a directory, and prints the files and the next step.

    Args:
        config: What to run; without a data directory the sample is written first.
        options: The directory and Airflow's settings.
        target: One of `TARGETS`; `None` writes only ir.json and dag.json.
        build: Creates the pipeline; called late, because that imports TFX.

    Returns:
        The exit code.

    Raises:
        UsageError: --metadata was given and can't be written, see
            `_metadata_to_write`.
    """
    metadata = _metadata_to_write(config, target)
    from pipeline.runners import compiler

    sample.provide(config)
    out = options.out.absolute()
    compiler.write(compiler.compile_pipeline(build(config)), out)
    files = [IR_FILE, DAG_FILE]
    if target:
        job = {
            "name": config.name,
            # Compiling is deterministic, so an unchanged pipeline has the same digest
            # and its runs continue.
            "definition": digest((out / IR_FILE).read_bytes())[:8],
            "command": [_program(), "node", "--ir", str(out / IR_FILE), *metadata],
            "schedule": options.schedule,
            "retries": options.retries,
        }
        durable.write(out / JOB_FILE, json.dumps(job, indent=1) + "\n")
        files.append(JOB_FILE)
    if target == "airflow":
        # A copy, because Airflow's environment doesn't have this project.
        shutil.copy(Path(__file__).with_name("airflow.py"), out / AIRFLOW_FILE)
        files.append(AIRFLOW_FILE)
    sys.stdout.write(f"{options.out} has {', '.join(files)}\n")
    if target:
        what = TARGETS[target].format(out=options.out, name=config.name)
        sys.stdout.write(f"next: {what}\n")
    return EXIT_DONE


def _metadata_to_write(config: Config, target: str | None) -> list[str]:
    """Returns the flags that pass the URL of `--metadata` on to the nodes.

    A URL from the environment variable is not passed on: it may hold a password, and
    the workers' environment has its own.

    Raises:
        UsageError: The URL is invalid or has a password, or there is no target whose
            files could hold it.
    """
    url = given_metadata(config)
    if url is None and config.artifacts and target and not config.metadata:
        # A node finds metadata.db beside local artifacts only.
        url = config.metadata_url
    if url is None:
        return []
    from pipeline.store.connection import connection_config

    connection_config(url)
    shown = redact(url)
    if target is None:
        raise UsageError(
            f"metadata is {shown}, and neither {IR_FILE} nor {DAG_FILE} holds a URL; "
            "leave --metadata out, and give it to each `throughline node`, or set "
            f"{METADATA_VARIABLE} where that runs"
        )
    if shown != url:
        raise UsageError(
            f"metadata is {shown}, and a password is written into no file; leave "
            f"--metadata out, and set {METADATA_VARIABLE} to the URL in the "
            "environment of the workers that run the nodes"
        )
    return ["--metadata", url]


def _program() -> str:
    """Returns the path of this environment's `throughline` command."""
    # Absolute: an orchestrator's processes have another PATH.
    return str(Path(sys.executable).with_name("throughline"))


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Locks a file; yields the descriptor, through which subprocesses keep the lock."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
