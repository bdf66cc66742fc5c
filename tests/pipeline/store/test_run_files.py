"""Records of runs, as they are written and read."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UsageError
from pipeline.store.run_files import (
    LOCK_FILE,
    RECORD_FILE,
    Outcome,
    Run,
    read_run,
    read_runs,
)


def saved(root: Path, name: str = "20260131-100000-abcd", **values: Any) -> Run:
    """Writes the record of a run."""
    fields = {"definition": "d", "data": "f", "config": {"seed": 7}, **values}
    run = Run(name, root / name, **fields)
    run.save()
    return run


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every field comes back, and the directory is where the record is."""
    run = saved(
        tmp_path,
        outcome=Outcome.DONE,
        exit_code=0,
        nodes={"Trainer": {"state": "done", "seconds": 1.5}},
        live="/serving/1",
        uncached=[],
    )

    assert read_run(run.directory) == run
    assert read_runs(tmp_path) == [run]
    moved = run.directory.rename(tmp_path / "moved")
    assert read_run(moved).directory == moved


def test_runs_are_read_oldest_first(tmp_path: Path) -> None:
    """Names begin with the time, and their order is that of the runs."""
    names = ["20260201-100000-b", "20260131-100000-c", "20260301-100000-a"]
    for name in names:
        saved(tmp_path, name)

    assert [run.run_id for run in read_runs(tmp_path)] == sorted(names)


def test_an_unknown_run_is_answered_with_the_newest(tmp_path: Path) -> None:
    """The error has the name that was asked for and at most five that exist."""
    for day in range(1, 8):
        saved(tmp_path, f"2026010{day}")

    with pytest.raises(UsageError, match="no run nope") as error:
        read_run(tmp_path / "nope")

    assert str(error.value).endswith("20260103, 20260104, 20260105, 20260106, 20260107")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"outcome": "done"}', '{"outcome": "of a newer version"}'],
)
def test_an_unreadable_record_costs_no_other_run(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged record is skipped with a warning that names it."""
    run = saved(tmp_path)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / RECORD_FILE).write_text(content)

    assert read_runs(tmp_path) == [run]
    assert f"{damaged / RECORD_FILE} can't be read" in caplog.text


def test_a_field_of_a_newer_version_is_skipped(tmp_path: Path) -> None:
    """A record with a field that this version doesn't know is left out."""
    path = saved(tmp_path).directory / RECORD_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "weather": "fine"}))

    assert read_runs(tmp_path) == []


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(None, None, False), ("Trainer", None, True), (None, "Trainer", True)],
)
def test_a_run_with_a_first_or_last_node_is_a_part(
    first: str | None, last: str | None, tmp_path: Path, *, expected: bool
) -> None:
    """Only a run of all nodes is a whole one."""
    assert saved(tmp_path, first=first, last=last).is_part is expected


def test_a_run_without_a_process_is_not_alive(tmp_path: Path) -> None:
    """Nobody holds the lock of a run that was killed; one that ended isn't asked."""
    (killed := saved(tmp_path)).directory.joinpath(LOCK_FILE).touch()
    ended = saved(tmp_path, "ended", outcome=Outcome.FAILED)

    assert not killed.is_alive()
    assert not ended.is_alive()


def test_logs_are_named_by_node(tmp_path: Path) -> None:
    """Each node has a log in the run's directory."""
    run = saved(tmp_path)

    assert run.log_of("Trainer") == run.directory / "logs" / "Trainer.log"
    assert (run.directory / "logs").is_dir()
