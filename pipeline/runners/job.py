"""A compiled pipeline in a directory, for orchestrators that start processes.

`throughline compile --target T` writes the directory, and an orchestrator on the same
filesystem reads it. Importing this imports neither TFX nor TensorFlow.
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

from data import taxi
from pipeline.caching.fingerprint import digest
from pipeline.config import METADATA_VARIABLE, Config, given_metadata
from pipeline.errors import EXIT_DONE, EXIT_FAILED, ThroughlineError, UsageError
from pipeline.names import local_path, run_name
from pipeline.runners import checks
from pipeline.store import durable
from pipeline.store.run_files import DAG_FILE, IR_FILE
from pipeline.store.url import redact

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline

JOB_FILE = "job.json"
AIRFLOW_FILE = "throughline_dag.py"

# What to type after compiling for each of them.
TARGETS = {
    "airflow": "link {out} into Airflow's dags folder, then: airflow dags test {name}",
    "luigi": "python -m pipeline.runners.luigi --compiled {out} --run NAME",
    "celery": "python -m pipeline.runners.celery run --compiled {out} --run NAME",
}


@dataclass(frozen=True)
class Options:
    """Where what is compiled goes."""

    out: Path = Path("compiled")
    """Directory that gets the files."""
    schedule: str | None = None
    """When Airflow starts a run, as cron writes it; by hand if not given. Luigi and
    Celery are started by cron itself."""
    retries: int = 0
    """How often Airflow tries a failed node again; refused data never."""

    def __post_init__(self) -> None:
        """Refuses what Airflow would refuse when it reads the DAG."""
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
        directory: Where it is, and where its runs keep logs and exit codes.
        name: The pipeline's.
        definition: Digest of the compiled pipeline; part of each run's id, since a node
            that a run has finished doesn't run again, even if the pipeline changed.
        command: What runs a node, but for the node and the run.
        upstream: For each node, those that it waits for, in running order.
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
        """Where a run keeps each node's log and exit code.

        Raises:
            UsageError: The run's name can't be a directory's.
        """
        return self.directory / "runs" / self._run_id(run)

    def _run_id(self, run: str) -> str:
        return f"{run_name(run)}-{self.definition}"

    def exit_code_of(self, node: str, run: str) -> int | None:
        """Returns what a node ended with when it last ran, none if it hasn't.

        Raises:
            UsageError: There is no such node.
        """
        if node not in self.upstream:
            known = ", ".join(self.upstream)
            raise UsageError(f"There is no node {node!r}; the nodes are {known}")
        record = self.run_directory(run) / f"{node}.exit"
        return int(record.read_text()) if record.is_file() else None

    def exit_code(self, run: str) -> int:
        """Returns the exit code of a run that is over: its nodes' highest one."""
        codes = [self.exit_code_of(node, run) for node in self.upstream]
        return max(EXIT_FAILED if code is None else code for code in codes)

    def run_node(self, node: str, run: str) -> None:
        """Runs a node in a process of its own, unless the run has finished it.

        The process holds the node's lock: if what called this dies and another call
        follows, that one waits for it instead of running the node a second time.

        Raises:
            NodeFailedError: The node ended with another code than 0.
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
            with log.open("ab") as output:
                code = subprocess.run(
                    self.command_of(node, run),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[lock],
                    check=False,
                ).returncode
            # A process that was killed has a negative one.
            code = code if code >= 0 else EXIT_FAILED
            (directory / f"{node}.exit").write_text(str(code))
        if code != EXIT_DONE:
            raise NodeFailedError(f"{node} ended with exit code {code}; see {log}")


def read_job(directory: Path) -> Job:
    """Reads what `throughline compile --target T` wrote.

    Raises:
        UsageError: Something is missing.
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
    """Compiles the pipeline into a directory; what it prints is for a person.

    Args:
        config: What is to run; the sample is laid out if it names no data.
        options: Where to.
        target: One of `TARGETS`, or none for ir.json and dag.json alone.
        build: Makes the pipeline; called when TFX may be imported.

    Returns:
        The exit code.
    """
    metadata = _metadata_to_write(config, target)
    from pipeline.runners import compiler

    if config.data is None:
        taxi.write_sample(config.data_directory)
    out = options.out.absolute()
    compiler.write(compiler.compile_pipeline(build(config)), out)
    files = [IR_FILE, DAG_FILE]
    if target:
        job = {
            "name": config.name,
            "definition": digest((out / IR_FILE).read_bytes())[:8],
            "command": [_program(), "node", "--ir", str(out / IR_FILE), *metadata],
            "schedule": options.schedule,
            "retries": options.retries,
        }
        durable.write(out / JOB_FILE, json.dumps(job, indent=1) + "\n")
        files.append(JOB_FILE)
    if target == "airflow":
        shutil.copy(Path(__file__).with_name("airflow.py"), out / AIRFLOW_FILE)
        files.append(AIRFLOW_FILE)
    sys.stdout.write(f"{options.out} has {', '.join(files)}\n")
    if target:
        what = TARGETS[target].format(out=options.out, name=config.name)
        sys.stdout.write(f"next: {what}\n")
    return EXIT_DONE


def _metadata_to_write(config: Config, target: str | None) -> list[str]:
    """Returns the flags that give the nodes the metadata store of `--metadata`.

    A URL from the environment is left to the environment of the workers: that is where
    a password can be.

    Raises:
        UsageError: The URL is wrong or has a password, or no file that is written has
            a place for it.
    """
    url = given_metadata(config)
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


def _write(path: Path, text: str, *, private: bool) -> None:
    """Writes a file that only its owner can read if it is private, all at once."""
    part = path.with_name(f".{path.name}")
    part.unlink(missing_ok=True)
    part.touch(0o600 if private else 0o666)
    part.write_text(text)
    part.replace(path)


def _program() -> str:
    """Finds the `throughline` command of this environment."""
    return str(Path(sys.executable).with_name("throughline"))


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Holds a file's lock, with all processes that inherit the descriptor it yields."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
