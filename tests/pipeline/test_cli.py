"""The command line: from flags to a configuration, and what mistakes end in."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from models.hyperparameters import Hyperparameters
from pipeline import cli
from pipeline.config import PRESETS, Config, Gate, Quality, Splits, smoke
from pipeline.errors import DataRefusedError, ThroughlineError, UsageError

ROOT = Path(__file__).parents[2]

FLAGS: dict[str, tuple[list[str], Config]] = {
    "name": (["mine"], Config(name="mine")),
    "data": (["in"], Config(data=Path("in"))),
    "pattern": (["{SPAN}.csv"], Config(pattern="{SPAN}.csv")),
    # Without spans in the pattern these two are refused.
    "span": (
        ["7", "--pattern", "{SPAN}.csv"],
        Config(pattern="{SPAN}.csv", span="7"),
    ),
    "window": (
        ["all", "--pattern", "{SPAN}.csv"],
        Config(pattern="{SPAN}.csv", window="all"),
    ),
    "encoding": (["cp1252"], Config(encoding="cp1252")),
    "output": (["out"], Config(output=Path("out"))),
    "schema": (["s.pbtxt"], Config(schema=Path("s.pbtxt"))),
    "metadata": (["mysql://u@h/d"], Config(metadata="mysql://u@h/d")),
    "label-policy": (["card-trips"], Config(label_policy="card-trips")),
    "train-steps": (["2"], Config(train_steps=2)),
    "eval-steps": (["3"], Config(eval_steps=3)),
    "batch-size": (["4"], Config(batch_size=4)),
    "seed": (["5"], Config(seed=5)),
    "train-parts": (["6"], Config(splits=Splits(train_parts=6))),
    "eval-parts": (["7"], Config(splits=Splits(eval_parts=7))),
    "test-parts": (["8"], Config(splits=Splits(test_parts=8))),
    "hash-columns": (["a", "b"], Config(splits=Splits(hash_columns=("a", "b")))),
    # Each of these three needs another of them.
    "time-column": (
        ["t", "--test-from", "9"],
        Config(splits=Splits(time_column="t", test_from="9")),
    ),
    "eval-from": (
        ["7", "--time-column", "t", "--test-from", "9"],
        Config(splits=Splits(time_column="t", eval_from="7", test_from="9")),
    ),
    "test-from": (
        ["2026-01-31", "--time-column", "t"],
        Config(splits=Splits(time_column="t", test_from="2026-01-31")),
    ),
    "test-spans": (
        ["2", "--pattern", "{SPAN}.csv"],
        Config(pattern="{SPAN}.csv", splits=Splits(test_spans=2)),
    ),
    "tolerated-anomalies": (["A", "B"], Config(gate=Gate(("A", "B")))),
    "max-quarantined": (["0.5"], Config(gate=Gate(max_quarantined=0.5))),
    "learning-rate": (["0.5"], Config(model=Hyperparameters(learning_rate=0.5))),
    "hidden-layers": (["9", "8"], Config(model=Hyperparameters(hidden_layers=(9, 8)))),
    "embedding-width": (["10"], Config(model=Hyperparameters(embedding_width=10))),
    "dropout": (["0.25"], Config(model=Hyperparameters(dropout=0.25))),
    "l2": (["0.125"], Config(model=Hyperparameters(l2=0.125))),
    "steps-per-evaluation": (
        ["11"],
        Config(model=Hyperparameters(steps_per_evaluation=11)),
    ),
    "patience": (["12"], Config(model=Hyperparameters(patience=12))),
    "min-auc": (["0.75"], Config(quality=Quality(min_auc=0.75))),
    "max-auc-loss": (["0.25"], Config(quality=Quality(max_auc_loss=0.25))),
    "slice-columns": (["company"], Config(quality=Quality(slice_columns=("company",)))),
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THROUGHLINE_METADATA", raising=False)


def _flat(text: str) -> str:
    """Takes a text out of the box that it is drawn in."""
    return " ".join(text.replace("│", " ").split())


def _leaves(settings: Any) -> Iterator[str]:
    for field in fields(settings):
        value = getattr(settings, field.name)
        yield from _leaves(value) if is_dataclass(value) else [field.name]


def test_each_setting_has_a_flag_below() -> None:
    """No setting is added without a test of its flag; Beam's are in engines' tests."""
    beam = set(_leaves(Config().beam))

    settings = [name for name in _leaves(Config()) if name not in beam]

    assert list(FLAGS) == [name.replace("_", "-") for name in settings]


@pytest.mark.parametrize("flag", FLAGS)
def test_each_setting_has_a_flag(flag: str) -> None:
    """Each setting has a flag of its own name, which changes nothing else."""
    values, expected = FLAGS[flag]

    config, _ = cli.parse_run("throughline run", [f"--{flag}", *values])

    assert config == expected


def test_workers_is_an_option_and_no_setting() -> None:
    """How to run is told apart from what to run."""
    config, options = cli.parse_run("throughline run", ["--workers", "7"])

    assert (config, options.workers) == (Config(), 7)


def test_flags_may_be_empty_tuples() -> None:
    """A setting that is a list can be emptied."""
    config, _ = cli.parse_run(
        "throughline run",
        ["--tolerated-anomalies", "--slice-columns", "--hidden-layers"],
    )

    assert config == Config(
        gate=Gate(()),
        model=Hyperparameters(hidden_layers=()),
        quality=Quality(slice_columns=()),
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Config()),
        (["--preset", "local"], Config()),
        (["--preset", "smoke"], smoke()),
        (["--preset=smoke", "--seed", "3"], replace(smoke(), seed=3)),
        (["--train-steps", "5", "--preset", "smoke"], replace(smoke(), train_steps=5)),
        (
            ["--max-auc-loss", "0.1", "--preset", "smoke"],
            replace(smoke(), quality=Quality(min_auc=0.01, max_auc_loss=0.1)),
        ),
    ],
)
def test_presets_are_what_other_flags_change(
    arguments: list[str], expected: Config
) -> None:
    """A preset gives the values that are not given, wherever it stands."""
    config, _ = cli.parse_run("throughline run", arguments)

    assert config == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--trainsteps", "5"], "--trainsteps"),
        (["--preset", "huge"], "huge"),
        (["--train-steps", "many"], "--train-steps"),
        (["--train-steps", "1.5"], "--train-steps"),
        (["--train-steps"], "--train-steps"),
        (["--label-policy", "some-trips"], "all-trips"),
        (["word"], "word"),
        (["--learning-rate", "0"], "learning_rate is 0.0; it must be above 0"),
        (["--hidden-layers", "8", "0"], "whole numbers of at least 1"),
    ],
)
def test_wrong_flags_exit_with_2(
    arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A flag or a value that can't be ends with 2 and is named on standard error."""
    with pytest.raises(SystemExit) as ended:
        cli.parse_run("throughline run", arguments)

    printed = capfd.readouterr()
    assert ended.value.code == 2
    assert said in _flat(printed.err)
    assert printed.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train-steps", "0"], "train-steps is 0; it must be at least 1"),
        (["--eval-parts", "0"], "eval-parts is 0; it must be at least 1"),
        (["--workers", "0"], "workers is 0; it must be at least 1"),
        (
            ["--min-auc", "93"],
            "min-auc is 93.0; it must be at least 0 and at most 1",
        ),
        (
            ["--min-auc", "nan"],
            "min-auc is nan; it must be at least 0 and at most 1",
        ),
        (
            ["--seed", "-1"],
            "seed is -1; it must be at least 0 and at most 2147483647",
        ),
    ],
)
def test_values_out_of_bounds(arguments: list[str], message: str) -> None:
    """A value out of bounds is refused by its flag's name, the value and the bounds."""
    with pytest.raises(UsageError) as refused:
        cli.parse_run("throughline run", arguments)

    assert str(refused.value) == message


