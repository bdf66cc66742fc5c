"""`throughline operate` on the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operations import tick_lock
from operations.facts import directory_of
from pipeline import cli
from pipeline.config import Config

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(
    config: Config,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Ask:
    """Runs the command on a data directory by span; exit code, output and errors."""
    monkeypatch.delenv("THROUGHLINE_METADATA", raising=False)
    (tmp_path / "data").mkdir()
    flags = ["--data", tmp_path / "data", "--pattern", "span-{SPAN}/*.csv"]

    def run(*arguments: Any) -> tuple[int, str, str]:
        given = [*arguments, *flags, "--output", config.output]
        words = [str(each) for each in given]
        code = cli.exit_code(lambda: cli.COMMANDS["operate"](words))
        return code, *capfd.readouterr()

    return run


def test_a_tick_and_its_status(ask: Ask) -> None:
    """Without data there is nothing to do, which is said; so is why to go on."""
    first, status = ask("--once"), ask("--status")
    on = ask("--go-on", "the disk was full")

    assert first[0] == 0
    assert [line[21:] for line in first[1].splitlines()] == [
        "start: no model yet",
        "nothing new",
    ]
    assert status[1].splitlines()[:2] == [
        "live       no version",
        "next       nothing new",
    ]
    assert "user: the disk was full" in on[1]
    assert (
        ask("--status")[1].splitlines()[-1].endswith("go on, user: the disk was full")
    )


def test_a_second_tick_at_the_same_time_does_nothing(ask: Ask, config: Config) -> None:
    """Which is no failure: cron may start one while a run goes on."""
    with tick_lock.held(directory_of(config)):
        code, out, _ = ask("--once")

    assert code == 0
    assert out.startswith("nothing done: process ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--once", "--status"], "give one of --once, --status and --go-on"),
        (["--once", "--span", "7"], "so new spans are never read"),
        (["--stop-after", "0"], "stop-after is 0; it must be at least 1"),
        (["--watch.hours", "-1"], "watch.hours is -1.0"),
    ],
)
def test_mistakes_end_with_2(arguments: list[str], said: str, ask: Ask) -> None:
    """What is wrong is named."""
    code, _, err = ask(*arguments)

    assert code == 2
    assert said in err
