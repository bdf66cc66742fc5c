"""Run records: what ran, with which settings, and how it ended.

A record is `output/runs/<run_id>/run.json`. Reading it imports neither TFX nor
TensorFlow, so "nothing has changed" is reported at once. A process holds a lock on its
run's directory while it lives, so a record in the state "running" without a lock is
that of a crashed run.
"""

import dataclasses
import fcntl
import json
import logging
import os
import time
import typing
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.caching.fingerprint import digest, sources
from pipeline.config import Config
from pipeline.errors import UsageError, printable
from pipeline.ingestion import digests, spans
from pipeline.registry import versions
from pipeline.store import durable, url

_LOG = logging.getLogger(__name__)
RECORD_FILE = "run.json"
_LOCK_FILE = "lock"
_TIME_FORMAT = "%Y%m%d-%H%M%S"
_DYING_SECONDS = 10
PROJECT = Path(__file__).resolve().parents[3]
LOCK_OF_VERSIONS = PROJECT / "requirements.lock"


class Outcome(StrEnum):
    """How a run ended, or that it is running."""

    RUNNING = "running"
    DONE = "done"
    NOT_BLESSED = "not blessed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    PROPOSED = "schema proposed"


@dataclass
class Run:
    """The record of a run.

    Attributes:
        run_id: Start time (UTC) and the first digits of `definition`, so that a changed
            pipeline is never taken for the same run.
        directory: The run's directory.
        definition: Digest of the configuration, the code and the locked versions.
        data: Digest of the names and contents of the data files.
        config: The configuration as JSON; a password in the store's URL is redacted.
        outcome: How it ended.
        exit_code: Exit code of its process; `None` while it runs.
        first: First node of a partial run.
        last: Last node of a partial run.
        nodes: "state", "seconds" and "cause" of each node that has started.
        live: Directory of the version that was live at the end of the run.
        model: Directory of the version that holds the run's model, if it was pushed.
        uncached: Nodes that don't use the cache: `None` = none, [] = all.
    """

    run_id: str
    directory: Path
    definition: str
    data: str
    config: dict[str, Any]
    outcome: Outcome = Outcome.RUNNING
    exit_code: int | None = None
    first: str | None = None
    last: str | None = None
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    live: str | None = None
    model: str | None = None
    uncached: list[str] | None = None

    @property
    def is_part(self) -> bool:
        """Whether it runs only a part of the pipeline."""
        return bool(self.first or self.last)

    def log_of(self, name: str) -> Path:
        """Returns the log file of a node, or of the "runner"."""
        return self.directory / "logs" / f"{name}.log"

    def save(self) -> None:
        """Writes the record atomically."""
        (self.directory / "logs").mkdir(parents=True, exist_ok=True)
        values = {**vars(self), "directory": str(self.directory)}
        text = json.dumps(values, indent=1, sort_keys=True) + "\n"
        durable.write(self.directory / RECORD_FILE, text)

    def is_alive(self) -> bool:
        """Whether the run's process still holds the run's lock."""
        if self.outcome is not Outcome.RUNNING:
            return False
        try:
            with _locked(self.directory / _LOCK_FILE):
                return False
        except BlockingIOError:
            return True


def new_run(config: Config) -> Run:
    """Creates the record of a run that starts now, without writing it.

    If another run started in the same second, the name gets the next free second: names
    must be unique, and sort in the order of their start.
    """
    definition = definition_of(config)
    now = datetime.now(UTC)
    while any(config.runs_directory.glob(f"{now:{_TIME_FORMAT}}-*")):
        now += timedelta(seconds=1)
    run_id = f"{now:{_TIME_FORMAT}}-{definition[:8]}"
    return Run(
        run_id=run_id,
        directory=config.runs_directory / run_id,
        definition=definition,
        data=data_digest(config),
        config=to_json(config),
    )


def read_runs(config: Config) -> list[Run]:
    """Reads the records of all runs in an output directory, oldest first.

    A record that can't be read, such as one of a newer version, is skipped with a
    warning: one damaged file must not keep later runs from starting.
    """
    records = sorted(config.runs_directory.glob(f"*/{RECORD_FILE}"))
    return list(_readable(record.parent for record in records))


def _readable(directories: Iterable[Path]) -> Iterator[Run]:
    for directory in directories:
        try:
            yield read_run(directory)
        except UsageError as error:
            _LOG.warning("%s; the run is left out", printable(str(error)))


def read_run(directory: Path) -> Run:
    """Reads the record of a run.

    Raises:
        UsageError: There is none, or it can't be read; lists the newest runs.
    """
    try:
        values = json.loads((directory / RECORD_FILE).read_text())
        values["outcome"] = Outcome(values["outcome"])
        return Run(**{**values, "directory": directory})
    except FileNotFoundError:
        names = sorted(p.parent.name for p in directory.parent.glob(f"*/{RECORD_FILE}"))
        known = ", ".join(names[-5:]) or "none"
        raise UsageError(
            f"There is no run {directory.name}; the newest are: {known}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{directory / RECORD_FILE} can't be read: {error}") from error


