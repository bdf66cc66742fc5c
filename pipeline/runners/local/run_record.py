"""A run's record: how it begins, and what a later run learns from it.

Importing this imports neither TFX nor TensorFlow, so "nothing has changed" is told at
once.
"""

import dataclasses
import json
import os
import time
import typing
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.caching.fingerprint import digest, sources
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.ingestion import digests, spans
from pipeline.project.settings_file import PROJECT
from pipeline.registry import versions
from pipeline.store import clock, locks, url
from pipeline.store.run_files import LOCK_FILE, Outcome, Run, read_runs

_TIME_FORMAT = "%Y%m%d-%H%M%S"
_DYING_SECONDS = 10
LOCK_OF_VERSIONS = PROJECT / "requirements.lock"


def new_run(config: Config, name: str = "") -> Run:
    """Creates the record of a run that starts now, without writing it.

    Args:
        config: Its settings.
        name: Its name, see `new_name`; by its time and definition if empty.
    """
    definition = definition_of(config)
    run_id = name or new_name(config, clock.now(), definition[:8])
    return Run(
        run_id=run_id,
        directory=config.runs_directory / run_id,
        definition=definition,
        data=data_digest(config),
        config=to_json(config),
    )


def new_name(config: Config, now: datetime, digits: str) -> str:
    """Returns a name for a run: its time in UTC and digits of a hash.

    If another run started in the same second, the name gets the next free second: names
    must be unique, and sort in the order of their start.

    Args:
        config: Names the directory of the runs.
        now: When it starts.
        digits: What distinguishes it from other runs.
    """
    while any(config.runs_directory.glob(f"{now:{_TIME_FORMAT}}-*")):
        now += timedelta(seconds=1)
    return f"{now:{_TIME_FORMAT}}-{digits}"


@contextmanager
def held(run: Run) -> Iterator[None]:
    """Holds a run's lock during the block, which marks the run as alive.

    Raises:
        UsageError: Another process holds the lock.
    """
    run.directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if not _entered(stack, run.directory / LOCK_FILE):
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
    # After a rollback, the live version has the files of the one that the run pushed.
    holders = {str(path) for path in versions.holders(live)}
    candidates = [
        run
        for run in read_runs(config.runs_directory)
        if run.outcome is Outcome.DONE and not run.is_part and run.model in holders
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

    from pipeline.store import connection
    from pipeline.store.graph import Graph

    if not connection.exists(config.metadata_url):
        return False
    store = MetadataStore(connection.open_store(config.metadata_url))
    return bool(Graph(store).ids_of_run(run.run_id))


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
    """Turns back what `to_json` wrote; a password that was left out stays so.

    Raises:
        UsageError: It has a setting that there is no more, as of an older version.
    """
    config: Config = _build(Config, values)
    return config


def _build(kind: type[Any], values: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    if unknown := sorted(values.keys() - hints.keys()):
        raise UsageError(
            f"The run was recorded by another version, with {', '.join(unknown)} among "
            "its settings; `python run_local.py` starts a new one, which takes from "
            "the cache what still fits"
        )
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
        stack.enter_context(locks.exclusive(path))
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
