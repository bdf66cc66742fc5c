"""Attempts of runs: names, ends, and what was killed."""

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operations import facts
from operations.decisions import Action, Attempt, Decision, text_of
from operations.launching import Launcher
from pipeline.config import Config
from pipeline.errors import EXIT_INTERRUPTED
from pipeline.runners.local import run_record
from pipeline.store.run_files import Outcome
from tests.operations.request_logs import START

AT = text_of(START)


def launcher(config: Config, code: int = 0) -> Launcher:
    """Starts a process that prints its arguments and ends with a code."""
    program = f"import sys; print(sys.argv[1:]); sys.exit({code})"
    book = facts.decisions_of(config)
    command = (sys.executable, "-c", program)
    facts.directory_of(config).mkdir(parents=True, exist_ok=True)
    return Launcher(config, book, lambda: START, book.directory / "logs", command)


@pytest.fixture
def decided(config: Config) -> Decision:
    """A decision to run, on one file."""
    config.data_directory.mkdir()
    (config.data_directory / "a.csv").write_text("a\n1\n")
    values = run_record.to_json(config)
    made = Decision(0, "abc", Action.RUN, "span", "new", AT, {}, values)
    return facts.decisions_of(config).add(made, [])


def test_an_attempt_is_noted_from_start_to_end(
    config: Config, decided: Decision
) -> None:
    """With its process and its log, which has what it printed."""
    ours = launcher(config)

    done = ours.attempt(decided)

    (attempt,) = done.attempts
    path = ours.decisions.path_of(decided)
    assert facts.decisions_of(config).all() == [done]
    assert (done.ended, attempt.exit_code) == (AT, 0)
    assert attempt.run_id == f"{START:%Y%m%d-%H%M%S}-abc"
    log = (ours.logs / f"{attempt.run_id}.txt").read_text()
    assert log == f"{[str(path), attempt.run_id]}\n"


@pytest.mark.parametrize(
    ("code", "is_open", "said"),
    [
        (1, 1, "failed with 1; "),
        (2, 1, "could not start; "),
        (3, 0, "was stopped by the data gate; "),
        (130, 1, "was interrupted, and is resumed; "),
    ],
)
def test_how_it_ended(
    config: Config, decided: Decision, code: int, is_open: int, said: str
) -> None:
    """Only what may end otherwise the next time stays open; the log is named."""
    done = launcher(config, code).attempt(decided)

    assert int(done.is_open) == is_open
    assert said in done.outcome
    assert done.outcome.endswith(".txt")


def killed(config: Config, decided: Decision, outcome: Outcome) -> Decision:
    """The decision after its process was killed, its run's record left behind."""
    run = run_record.new_run(config, "r1")
    run.outcome, run.exit_code = outcome, 4 if outcome is Outcome.NOT_BLESSED else None
    run.save()
    attempt = Attempt("r1", AT)
    book = facts.decisions_of(config)
    return book.save(replace(decided, attempts=(attempt,)))


def test_a_run_that_ended_alone_is_adopted(config: Config, decided: Decision) -> None:
    """With the exit code of its record."""
    left = killed(config, decided, Outcome.NOT_BLESSED)

    adopted = launcher(config).adopted(left, facts.gather(config, START))

    assert adopted.attempts[0].exit_code == 4
    assert not adopted.is_open
    assert "pushed nothing: its model was not blessed" in adopted.outcome


def test_the_node_that_failed_is_named(config: Config, decided: Decision) -> None:
    """With the first line of its cause, so that a notification says what broke."""
    left = killed(config, decided, Outcome.FAILED)
    run = run_record.new_run(config, "r1")
    run.outcome, run.exit_code = Outcome.FAILED, 1
    done: dict[str, Any] = {"state": "done", "seconds": 1.0, "cause": None}
    run.nodes = {"ExampleGen": done, "Trainer": {**done, "cause": "no disk\nmore"}}
    run.save()

    adopted = launcher(config).adopted(left, facts.gather(config, START))

    assert adopted.outcome.startswith("run r1 failed with 1: Trainer: no disk; ")


def test_a_run_that_was_killed_is_resumed(config: Config, decided: Decision) -> None:
    """Under its own name; under a new one if code or data has changed since."""
    left = killed(config, decided, Outcome.RUNNING)
    ours = launcher(config)
    failed = ours.adopted(left, facts.gather(config, START))

    same = ours.attempt(failed)
    (config.data_directory / "a.csv").write_text("a\n2\n")
    other = ours.attempt(failed)

    assert failed.attempts[0].exit_code == -signal.SIGKILL
    assert [attempt.run_id for attempt in same.attempts] == ["r1", "r1"]
    assert other.attempts[1].run_id != "r1"


def test_an_interrupted_run_is_resumed(config: Config, decided: Decision) -> None:
    """SIGTERM is no failure."""
    left = killed(config, decided, Outcome.INTERRUPTED)
    stopped = replace(left.attempts[0], ended=AT, exit_code=EXIT_INTERRUPTED)

    done = launcher(config).attempt(replace(left, attempts=(stopped,)))

    assert done.attempts[1].run_id == "r1"
    assert Path(launcher(config).logs).is_dir()
