"""The record that each run keeps of itself, and what a later run learns from it.

`output/runs/<run_id>/run.json` says what ran, how, and how it ended. Reading it imports
neither TFX nor TensorFlow, so "nothing has changed" is told at once. A run holds a lock
on its own directory for as long as its process lives, so a dead one is known for sure.
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
    """How a run ended, if it did."""

    RUNNING = "running"
    DONE = "done"
    NOT_BLESSED = "not blessed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    PROPOSED = "schema proposed"


@dataclass
class Run:
    """A run: its name, its directory, and what it remembers.

    Attributes:
        run_id: When it began (UTC), and the first digits of `definition`, so that a
            changed pipeline never counts as the same run.
        directory: Its own directory.
        definition: Digest of the configuration, the code and the locked versions.
        data: Digest of the names and contents of the data files.
        config: What ran; a password in the metadata store's URL is left out.
        outcome: How it ended.
        exit_code: What its process ended with.
        first: The node that it was to begin with, if not with all.
        last: The node that it was to end with, if not with all.
        nodes: State and seconds of each node.
        live: Directory of the version that was live at its end.
        model: Directory of the version that holds its own model, if it was pushed.
        uncached: Nodes told not to use the cache, all if the list is empty.
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
        """Whether it was to run only a part of the pipeline."""
        return bool(self.first or self.last)

    def log_of(self, name: str) -> Path:
        """Where the output of a node, or of the runner, goes."""
        return self.directory / "logs" / f"{name}.log"

    def save(self) -> None:
        """Writes the record; a reader sees the old one or the new one."""
        (self.directory / "logs").mkdir(parents=True, exist_ok=True)
        values = {**vars(self), "directory": str(self.directory)}
        text = json.dumps(values, indent=1, sort_keys=True) + "\n"
        durable.write(self.directory / RECORD_FILE, text)

    def is_alive(self) -> bool:
        """Whether the process that runs it still lives."""
        if self.outcome is not Outcome.RUNNING:
            return False
        try:
            with _locked(self.directory / _LOCK_FILE):
                return False
        except BlockingIOError:
            return True


def new_run(config: Config) -> Run:
    """Names a run that begins now; nothing is written yet.

    A run that begins in the same second as another is given the next one: it must
    neither share the other's name nor come before it among the newest.
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
        UsageError: There is none, or it is not one of ours.
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
    """Holds a run's lock: as long as the block runs, the run is known to live.

    Raises:
        UsageError: Another process runs it.
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
    """Keeps a second run out of an output directory with a store of its own.

    A metadata store on a server takes several runs at once, and so nothing is held.

    Raises:
        UsageError: Another process holds the directory; names it.
    """
    if not url.is_file(config.metadata_url):
        yield
        return
    path = config.output.absolute() / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        # A killed run's nodes die with it, but need a moment to.
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
    """Finds the run whose model is live, if another run could only repeat it.

    Args:
        config: What is to run.

    Returns:
        The newest run of every node that ended well, had the same configuration, code,
        locked versions and data, is in the metadata store, and whose model is live
        and whole; else none.

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
    """Whether the metadata store knows a run: it may have been deleted since."""
    # MLMD takes a third of a second to import, which only a likely answer is worth.
    from ml_metadata.metadata_store.metadata_store import MetadataStore

    from pipeline.store import connection, graph

    if not connection.exists(config.metadata_url):
        return False
    store = MetadataStore(connection.open_store(config.metadata_url))
    return bool(graph.executions_of_run(store, run.run_id))


def definition_of(config: Config) -> str:
    """Digests what decides the result but for the data: settings, code, versions."""
    settings = json.dumps(to_json(config), sort_keys=True)
    files = [*sources(), LOCK_OF_VERSIONS, config.schema]
    contents = [digest(path.read_bytes()) for path in files if path.is_file()]
    return digest("\n".join([settings, *contents]))


def data_digest(config: Config) -> str:
    """Digests names and contents of the files that would be read now.

    Raises:
        DataRefusedError: There are none.
    """
    directory = config.data_directory
    selection = spans.select(directory, config.pattern, config.wanted_spans)
    memory = config.output / digests.MEMORY_FILE
    splits = digests.splits_of(selection)
    return digest(digests.fingerprint(directory, splits, memory))


def to_json(config: Config) -> dict[str, Any]:
    """Turns a configuration into what JSON can hold, without a password."""
    shown = url.redact(config.metadata) if config.metadata else None
    values = dataclasses.asdict(replace(config, metadata=shown))
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def from_json(values: Mapping[str, Any]) -> Config:
    """Turns back what `to_json` wrote; a password that was left out stays so."""
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
    """Takes a file's lock for as long as the stack lives; false if another has it."""
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
    """Holds a file's lock, which the kernel lets go when the process dies.

    Raises:
        BlockingIOError: Another process holds it.
    """
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
