"""The files in a run's directory: its record (run.json), and the names of the others.

`output/runs/<run_id>/run.json` has the settings of the run, its nodes and its outcome.
A run holds a lock in its directory as long as its process lives, so a killed run is
detected reliably. Importing this module imports neither TFX, TensorFlow nor MLMD.
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
"""Its nodes, each with its upstream nodes."""
LOCK_FILE = "lock"


class Outcome(StrEnum):
    """The outcome of a run."""

    RUNNING = "running"
    DONE = "done"
    NOT_BLESSED = "not blessed"
    NOT_PUSHED = "not pushed"
    """Blessed, but rolled back before."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    PROPOSED = "schema proposed"


@dataclass
class Run:
    """A run, and the fields of its record.

    Attributes:
        run_id: Its start time (UTC) and the first digits of `definition`, so that a
            changed pipeline is never the same run.
        directory: Its own directory.
        definition: Digest of the configuration, the code and the locked versions.
        data: Digest of the names and contents of the data files.
        config: Its settings, without a password in the metadata store's URL.
        outcome: Its outcome.
        exit_code: Exit code of its process.
        first: First node of a partial run; `None` for no lower bound.
        last: Last node of a partial run; `None` for no upper bound.
        nodes: State and seconds of each node.
        live: Directory of the version that was live at its end.
        model: Directory of the version that holds its own model, if it was pushed.
        uncached: Uncached nodes: `None` = none, `[]` = all.
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
        """Whether it is a partial run."""
        return bool(self.first or self.last)

    def log_of(self, name: str) -> Path:
        """Returns the log file of a node, or of the runner."""
        return self.directory / "logs" / f"{name}.log"

    def save(self) -> None:
        """Writes the record atomically."""
        (self.directory / "logs").mkdir(parents=True, exist_ok=True)
        values = {**vars(self), "directory": str(self.directory)}
        text = json.dumps(values, indent=1, sort_keys=True) + "\n"
        durable.write(self.directory / RECORD_FILE, text)

    def is_alive(self) -> bool:
        """Whether its process is still running."""
        # A process that is killed leaves "running" behind, so only the lock can say.
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
            _LOG.warning("%s; the run is skipped", printable(str(error)))


def read_run(directory: Path) -> Run:
    """Reads the record of a run.

    Raises:
        UsageError: There is no record, or it can't be read.
    """
    try:
        values = json.loads((directory / RECORD_FILE).read_text())
        values["outcome"] = Outcome(values["outcome"])
        # From where it was found, not from the file: output/ may have been moved.
        return Run(**{**values, "directory": directory})
    except FileNotFoundError:
        names = sorted(p.parent.name for p in directory.parent.glob(f"*/{RECORD_FILE}"))
        known = ", ".join(names[-5:]) or "none"
        raise UsageError(
            f"There is no run {directory.name}; the newest are: {known}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{directory / RECORD_FILE} can't be read: {error}") from error
