"""`throughline monitor`: the newest requests, on the command line."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from operations.requests import directory_of
from pipeline import cli
from pipeline.config import Config
from tests.operations import live_models, request_logs
from tests.operations.request_logs import START

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(
    config: Config, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Ask:
    """Runs the command; returns exit code, output and errors."""
    monkeypatch.delenv("THROUGHLINE_METADATA", raising=False)

    def run(*arguments: Any) -> tuple[int, str, str]:
        words = [str(each) for each in (*arguments, "--output", config.output)]
        code = cli.exit_code(lambda: cli.COMMANDS["monitor"](words))
        return code, *capfd.readouterr()

    return run


def test_an_alarm_is_exit_code_5(ask: Ask, config: Config) -> None:
    """Without one it is 0; both print a line, the page and the gauges."""
    trips = request_logs.trips(1000)
    live_models.push(config, trips)
    log = directory_of(config)
    for day, scale in ((0, 1.0), (1, 1.609)):
        since = START + timedelta(days=day)
        changed = trips.assign(trip_miles=trips["trip_miles"] * scale)
        until = since + timedelta(days=1)
        request_logs.write_trips(log, changed, since, until)

    quiet = ask("--until", "2026-03-02")
    alarm = ask("--until", "2026-03-03T00:00", "--json")

    assert quiet[0] == 0, quiet
    assert quiet[1].startswith("no alarm for taxi version")
    page = Path(quiet[1].split("page ")[1].splitlines()[0])
    assert "Monitoring of taxi" in page.read_text()
    assert alarm[0] == 5
    found = json.loads(alarm[1])
    assert {each["column"] for each in found["alarms"]} == {"trip_miles"}
    assert (quiet[2], alarm[2]) == ("", "")


def test_mistakes_end_with_2(ask: Ask, config: Config) -> None:
    """What is wrong is named."""
    assert ask()[0] == 2
    assert "no version is live" in ask()[2]
    code, _, said = ask("--until", "soon")
    assert (code, "'soon' is no time" in said) == (2, True)
