"""`throughline tuning`: the trials of a search, and accepting its best values."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.project import settings_file
from pipeline.store.artifact_files import TRIALS_FILE
from tests.pipeline.tfx_store import StockStore


def trials(best: int = 1) -> dict[str, Any]:
    """What the Tuner writes of three trials, of which one failed."""

    def of(trial: int, rate: float, layers: list[int], **found: Any) -> dict[str, Any]:
        values = {"learning_rate": rate, "hidden_layers": layers}
        return {"trial": trial, "values": values, **found}

    return {
        "metric": "eval AUC",
        "direction": "max",
        "best": best,
        "trials": [
            of(0, 0.002, [64, 32], score=0.9, step=50, seconds=2.0),
            of(1, 0.004, [64, 32], score=0.91, step=100, seconds=3.0),
            of(2, 0.5, [8], error="its eval AUC is nan"),
        ],
    }


@pytest.fixture
def flags(
    config: Config,
    store: StockStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """Of a pipeline that runs in another project, which has no settings yet."""
    monkeypatch.setattr(settings_file, "PROJECT", tmp_path)
    monkeypatch.setattr("pipeline.config.PROJECT", tmp_path)
    where = ["--output", str(config.output), "--metadata", config.metadata_url]
    return [*where, "--name", store.pipeline]


def search(store: StockStore, run: str, found: dict[str, Any]) -> Path:
    """Registers a search; returns its directory."""
    written = store.artifact("TunerResults")
    (store.path(written) / TRIALS_FILE).write_text(json.dumps(found))
    store.ran(run, "Tuner", outputs={"tuner_results": written})
    return store.path(written)


def test_trials_are_shown_the_best_first(
    store: StockStore, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A trial that failed comes last, with its cause."""
    search(store, "monday", trials())

    assert cli.COMMANDS["tuning"](["show", *flags]) == 0

    head, _, *rows, hint = capsys.readouterr().out.splitlines()
    assert head.startswith("run monday: 3 trials")
    assert [row.split()[:5] for row in rows[:2]] == [
        ["1", "0.004", "64", "32", "0.9100"],
        ["0", "0.002", "64", "32", "0.9000"],
    ]
    assert "its eval AUC is nan" in rows[2]
    assert "throughline tuning accept" in hint


def test_trials_as_json_have_their_run(
    store: StockStore, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """For scripts; an older run is found by its name."""
    search(store, "monday", trials())
    search(store, "tuesday", trials(best=0))

    assert cli.COMMANDS["tuning"](["show", "--json", "--run", "monday", *flags]) == 0
    older = json.loads(capsys.readouterr().out)
    assert cli.COMMANDS["tuning"](["show", "--json", *flags]) == 0

    assert older == {"run": "monday", **trials()}
    assert json.loads(capsys.readouterr().out)["best"] == 0


def test_the_best_values_become_the_projects(
    store: StockStore,
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only values that differ are written; accepted again, nothing is changed."""
    search(store, "monday", trials())
    path = tmp_path / "throughline.toml"
    path.write_text('name = "trips"  # ours\n')
    path.chmod(0o640)
    run = cli.COMMANDS["tuning"]

    assert run(["accept", *flags]) == 0
    said = capsys.readouterr().out
    assert run(["accept", *flags]) == 0

    written = 'name = "trips"  # ours\n\n[model]\nlearning-rate = 0.004\n'
    assert path.read_text() == written
    assert path.stat().st_mode & 0o777 == 0o640
    assert "learning-rate  0.002 -> 0.004\n" in said
    assert "python run_local.py" in said
    assert "already; nothing was changed" in capsys.readouterr().out
    assert list(tmp_path.glob("*.part")) == []


def test_a_form_that_is_not_edited_is_told(
    store: StockStore, flags: list[str], tmp_path: Path
) -> None:
    """With the file, and what to write into it."""
    search(store, "monday", trials())
    (tmp_path / "throughline.toml").write_text("model.dropout = 0.5\n")

    with pytest.raises(
        UsageError, match=r"throughline\.toml: .*learning-rate = 0\.004"
    ):
        cli.COMMANDS["tuning"](["accept", *flags])


def test_a_hyperparameter_that_is_no_more_is_told(
    store: StockStore, flags: list[str], tmp_path: Path
) -> None:
    """A search of an older version of the project may have another."""
    found = trials()
    found["trials"][1]["values"]["momentum"] = 0.9
    search(store, "monday", found)

    with pytest.raises(UsageError, match="run monday searched momentum, which"):
        cli.COMMANDS["tuning"](["accept", *flags])

    assert not (tmp_path / "throughline.toml").exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([], "of any run of pipeline .* `python run_local.py --tune` makes one"),
        (["--run", "sunday"], "no search for hyperparameters of run sunday in"),
    ],
)
def test_without_a_search_there_is_nothing(
    store: StockStore, flags: list[str], asked: list[str], said: str
) -> None:
    """The command that searches is named."""
    with pytest.raises(UsageError, match=said):
        cli.COMMANDS["tuning"](["show", *asked, *flags])


def test_trials_that_are_gone_are_told(store: StockStore, flags: list[str]) -> None:
    """By run and place: a metadata store outlives the files."""
    directory = search(store, "monday", trials())
    (directory / TRIALS_FILE).unlink()

    with pytest.raises(
        UsageError, match=f"trials of run monday are gone from .*{directory.name}"
    ):
        cli.COMMANDS["tuning"](["show", *flags])
