"""What the local runner decides before TFX is imported, and says when it ends."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, local, smoke
from pipeline.errors import UsageError
from pipeline.runners.local import run_record, runner
from pipeline.store.run_files import Outcome, Run


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration with a data directory of its own."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x\n1\n")
    return replace(smoke(), data=tmp_path / "data", output=tmp_path / "out")


def ended(config: Config, outcome: Outcome, last: str | None = None) -> Run:
    """Records a run that ended in some way."""
    run = run_record.new_run(config)
    run.outcome, run.last = outcome, last
    run.save()
    return run


def test_resume_takes_the_newest_that_stopped(config: Config) -> None:
    """What stopped last is gone on with, also after a part that ended well."""
    ended(config, Outcome.DONE)
    stopped = ended(config, Outcome.FAILED)
    ended(config, Outcome.DONE, last="Transform")

    assert runner._run_to_resume(config, runner.Options(resume=())) == stopped


@pytest.mark.parametrize("newer", [Outcome.DONE, Outcome.NOT_BLESSED])
def test_resume_does_not_go_back_behind_a_newer_end(
    config: Config, newer: Outcome
) -> None:
    """A run that was killed before another ended is resumed by its name alone."""
    stopped = ended(config, Outcome.FAILED)
    since = ended(config, newer)

    with pytest.raises(UsageError, match=f"Run {since.run_id} has ended since"):
        runner._run_to_resume(config, runner.Options(resume=()))

    named = runner.Options(resume=(stopped.run_id,))
    assert runner._run_to_resume(config, named) == stopped


def test_a_planned_stop_is_not_resumed(config: Config) -> None:
    """A run that proposed a schema did all that it was to do."""
    ended(config, Outcome.PROPOSED, last="SchemaGen")

    with pytest.raises(UsageError, match="has stopped before its end"):
        runner._run_to_resume(config, runner.Options(resume=()))


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({}, "throughline schema accept"),
        ({"name": "mine"}, "throughline schema accept --name mine"),
        (
            {"output": Path("my out"), "schema": Path("s.pbtxt")},
            "throughline schema accept --output 'my out' --schema s.pbtxt",
        ),
        (
            {"metadata": "mysql://me@host/db"},
            "throughline schema accept --metadata mysql://me@host/db",
        ),
        (
            {"metadata": "mysql://me:geheim@host/db"},
            (
                "throughline schema accept (with the store's URL in "
                "THROUGHLINE_METADATA)"
            ),
        ),
    ],
)
def test_the_hint_has_the_flags_it_needs(
    changes: dict[str, Any], hint: str, config: Config
) -> None:
    """What to type after a proposal finds the same store, and shows no password."""
    run = ended(config, Outcome.PROPOSED)

    said = runner._next_step(replace(local(), **changes), run)

    assert said == f"{hint}, when you have read the proposal"


def test_the_hint_to_resume_names_the_output(config: Config) -> None:
    """What to type after a failure finds the run."""
    run = ended(config, Outcome.FAILED)

    assert runner._next_step(replace(local(), output=Path("o")), run) == (
        "python run_local.py --resume --output o continues once the cause is fixed"
    )


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (None, "or your own data: README.md"),
        (Path("mine"), "throughline serve --name cars answers requests with it"),
    ],
)
def test_the_hint_after_a_push_depends_on_whose_data_it_is(
    data: Path | None, hint: str, config: Config
) -> None:
    """Who has data of their own already is shown how to ask the model."""
    run = ended(config, Outcome.DONE)

    said = runner._next_step(replace(local(), name="cars", data=data), run)

    assert hint in said


def test_what_has_not_changed_is_told_in_lines(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal's controls in a path are shown and not sent."""
    run = ended(config, Outcome.DONE)
    run.live = "/serving/\x1b[2J/7"

    runner._print_unchanged(run)

    assert r"model      /serving/\x1b[2J/7" in capsys.readouterr().out
