"""`throughline labels`: from an outcome file to a span, on the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operations.requests import directory_of
from pipeline import cli
from pipeline.config import Config
from tests.operations import request_logs

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(
    config: Config,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Ask:
    """Runs the command on ten requests; returns exit code, output and errors."""
    monkeypatch.delenv("THROUGHLINE_METADATA", raising=False)
    request_logs.write_ten(directory_of(config))
    data = request_logs.write_training_data(tmp_path / "data")
    flags = ["--data", data, "--pattern", request_logs.PATTERN]

    def run(*arguments: Any) -> tuple[int, str, str]:
        given = [*arguments, *flags, "--output", config.output]
        words = [str(each) for each in given]
        code = cli.exit_code(lambda: cli.COMMANDS["labels"](words))
        return code, *capfd.readouterr()

    return run


def test_outcomes_become_a_span(ask: Ask, tmp_path: Path) -> None:
    """Counts and places are printed; the second time, that nothing was added."""
    file = tmp_path / "day.csv"
    file.write_text("request_id,tips\nr1,2\nr2,0\nother,1\n")

    first, second = (ask("add", file, "--window-days", 36500) for _ in range(2))

    assert (first[0], second[0]) == (0, 0)
    assert "3 outcomes: 2 joined, 1 orphaned" in first[1]
    assert f"span 8: 2 rows in {tmp_path}/data/span-008/labels-" in first[1]
    assert f"{file} was added 20" in second[1]
    assert "so nothing is added" in second[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ad"], "there is no action of labels 'ad'; did you mean 'add'?"),
        (["add", "--window-days", "0"], "window-days is 0.0; it must be above 0"),
        (["add", "nowhere.csv"], "there is no file nowhere.csv"),
        (["add", "--key", "fare"], "to join by columns give both"),
    ],
)
def test_mistakes_end_with_2(arguments: list[str], said: str, ask: Ask) -> None:
    """What is wrong is named before anything is read."""
    code, _, err = ask(*arguments)

    assert code == 2
    assert said in err
