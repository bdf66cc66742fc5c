"""The local runner: parallel, resumable, cached, and never in its own way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.store.graph import Graph
from tests.e2e.runs import (
    PROJECT,
    Finished,
    Rows,
    finished,
    run_local,
    run_local_lightly,
    write_csv,
)
from tests.e2e.warm import Forked, WarmProcess

pytestmark = pytest.mark.e2e

FLAGS = ("--preset", "smoke", "--min-auc", "0.01", "--max-auc-loss", "1")
THROUGHLINE = (sys.executable, "-m", "pipeline.cli")
# Runs always: it looks at which model is live.
RESOLVER = {"Resolver"}


class Place:
    """An output directory with small data beside it, and ways to run in it."""

    def __init__(self, root: Path, warm: WarmProcess, rows: Rows) -> None:
        self.output = root / "out"
        self.data = write_csv(root / "data" / "trips.csv", rows[:600])
        self.flags = (*FLAGS, "--data", str(self.data))
        self._warm = warm

    def run(self, *flags: str) -> Finished:
        """Runs to the end."""
        code, text = self._warm.run(self.output, *self.flags, *flags)
        return finished(code, text, self.output)

    def resume(self) -> Finished:
        """Goes on with what was stopped."""
        code, text = self._warm.run(self.output, "--resume")
        return finished(code, text, self.output)

    def start(self, *flags: str) -> Forked:
        """Starts a run and doesn't wait for it."""
        return self._warm.begin(self.output, *self.flags, *flags)


@pytest.fixture
def place(tmp_path: Path, warm: WarmProcess, sample_rows: Rows) -> Place:
    """A place where nothing has run yet."""
    return Place(tmp_path, warm, sample_rows)


@pytest.fixture(scope="module")
def used(
    tmp_path_factory: pytest.TempPathFactory, warm: WarmProcess, sample_rows: Rows
) -> Place:
    """A place where the pipeline has run twice, so that all is in the cache."""
    place = Place(tmp_path_factory.mktemp("used"), warm, sample_rows)
    for flags in ((), ("--force",)):
        run = place.run(*flags)
        assert run.exit_code == 0, run.text
    return place


def ran(run: Finished) -> set[str]:
    """Component classes that the run executed, and not only took from the cache."""
    return {name for name, state in run.states().items() if state == "COMPLETE"}


