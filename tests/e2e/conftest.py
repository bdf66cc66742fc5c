"""What the end-to-end tests share: the main job's run, and small data."""

import csv
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data import taxi
from tests.e2e.places import SMALL_ROWS, Place, restoring
from tests.e2e.runs import (
    PROJECT,
    SECOND_RUN,
    Finished,
    Rows,
    files_of_project,
    finished,
    in_clone,
    write_csv,
)
from tests.e2e.warm import WarmProcess


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """Lets processes that tests start be interrupted.

    A script that starts the tests with `&` has Ctrl-C ignored, and children inherit it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def sample_rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The trips of the sample."""
    path = taxi.write_sample(tmp_path_factory.mktemp("sample"))
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def small_data(tmp_path: Path, sample_rows: Rows) -> Callable[..., Path]:
    """Makes a data directory of the first trips, changed by a function."""

    def make(change: Callable[[Rows], Rows] = lambda rows: rows) -> Path:
        rows = [dict(row) for row in sample_rows[:SMALL_ROWS]]
        return write_csv(tmp_path / "data" / "trips.csv", change(rows))

    return make


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone, as git would make it of the working tree, in an awkward place."""
    target = tmp_path_factory.mktemp("fresh") / "a clone"
    for name in files_of_project():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, target / name)
    return target


@pytest.fixture(scope="session")
def main_run(clone: Path) -> Finished:
    """`make run` in the fresh clone: the environment, then the main job."""
    # Typed by a person: not by the make that may have started these tests.
    # What `make test ARGS=…` was given is not for the clone's `make run`.
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "ARGS"))
    }
    done = subprocess.run(
        ["make", "run"],
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
        check=False,
    )
    return finished(done.returncode, done.stdout, clone / "output")


@pytest.fixture(scope="session")
def second_run(clone: Path, main_run: Finished) -> Finished:
    """The README's second run, in the same place with another seed."""
    assert main_run.exit_code == 0, main_run.text
    done = in_clone(clone, SECOND_RUN)
    return finished(done.returncode, done.stdout + done.stderr, main_run.output)


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmProcess]:
    """A process that has imported TFX and runs the pipeline on request."""
    process = WarmProcess.start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def settled_runs(
    tmp_path_factory: pytest.TempPathFactory, warm: WarmProcess, sample_rows: Rows
) -> tuple[Place, Finished]:
    """A place where the pipeline has run twice, and its first run, in a terminal."""
    place = Place(tmp_path_factory.mktemp("settled"), warm, sample_rows)
    first = place.run(columns=80)
    for run in (first, place.run("--force")):
        assert run.exit_code == 0, run.text
    return place, first


@pytest.fixture(scope="session")
def settled(settled_runs: tuple[Place, Finished]) -> Place:
    """A place where every node is cached.

    Tests may run in it what pushes nothing and what no other node depends on.
    """
    return settled_runs[0]


@pytest.fixture(scope="module")
def restored(
    settled: Place, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """The settled place, which the tests of one file may change in every way."""
    with restoring(settled.output, tmp_path_factory.mktemp("kept") / "out"):
        yield settled