@contextmanager
def held(run: Run) -> Iterator[None]:
    """Holds a run's lock during the block, which marks the run as alive.

    Raises:
        UsageError: Another process holds the lock.
    """
    run.directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if not _entered(stack, run.directory / _LOCK_FILE):
            raise UsageError(
                f"Run {run.run_id} is still running; wait for it or stop it"
            )
        yield


@contextmanager
def output_directory_held(config: Config) -> Iterator[None]:
    """Locks the output directory during the block, if its store is an SQLite file.

    A metadata store on a server allows concurrent runs, so there nothing is locked.

    Raises:
        UsageError: Another process holds the lock; gives its process id.
    """
    if not url.is_file(config.metadata_url):
        yield
        return
    path = config.output.absolute() / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        # The nodes of a killed run inherit its lock, and need a moment to die with it.
        deadline = time.monotonic() + _DYING_SECONDS
        while not _entered(stack, path):
            holder = path.read_text().strip()
            if _is_process(holder) or time.monotonic() > deadline:
                raise UsageError(
                    f"{config.output} is in use by process {holder}; wait for it, "
                    "stop it, or give another --output"
                )
            time.sleep(0.1)
        path.write_text(f"{os.getpid()}\n")
        yield


def unchanged_since(config: Config) -> Run | None:
    """Finds the run whose model is live, if a new run could only repeat it.

    Args:
        config: The configuration of the new run.

    Returns:
        The newest complete and successful run that has the same configuration, code,
        locked versions and data, is in the metadata store, and whose model is live and
        undamaged; else `None`.

    Raises:
        ThroughlineError: The metadata store can't be reached.
    """
    live = versions.live(config.serving_directory)
    if not live or live.damage(config.output / digests.MEMORY_FILE):
        return None
    candidates = [
        run
        for run in read_runs(config)
        if run.outcome is Outcome.DONE
        and not run.is_part
        and run.model == str(live.path)
    ]
    if not candidates:
        return None
    now = (definition_of(config), data_digest(config))
    same = [run for run in candidates if (run.definition, run.data) == now]
    return same[-1] if same and _is_in_store(config, same[-1]) else None


def live_version(config: Config) -> str | None:
    """Returns the directory of the version that is live, if there is one."""
    live = versions.live(config.serving_directory)
    return str(live.path) if live else None


def _is_in_store(config: Config, run: Run) -> bool:
    """Whether the metadata store has a run; the store may have been deleted since."""
    # Importing MLMD takes a third of a second, so everything else is checked first.
    from ml_metadata.metadata_store.metadata_store import MetadataStore

    from pipeline.store import connection, graph

    if not connection.exists(config.metadata_url):
        return False
    store = MetadataStore(connection.open_store(config.metadata_url))
    return bool(graph.executions_of_run(store, run.run_id))


def definition_of(config: Config) -> str:
    """Returns a digest of everything but the data: settings, code, locked versions."""
    settings = json.dumps(to_json(config), sort_keys=True)
    files = [*sources(), LOCK_OF_VERSIONS, config.schema]
    contents = [digest(path.read_bytes()) for path in files if path.is_file()]
    return digest("\n".join([settings, *contents]))


def data_digest(config: Config) -> str:
    """Returns a digest of the names and contents of the files that a run would read.

    Raises:
        DataRefusedError: No file matches.
    """
    directory = config.data_directory
    selection = spans.select(directory, config.pattern, config.wanted_spans)
    memory = config.output / digests.MEMORY_FILE
    splits = digests.splits_of(selection)
    return digest(digests.fingerprint(directory, splits, memory))


def to_json(config: Config) -> dict[str, Any]:
    """Converts a configuration to plain JSON values, with the password redacted."""
    shown = url.redact(config.metadata) if config.metadata else None
    values = dataclasses.asdict(replace(config, metadata=shown))
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def from_json(values: Mapping[str, Any]) -> Config:
    """Restores a configuration from `to_json`; a redacted password stays redacted."""
    config: Config = _build(Config, values)
    return config


def _build(kind: type[Any], values: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(hints[name], value) for name, value in values.items()})


def _value(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value)
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and Path in (hint, *typing.get_args(hint)):
        return Path(value)
    return value


def _entered(stack: ExitStack, path: Path) -> bool:
    """Locks a file until the stack is closed; returns whether that succeeded."""
    try:
        stack.enter_context(_locked(path))
    except BlockingIOError:
        return False
    return True


def _is_process(number: str) -> bool:
    try:
        os.kill(int(number), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a file's lock, which the kernel releases when the process dies.

    Raises:
        BlockingIOError: Another process holds it.
    """
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
