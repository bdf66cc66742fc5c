"""`throughline operate` on the command line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operations import tick_lock
from operations.facts import directory_of
from operations.reconciler import Reconciler
from operations.settings import Inbox, Operate
from pipeline import cli
from pipeline.commands import operate
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.store import clock

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


def test_the_help_shows_its_own_flags(capsys: pytest.CaptureFixture[str]) -> None:
    """Before those of a run, so that who is called at night finds them."""
    with pytest.raises(SystemExit) as ended:
        cli.COMMANDS["operate"](["--help"])

    text = capsys.readouterr().out
    places = [text.find(flag) for flag in ("--status", "--go-on", "--stop-after")]
    assert ended.value.code == 0
    assert -1 not in places
    assert max(places) < text.index("--train-steps")
    assert "rolls back" in " ".join(text.split())


class Loop:
    """The loop of the command, a tick at a time.

    Attributes:
        inbox: A setting that the first tick finds wrong if it is no directory.
    """

    def __init__(self, config: Config, inbox: Path) -> None:
        """Begins nothing yet."""
        self.inbox = inbox
        options = Operate(inbox=Inbox(directory=inbox))
        lines = operate.Lines()
        self._ticks = operate.Ticks(
            Reconciler(config, options, clock.now, lines), lines
        )

    def tick(self) -> None:
        """Runs one tick."""
        self._ticks.next()


@pytest.fixture
def loop(config: Config, tmp_path: Path) -> Loop:
    """A loop over spans that don't exist yet."""
    inbox, data = tmp_path / "inbox", tmp_path / "data"
    inbox.mkdir()
    data.mkdir()
    return Loop(replace(config, data=data, pattern="span-{SPAN}/*.csv"), inbox)


def test_storage_that_goes_away_ends_no_loop(
    loop: Loop, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is reported once, and the first tick after its return is seen too."""
    loop.tick()
    loop.inbox.rmdir()
    loop.tick()
    loop.tick()
    loop.inbox.mkdir()
    loop.tick()

    out, err = capfd.readouterr()
    assert [line[21:] for line in out.splitlines()] == [
        "start: no model yet",
        "nothing new",
        "nothing new",
    ]
    (complaint,) = err.splitlines()
    assert f"inbox.directory is {loop.inbox}, which is not a directory" in complaint


def test_a_wrong_setting_ends_the_loop(loop: Loop) -> None:
    """The first tick finds it, and nobody waits for what never comes."""
    loop.inbox.rmdir()

    with pytest.raises(UsageError, match=r"inbox\.directory is "):
        loop.tick()


def test_an_empty_mount_point_is_no_new_model(
    loop: Loop, config: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without its decisions the loop waits, and creates nothing in their place."""
    loop.tick()
    away = config.output.rename(config.output.with_name(f"{config.output.name}-away"))
    loop.tick()
    left = list(config.output.parent.glob(config.output.name))
    away.rename(config.output)
    loop.tick()

    out, err = capfd.readouterr()
    assert left == []
    assert "is its storage mounted? Nothing is done until it is back" in err
    assert [line[21:] for line in out.splitlines()].count("start: no model yet") == 1


def test_another_process_at_work_ends_no_loop(
    loop: Loop, config: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    """A `--go-on` that a tick meets must not end the service."""
    with tick_lock.held(directory_of(config)):
        loop.tick()
    loop.tick()

    out, err = capfd.readouterr()
    assert out.splitlines()[0][21:].startswith("waits: process ")
    assert "start: no model yet" in out
    assert err == ""
