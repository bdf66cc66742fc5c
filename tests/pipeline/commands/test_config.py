"""`throughline config` says what holds and where it comes from."""

import pytest

from pipeline import config as settings
from pipeline.commands import config


def shown(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> dict[str, list[str]]:
    """Returns value and origin of each setting."""
    assert config.config(arguments) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    return {name: rest for name, *rest in map(str.split, rows)}


def test_each_setting_has_an_origin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Defaults, the file, a preset, flags and the environment are told apart."""
    monkeypatch.setenv("THROUGHLINE_METADATA", "mysql://me:secret@h/d")
    of_file = {"name": "trips", "quality.min_auc": 0.8, "batch_size": 100}
    monkeypatch.setattr(settings, "project_settings", lambda: of_file)

    found = shown(["--preset", "smoke", "--seed", "3"], capsys)

    assert found["name"] == ["trips", "throughline.toml"]
    assert found["batch-size"] == ["100", "throughline.toml"]
    assert found["train-steps"] == ["50", "preset", "smoke"]
    assert found["quality.min-auc"] == ["0.6", "preset", "smoke"]
    assert found["seed"] == ["3", "flag"]
    assert found["data"] == ["-", "default"]
    assert found["metadata"][1:] == ["THROUGHLINE_METADATA"]
    assert "secret" not in str(found)


def test_without_flags_nothing_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The bare command shows defaults and the project's file."""
    found = shown([], capsys)

    assert found["seed"] == ["1", "default"]
    assert "flag" not in {words[-1] for words in found.values()}


def test_a_flag_wins(capsys: pytest.CaptureFixture[str]) -> None:
    """Also over what the project's file sets."""
    found = shown(["--name", "other", "--quality.slice-columns", "a", "b"], capsys)

    assert found["name"] == ["other", "flag"]
    assert found["quality.slice-columns"] == ["a", "b", "flag"]
