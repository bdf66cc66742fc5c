"""`throughline predict`: flags, the version, and what is stored with the scores."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from pipeline import cli
from pipeline.config import Config
from pipeline.registry.changes import Author, push
from pipeline.registry.versions import identity
from tests.pipeline.prediction.small_model import save

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(config: Config, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Ask:
    """Runs the command on a file of one row; returns exit code, output and errors."""
    (tmp_path / "rows.csv").write_text("hour,fare,payment\n3,5,Card\n")

    def run(*arguments: Any) -> tuple[int, str, str]:
        given = ["--data", str(tmp_path / "rows.csv"), "--output", str(config.output)]
        # TensorFlow may have said something when the test made its model.
        capfd.readouterr()
        code = cli.exit_code(lambda: cli.COMMANDS["predict"]([*given, *arguments]))
        return code, *capfd.readouterr()

    return run


def test_scores_say_which_version_made_them(
    ask: Ask, config: Config, tmp_path: Path
) -> None:
    """The live version is used, or another one by number or alias."""
    author = Author(by="run monday", run="monday")
    model = save(tmp_path / "model")
    for number in (1, 2):
        # An equal model would not be one to roll back to.
        (model / "assets" / "number").write_text(str(number))
        origin = identity(number, f"/m/{number}", 7)
        push(model, config.serving_directory, origin, author)
    out = tmp_path / "scores.parquet"
    found = {}
    for version in ("live", "previous"):
        code, said, err = ask("--out", str(out), "--model", version)
        assert (code, err) == (0, "")
        about = json.loads(parquet.read_metadata(out).metadata[b"throughline"])
        assert f"1 rows scored by version {about['version']} in" in said
        found[version] = about

    assert found["live"]["origin"]["model_id"] == 2
    assert found["live"]["version"] > found["previous"]["version"]
    assert (found["live"]["model"], found["live"]["run"]) == ("taxi", "monday")
    assert parquet.read_table(out)["probability"].to_pylist() == [3.5]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is no version 'live' in"),
        (["--model", "7"], "there is no version '7' in"),
        (["--max-quarantined", "2"], "max-quarantined is 2.0; it must be 0 to 1"),
    ],
)
def test_mistakes_end_with_2(
    arguments: list[str], said: str, ask: Ask, tmp_path: Path
) -> None:
    """What is wrong is named before anything is loaded."""
    code, _, err = ask("--out", str(tmp_path / "scores.csv"), *arguments)

    assert code == 2
    assert said in err