def children_of(process: Forked) -> list[int]:
    """Process ids of the nodes that a runner runs."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in path.read_text().split()]


def test_independent_nodes_run_at_once(used: Place) -> None:
    """Two workers run two nodes at once, one worker runs one after the other."""
    two = used.run("--no-cache", "ImportSchemaGen", "ExampleGen", "--workers", "2")
    one = used.run("--force", "--workers", "1")

    def overlaps(text: str) -> bool:
        events = [line.split()[1:3] for line in text.splitlines() if line[2:3] == ":"]
        kinds = [kind for _, kind in events if kind in {"started", "done", "cached"}]
        return ("started", "started") in pairwise(kinds)

    assert overlaps(two.text)
    assert not overlaps(one.text)


def test_nothing_changed_is_told_without_tensorflow(used: Place) -> None:
    """An unchanged pipeline names the live model, and does not import TensorFlow."""
    before = finished(0, "", used.output)

    run = run_local_lightly(used.output, *used.flags)

    assert run.exit_code == 0, run.text
    assert "Nothing has changed" in run.text
    assert str(before.versions[-1]) in run.text
    assert run.run == before.run


def test_force_runs_from_the_cache(used: Place) -> None:
    """A forced run of what has not changed computes and pushes nothing anew."""
    before = finished(0, "", used.output)

    run = used.run("--force")

    assert run.exit_code == 0, run.text
    # The Pusher too looks at what is live, and finds nothing to do.
    assert ran(run) == RESOLVER | {"Pusher"}
    assert run.versions == before.versions


def test_changed_setting_runs_what_depends_on_it(used: Place) -> None:
    """A training setting runs the trainer and what follows; `explain` says why."""
    run = used.run("--learning-rate", "0.01")
    explained = subprocess.run(
        [*THROUGHLINE, "explain", "Trainer", "--output", str(used.output)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.exit_code == 0, run.text
    assert ran(run) == {"Trainer", "Evaluator", "Pusher"} | RESOLVER
    assert "hyperparameters.learning_rate: 0.002 -> 0.01" in explained.stdout


def test_incomplete_outputs_are_made_anew(place: Place) -> None:
    """A file missing from a cached output makes that node run again, and no other."""
    first = place.run()
    graph = first.output_of("Transform", "transform_graph")
    (graph / "transform_fn" / "saved_model.pb").unlink()

    second = place.run("--force", "--to", "Transform")

    assert second.exit_code == 0, second.text
    assert ran(second) == {"Transform"}
    anew = second.output_of("Transform", "transform_graph")
    assert (anew / "transform_fn" / "saved_model.pb").is_file()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--only", "Trainer"), {"Trainer"}),
        (("--from", "Trainer"), {"Trainer", "Evaluator", "Pusher"} | RESOLVER),
        (
            ("--from", "Trainer", "--to", "Evaluator"),
            {"Trainer", "Evaluator", *RESOLVER},
        ),
    ],
)
def test_part_runs_on_top_of_earlier_outputs(
    flags: tuple[str, ...], expected: set[str], used: Place
) -> None:
    """`--from`, `--to` and `--only` run that part, and take the rest as it is."""
    run = used.run("--no-cache", *sorted(expected - RESOLVER), *flags)

    assert run.exit_code == 0, run.text
    assert ran(run) == expected
    # What was not run counts as this run's own, so that lineage is whole.
    assert "Transform" in Graph(run.store).outputs_of_run(run.run.name)


def test_wrong_node_lists_the_right_ones(used: Place) -> None:
    """A node that does not exist ends with 2 and the names of those that do."""
    run = used.run("--only", "Trainr")

    assert run.exit_code == 2
    assert "'Trainr'" in run.text
    assert "Trainer" in run.text


def test_interrupted_run_is_resumed(place: Place) -> None:
    """Ctrl-C stops the nodes, marks them canceled, and the run can be resumed."""
    process = place.start()
    process.wait_for("Transform         started")
    time.sleep(1)
    nodes = children_of(process)

    os.kill(process.pid, signal.SIGINT)
    interrupted = finished(*process.communicate(), place.output)
    states = interrupted.states()
    resumed = place.resume()

    assert interrupted.exit_code == 130
    assert "--resume" in interrupted.text
    assert nodes
    assert not any(Path(f"/proc/{pid}").exists() for pid in nodes)
    assert states["Transform"] == "CANCELED"
    assert resumed.exit_code == 0, resumed.text
    assert resumed.run == interrupted.run
    assert "ExampleGen        started" not in resumed.text
    assert set(resumed.states().values()) == {"COMPLETE"}


def test_dead_node_takes_nothing_else_down(place: Place) -> None:
    """A node killed by the system ends the run with 1; a resume repeats only it."""
    process = place.start()
    process.wait_for("Transform         started")
    time.sleep(1)
    for pid in children_of(process):
        name = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert name
        os.kill(pid, signal.SIGKILL)

    failed = finished(*process.communicate(), place.output)
    states = failed.states()
    resumed = place.resume()

    assert failed.exit_code == 1
    assert "Transform failed" in failed.text
    assert "killed by SIGKILL" in failed.text
    assert states["Transform"] == "FAILED"
    assert resumed.exit_code == 0, resumed.text
    assert resumed.run == failed.run
    assert "StatisticsGen     started" not in resumed.text


def test_nodes_die_with_their_runner(place: Place) -> None:
    """When the runner is killed its nodes end too, and the next run works."""
    process = place.start()
    process.wait_for("Transform         started")
    time.sleep(1)
    nodes = children_of(process)

    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while any(_is_alive(pid) for pid in nodes) and time.monotonic() < deadline:
        time.sleep(0.05)
    after = place.run()

    assert nodes
    assert not any(_is_alive(pid) for pid in nodes)
    assert after.exit_code == 0, after.text
    assert {"COMPLETE", "CACHED"} == set(after.states().values())


def _is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_second_run_names_the_first(place: Place) -> None:
    """A run in a directory in use says which process uses it, and ends with 2."""
    process = place.start()
    process.wait_for("started")

    second = place.run()
    os.kill(process.pid, signal.SIGINT)
    process.communicate()

    assert second.exit_code == 2
    assert f"process {process.pid}" in second.text


def test_edited_code_runs_what_uses_it(tmp_path: Path, sample_rows: Rows) -> None:
    """An edit of the model spares Transform; one of the preprocessing does not."""
    copy = tmp_path / "project"
    for name in ("pipeline", "models", "data", "schema"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, copy / name, ignore=ignored)
    shutil.copy(PROJECT / "run_local.py", copy)
    data = write_csv(tmp_path / "data" / "trips.csv", sample_rows[:600])
    output = tmp_path / "out"
    flags = (*FLAGS, "--data", data)

    trainer, transform = ("--to", "Trainer"), ("--to", "Transform")

    first = run_local(output, *flags, *trainer, project=copy)
    _append(copy / "models" / "model.py", "# edited")
    model = run_local(output, *flags, *trainer, project=copy)
    _append(copy / "models" / "preprocessing.py", "# edited")
    preprocessing = run_local(output, *flags, *transform, project=copy)

    assert first.exit_code == model.exit_code == preprocessing.exit_code == 0
    assert ran(model) == {"Trainer"}
    assert ran(preprocessing) == {"Transform"}


def _append(path: Path, line: str) -> None:
    path.write_text(f"{path.read_text()}\n{line}\n")


def test_gc_spares_what_models_came_from(place: Place) -> None:
    """`gc` frees what old runs left, and never what a blessed model was made from."""
    blessed = place.run()
    place.run("--seed", "2", "--min-auc", "0.9999")
    place.run("--seed", "3", "--min-auc", "0.9999")
    command = [*THROUGHLINE, "gc", "--keep", "1"]
    where = ["--output", str(place.output)]
    models = place.output / "artifacts" / "Trainer" / "model"
    before = _by_age(models)

    dry = _text_of([*command, *where, "--dry-run"])
    still = _by_age(models)
    freed = _text_of([*command, *where])
    again = _text_of([*command, *where])

    assert still == before
    assert len(before) == 3
    # The refused model of the second run is gone; blessed and newest ones stay.
    assert _by_age(models) == [before[0], before[2]]
    assert before[0] == blessed.output_of("Trainer", "model")
    assert "would be freed" in dry
    assert freed.replace("freed", "would be freed") == dry
    assert again.startswith("0 artifacts")
    assert place.run().exit_code == 0


def test_summary_and_serving_agree_when_models_come_back(place: Place) -> None:
    """The model that a run names as its own is live, also one that was live before."""
    seeds = ("1", "2", "1", "2", "1")

    runs = [place.run("--seed", seed) for seed in seeds]
    same = place.run("--seed", "1")
    models = [*THROUGHLINE, "models"]
    reason = ["--because", "complaints", "--output", str(place.output)]
    rolled_back = json.loads(_text_of([*models, "rollback", "--json", *reason]))
    held_back = place.run("--seed", "1")
    restored = place.run("--seed", "2")
    (restored.versions[-1] / "saved_model.pb").write_text("")
    mended = place.run("--seed", "2")
    for kind in ("db", "db-journal"):
        (place.output / f"metadata.{kind}").unlink(missing_ok=True)
    anew = place.run("--seed", "2")

    for count, run in enumerate(runs, start=1):
        assert run.exit_code == 0, run.text
        assert len(run.versions) == count
        assert f"model      {run.versions[-1]}\n" in run.text
    assert f"the model of version {runs[2].versions[-1].name} is back" in runs[4].text
    assert "Nothing has changed" in same.text
    assert str(runs[-1].versions[-1]) in same.text
    live = held_back.versions[-1]
    assert live.name == str(rolled_back["live"])
    assert held_back.exit_code == 4, held_back.text
    assert "Blessed, but not pushed: this model was live as version" in held_back.text
    assert "complaints" in held_back.text
    assert f"live       {live}\n" in held_back.text
    assert "Nothing has changed" in restored.text
    assert weights_equal(runs[1].versions[-1], mended.versions[-1])
    assert f"version {live.name} is damaged (saved_model.pb is empty)" in mended.text
    assert "Nothing has changed" not in anew.text
    assert anew.exit_code == 0, anew.text


def weights_equal(one: Path, other: Path) -> bool:
    """Whether two versions hold the same weights, bit by bit."""
    name = "variables/variables.data-00000-of-00001"
    return (one / name).read_bytes() == (other / name).read_bytes()


def _by_age(directory: Path) -> list[Path]:
    return sorted(directory.iterdir(), key=lambda path: int(path.name))


def _text_of(command: list[str]) -> str:
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_record_says_how_a_run_went(used: Place) -> None:
    """run.json holds configuration, outcome, and each node's state and seconds."""
    run = used.run("--force")

    record = json.loads((run.run / "run.json").read_text())

    assert record["outcome"] == "done"
    assert record["exit_code"] == 0
    assert record["live"] == str(run.versions[-1])
    assert record["config"]["train_steps"] == 50
    assert record["nodes"]["Transform"]["state"] == "cached"
    assert record["nodes"]["Transform"]["seconds"] >= 0
