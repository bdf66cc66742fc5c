"""What a run leaves in its directory: its record, and the names of the other files.

`output/runs/<run_id>/run.json` says what ran, how, and how it ended. A run holds a lock
on its own directory for as long as its process lives, so a dead one is known for sure.
Importing this imports neither TFX nor TensorFlow, nor MLMD.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError, printable
from pipeline.store import durable, locks

_LOG = logging.getLogger(__name__)
RECORD_FILE = "run.json"
REPORT_FILE = "report.html"
IR_FILE = "ir.json"
"""The compiled pipeline."""
DAG_FILE = "dag.json"
"""Its nodes, each with those that it waits for."""
LOCK_FILE = "lock"


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
            with locks.exclusive(self.directory / LOCK_FILE):
                return False
        except BlockingIOError:
            return True


def read_runs(directory: Path) -> list[Run]:
    """Reads the records of all runs below a directory, oldest first.

    A record that can't be read, such as one of a newer version, is skipped with a
    warning: one damaged file must not keep later runs from starting.
    """
    records = sorted(directory.glob(f"*/{RECORD_FILE}"))
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