def test_help_names_every_flag(capfd: pytest.CaptureFixture[str]) -> None:
    """Help ends with 0 and has every flag with its default, the preset among them."""
    with pytest.raises(SystemExit) as ended:
        cli.parse_run("throughline run", ["--help"])

    text = _flat(capfd.readouterr().out)
    assert ended.value.code == 0
    flags = [f" --{name.replace('_', '-')} " for name in _leaves(Config())]
    assert [flag for flag in flags if flag not in text] == []
    assert " --workers " in text
    assert f" --preset {{{','.join(PRESETS)}}} " in text
    assert "(default: 1000)" in text


def test_help_shows_the_presets_defaults(capfd: pytest.CaptureFixture[str]) -> None:
    """Help after a preset shows that preset's values."""
    with pytest.raises(SystemExit):
        cli.parse_run("throughline run", ["--preset", "smoke", "--help"])

    text = _flat(capfd.readouterr().out)
    assert "Most training steps, in batches. (default: 20)" in text


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ([], "mysql://e:secret@h/d"),
        (["--metadata", "mysql://flag@h/d"], "mysql://flag@h/d"),
    ],
)
def test_metadata_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], url: str
) -> None:
    """THROUGHLINE_METADATA gives the store's URL, and an explicit flag wins."""
    monkeypatch.setenv("THROUGHLINE_METADATA", "mysql://e:secret@h/d")

    config, _ = cli.parse_run("throughline run", arguments)

    assert config.metadata == url


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ThroughlineError("a [red] sentence"), 1),
        (UsageError("a [red] sentence"), 2),
        (DataRefusedError("a [red] sentence"), 3),
    ],
)
def test_our_errors_end_in_a_sentence(
    error: ThroughlineError, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A person's mistake ends in a sentence on standard error and its exit code."""

    def fails() -> int:
        raise error

    assert cli.exit_code(fails) == code
    assert capfd.readouterr() == ("", "throughline: a [red] sentence\n")


def test_ctrl_c_ends_with_130() -> None:
    """An interrupted command ends as a shell expects it."""

    def interrupted() -> int:
        raise KeyboardInterrupt

    assert cli.exit_code(interrupted) == 130


def test_errors_that_are_not_ours_are_not_hidden() -> None:
    """A bug in us is not dressed up as a person's mistake."""

    def broken() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.exit_code(broken)


def _throughline(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands(arguments: list[str]) -> None:
    """Without a command, or asked for help, the commands are listed."""
    done = _throughline(*arguments)

    assert (done.returncode, done.stderr) == (0, "")
    for command in cli.COMMANDS:
        assert re.search(rf"^  {command} +\w.*\.$", done.stdout, re.MULTILINE)


def test_an_unknown_command_ends_with_2() -> None:
    """A command that isn't there is named, and those there are listed."""
    done = _throughline("trian")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("throughline: there is no command 'trian'\nusage: ")


def test_a_wrong_value_is_told_at_once(tmp_path: Path) -> None:
    """A value out of bounds ends with 2, one line, and nothing written."""
    done = _throughline("run", "--output", str(tmp_path / "out"), "--seed", "-1")

    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "throughline: seed is -1; it must be at least 0 and at most 2147483647\n",
    )
    assert list(tmp_path.iterdir()) == []
