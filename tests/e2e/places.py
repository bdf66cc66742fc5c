"""Output directories with small data beside them, in which the pipeline runs."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.runs import Finished, Rows, finished, write_csv
from tests.e2e.warm import Forked, WarmProcess

SMALL_ROWS = 600
# So little is learned from so few rows that any model must do; nor does it matter here
# how long a busy machine takes to answer.
FLAGS = (
    *("--preset", "smoke", "--min-auc", "0.01", "--max-auc-loss", "1"),
    *("--serving-check.max-latency-ms", "60000"),
)


class Place:
    """An output directory with small data beside it, and ways to run in it."""

    def __init__(self, root: Path, warm: WarmProcess, rows: Rows) -> None:
        self.output = root / "out"
        self.data = write_csv(root / "data" / "trips.csv", rows[:SMALL_ROWS])
        self.flags = (*FLAGS, "--data", str(self.data))
        self._warm = warm

    def run(self, *flags: object, kill: str = "", columns: int = 0) -> Finished:
        """Runs to the end; see `WarmProcess.run`."""
        code, text = self._warm.run(
            self.output, *self.flags, *flags, kill=kill, columns=columns
        )
        return finished(code, text, self.output)

    def resume(self, *, kill: str = "") -> Finished:
        """Resumes the run that was stopped, to the end."""
        code, text = self._warm.run(self.output, "--resume", kill=kill)
        return finished(code, text, self.output)

    def start(self, *flags: object) -> Forked:
        """Starts a run and doesn't wait for it."""
        return self._warm.begin(self.output, *self.flags, *flags)

    def start_resume(self) -> Forked:
        """Starts to resume the run that was stopped, and doesn't wait for it."""
        return self._warm.begin(self.output, "--resume")


@contextmanager
def restoring(output: Path, kept: Path) -> Iterator[None]:
    """Restores an output directory after the block to what it was before.

    A copy elsewhere would not do: metadata and cache keys have its path.

    Args:
        output: The output directory.
        kept: A directory for the copy, which must not exist.
    """
    shutil.copytree(output, kept, symlinks=True)
    try:
        yield
    finally:
        shutil.rmtree(output)
        shutil.move(kept, output)


def executions(output: Path) -> list[tuple[int, str, int]]:
    """Id, type and state of every execution in the store."""
    with sqlite3.connect(f"file:{output}/metadata.db?mode=ro", uri=True) as store:
        return store.execute(
            "SELECT e.id, t.name, e.last_known_state FROM Execution e"
            " JOIN Type t ON e.type_id = t.id ORDER BY e.id"
        ).fetchall()
