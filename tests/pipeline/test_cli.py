"""The command line: from flags to a configuration, and what mistakes end in."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from models.hyperparameters import Hyperparameters
from pipeline import cli
from pipeline import config as settings
from pipeline.commands import completion
from pipeline.commands.flags import ALIASES, MAIN
from pipeline.config import (
    PRESETS,
    Config,
    Gate,
    Quality,
    ServingCheck,
    Splits,
    Tune,
    smoke,
)
from pipeline.errors import DataRefusedError, ThroughlineError, UsageError
from pipeline.runners import kubeflow
from tests.pipes import read_one_line

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
    "artifacts": (["s3://bucket/taxi"], Config(artifacts="s3://bucket/taxi")),
    "schema": (["s.pbtxt"], Config(schema=Path("s.pbtxt"))),
    "metadata": (["mysql://u@h/d"], Config(metadata="mysql://u@h/d")),
    "label-policy": (["card-trips"], Config(label_policy="card-trips")),
    "train-steps": (["2"], Config(train_steps=2)),
    "eval-steps": (["3"], Config(eval_steps=3)),
    "batch-size": (["4"], Config(batch_size=4)),
    "seed": (["5"], Config(seed=5)),
    "warm-start": ([], Config(warm_start=True)),
    "splits.train-parts": (["6"], Config(splits=Splits(train_parts=6))),
    "splits.eval-parts": (["7"], Config(splits=Splits(eval_parts=7))),
    "splits.test-parts": (["8"], Config(splits=Splits(test_parts=8))),
    "splits.hash-columns": (["a", "b"], Config(splits=Splits(hash_columns=("a", "b")))),
    # Each of these three needs another of them.
    "splits.time-column": (
        ["t", "--splits.test-from", "9"],
        Config(splits=Splits(time_column="t", test_from="9")),
    ),
    "splits.eval-from": (
        ["7", "--splits.time-column", "t", "--splits.test-from", "9"],
        Config(splits=Splits(time_column="t", eval_from="7", test_from="9")),
    ),
    "splits.test-from": (
        ["2026-01-31", "--splits.time-column", "t"],
        Config(splits=Splits(time_column="t", test_from="2026-01-31")),
    ),
    "splits.test-spans": (
        ["2", "--pattern", "{SPAN}.csv"],
        Config(pattern="{SPAN}.csv", splits=Splits(test_spans=2)),
    ),
    "gate.block": (
        ["SCHEMA_NEW_COLUMN", "ROWS_HALVED"],
        Config(gate=Gate(block=("SCHEMA_NEW_COLUMN", "ROWS_HALVED"))),
    ),
    "gate.warn": (["DRIFT:fare"], Config(gate=Gate(warn=("DRIFT:fare",)))),
    "gate.ignore": (
        ["QUARANTINED_ROWS"],
        Config(gate=Gate(ignore=("QUARANTINED_ROWS",))),
    ),
    "gate.max-quarantined": (["0.5"], Config(gate=Gate(max_quarantined=0.5))),
    "gate.min-rows": (["7"], Config(gate=Gate(min_rows=7))),
    "gate.min-rows-of-span": (["7"], Config(gate=Gate(min_rows_of_span=7))),
    "gate.min-share-of-rows": (["0.5"], Config(gate=Gate(min_share_of_rows=0.5))),
    "gate.max-missing-labels": (["0.5"], Config(gate=Gate(max_missing_labels=0.5))),
    "gate.max-duplicates": (["0.5"], Config(gate=Gate(max_duplicates=0.5))),
    "gate.key-columns": (["a", "b"], Config(gate=Gate(key_columns=("a", "b")))),
    "gate.crosses": (["a*b", "c"], Config(gate=Gate(crosses=("a*b", "c")))),
    "gate.min-rows-of-cell": (["7"], Config(gate=Gate(min_rows_of_cell=7))),
    "gate.max-uncovered": (["0.5"], Config(gate=Gate(max_uncovered=0.5))),
    "gate.max-leakage": (["0.5"], Config(gate=Gate(max_leakage=0.5))),
    "gate.false-alarms": (["0.5"], Config(gate=Gate(false_alarms=0.5))),
    "model.learning-rate": (["0.5"], Config(model=Hyperparameters(learning_rate=0.5))),
    "model.hidden-layers": (
        ["9", "8"],
        Config(model=Hyperparameters(hidden_layers=(9, 8))),
    ),
    "model.members": (["3"], Config(model=Hyperparameters(members=3))),
    "model.frequencies": (["0"], Config(model=Hyperparameters(frequencies=0))),
    "model.embedding-width": (
        ["10"],
        Config(model=Hyperparameters(embedding_width=10)),
    ),
    "model.dropout": (["0.25"], Config(model=Hyperparameters(dropout=0.25))),
    "model.l2": (["0.125"], Config(model=Hyperparameters(l2=0.125))),
    "model.steps-per-evaluation": (
        ["11"],
        Config(model=Hyperparameters(steps_per_evaluation=11)),
    ),
    "model.patience": (["12"], Config(model=Hyperparameters(patience=12))),
    "tune.enabled": ([], Config(tune=Tune(enabled=True))),
    "tune.trials": (["9"], Config(tune=Tune(trials=9))),
    "tune.train-steps": (["9"], Config(tune=Tune(train_steps=9))),
    "tune.max-trial-seconds": (["9"], Config(tune=Tune(max_trial_seconds=9))),
    "quality.min-auc": (["0.75"], Config(quality=Quality(min_auc=0.75))),
    "quality.max-auc-loss": (["0.25"], Config(quality=Quality(max_auc_loss=0.25))),
    "quality.min-accuracy-gain": (
        ["0.5"],
        Config(quality=Quality(min_accuracy_gain=0.5)),
    ),
    "quality.max-accuracy-loss": (
        ["0.5"],
        Config(quality=Quality(max_accuracy_loss=0.5)),
    ),
    "quality.min-r2": (["0.5"], Config(quality=Quality(min_r2=0.5))),
    "quality.max-r2-loss": (["0.5"], Config(quality=Quality(max_r2_loss=0.5))),
    "quality.slice-columns": (
        ["company"],
        Config(quality=Quality(slice_columns=("company",))),
    ),
    "quality.slice-crosses": (
        ["company,fare"],
        Config(quality=Quality(slice_crosses=("company,fare",))),
    ),
    "quality.max-slice-auc-loss": (
        ["0.25"],
        Config(quality=Quality(max_slice_auc_loss=0.25)),
    ),
    "quality.max-slice-accuracy-loss": (
        ["0.25"],
        Config(quality=Quality(max_slice_accuracy_loss=0.25)),
    ),
    "quality.max-slice-rmse-loss": (
        ["0.25"],
        Config(quality=Quality(max_slice_rmse_loss=0.25)),
    ),
    "quality.max-error-rate-gap": (
        ["0.25"],
        Config(quality=Quality(max_error_rate_gap=0.25)),
    ),
    "quality.max-mae-gap": (
        ["0.25"],
        Config(quality=Quality(max_mae_gap=0.25)),
    ),
    "quality.rules": (
        ["recall >= 0.5", "auc by company >= 0.6"],
        Config(quality=Quality(rules=("recall >= 0.5", "auc by company >= 0.6"))),
    ),
    "quality.confidence": (["0.9"], Config(quality=Quality(confidence=0.9))),
    "quality.min-slice-rows": (["9"], Config(quality=Quality(min_slice_rows=9))),
    "quality.best-of": (["2"], Config(quality=Quality(best_of=2))),
    "quality.false-positive-cost": (
        ["2"],
        Config(quality=Quality(false_positive_cost=2)),
    ),
    "quality.false-negative-cost": (
        ["2"],
        Config(quality=Quality(false_negative_cost=2)),
    ),
    "serving-check.rows": (["9"], Config(serving_check=ServingCheck(rows=9))),
    "serving-check.max-load-seconds": (
        ["9"],
        Config(serving_check=ServingCheck(max_load_seconds=9)),
    ),
    "serving-check.max-latency-ms": (
        ["9"],
        Config(serving_check=ServingCheck(max_latency_ms=9)),
    ),
    "serving-check.max-memory-mb": (
        ["9"],
        Config(serving_check=ServingCheck(max_memory_mb=9)),
    ),
    "serving-check.image": (
        ["r/server:1"],
        Config(serving_check=ServingCheck(image="r/server:1")),
    ),
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor the project's file sets anything."""
    monkeypatch.delenv("THROUGHLINE_METADATA", raising=False)
    monkeypatch.setattr(settings, "project_settings", dict)


def _flat(text: str) -> str:
    """Takes a text out of the box that it is drawn in."""
    return " ".join(text.replace("│", " ").split())


def _flags(settings: Any, group: str = "") -> Iterator[str]:
    for field in fields(settings):
        value = getattr(settings, field.name)
        flag = group + field.name.replace("_", "-")
        yield from _flags(value, f"{flag}.") if is_dataclass(value) else [flag]


def test_each_setting_has_a_flag_below() -> None:
    """No setting is added without a test of its flag; Beam's are in engines' tests."""
    flags = [flag for flag in _flags(Config()) if not flag.startswith("beam.")]

    assert list(FLAGS) == flags


@pytest.mark.parametrize("flag", FLAGS)
def test_each_setting_has_a_flag(flag: str) -> None:
    """Each setting has a flag: its name after its group's; it changes nothing else."""
    values, expected = FLAGS[flag]

    config, _ = cli.parse_run("throughline run", [f"--{flag}", *values])

    assert config == expected


def test_tune_is_a_flag_of_its_own() -> None:
    """`--tune` is what a user types."""
    config, _ = cli.parse_run("throughline run", ["--tune", "--tune.trials", "3"])

    assert config == Config(tune=Tune(enabled=True, trials=3))


def test_workers_is_an_option_and_no_setting() -> None:
    """How to run is told apart from what to run."""
    config, options = cli.parse_run("throughline run", ["--workers", "7"])

    assert (config, options.workers) == (Config(), 7)


def test_log_level_is_an_option_and_no_setting() -> None:
    """How much is logged changes no cache key, since it is no part of what runs."""
    config, options = cli.parse_run("throughline run", ["--log-level", "warning"])

    assert (config, options.log_level) == (Config(), "warning")


def test_flags_may_be_empty_tuples() -> None:
    """A setting that is a list can be emptied."""
    config, _ = cli.parse_run(
        "throughline run",
        [
            "--gate.warn",
            "--quality.slice-columns",
            "--model.hidden-layers",
        ],
    )

    assert config == Config(
        model=Hyperparameters(hidden_layers=()),
        quality=Quality(slice_columns=()),
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Config),
        (["--preset", "local"], Config),
        (["--preset", "smoke"], smoke),
        (["--preset=smoke", "--seed", "3"], lambda: replace(smoke(), seed=3)),
        (
            ["--train-steps", "5", "--preset", "smoke"],
            lambda: replace(smoke(), train_steps=5),
        ),
        (
            ["--quality.max-auc-loss", "0.1", "--preset", "smoke"],
            lambda: replace(
                smoke(), quality=replace(smoke().quality, max_auc_loss=0.1)
            ),
        ),
    ],
)
def test_presets_are_what_other_flags_change(
    arguments: list[str], expected: Callable[[], Config]
) -> None:
    """A preset gives the values that are not given, wherever it stands."""
    config, _ = cli.parse_run("throughline run", arguments)

    assert config == expected()


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
        (
            ["--train-steps", "0"],
            "train-steps is 0; it must be at least 1 and at most 2147483647",
        ),
        (
            ["--train-steps", "9223372036854775808"],
            (
                "train-steps is 9223372036854775808; it must be at least 1 and at most "
                "2147483647"
            ),
        ),
        (
            ["--splits.eval-parts", "0"],
            "splits.eval-parts is 0; it must be at least 1 and at most 2147483647",
        ),
        (
            ["--gate.warn", "SCHEMA_NEW_COLUM:bonus"],
            (
                "gate.warn names 'SCHEMA_NEW_COLUM:bonus', which is neither one of "
                "TFDV's anomaly types nor a check of the gate; did you mean "
                "SCHEMA_NEW_COLUMN?"
            ),
        ),
        (
            ["--gate.warn", "DRIFT", "--gate.ignore", "DRIFT"],
            ("gate.ignore names 'DRIFT', and so does gate.warn; leave one of them out"),
        ),
        (
            ["--gate.false-alarms", "0"],
            "gate.false-alarms is 0.0; it must be above 0, or no drift is found",
        ),
        (
            ["--splits.time-column", "t", "--splits.test-from", "nan"],
            ("'nan' is no time; give a date such as 2026-01-31, or seconds since 1970"),
        ),
        (
            [
                "--splits.time-column",
                "t",
                "--splits.eval-from",
                "9",
                "--splits.test-from",
                "1970-01-01",
            ],
            (
                "splits.eval-from is '9' and splits.test-from is '1970-01-01'; rows "
                "between them are the eval split, so splits.eval-from must be the "
                "earlier one"
            ),
        ),
        (["--workers", "0"], "workers is 0; it must be at least 1"),
        (
            ["--learning-rate", "0"],
            "model.learning-rate is 0.0; it must be above 0 and finite",
        ),
        (
            ["--model.learning-rate", "inf"],
            "model.learning-rate is inf; it must be above 0 and finite",
        ),
        (["--model.l2", "inf"], "model.l2 is inf; it must be at least 0 and finite"),
        (
            ["--model.patience", "9223372036854775808"],
            (
                "model.patience is 9223372036854775808; it must be at least 1 and at "
                "most 2147483647"
            ),
        ),
        (
            ["--model.hidden-layers", "8", "0"],
            (
                "model.hidden-layers is (8, 0); it must be whole numbers of at least 1 "
                "and at most 2147483647"
            ),
        ),
        (
            ["--quality.min-auc", "93"],
            "quality.min-auc is 93.0; it must be at least 0 and at most 1",
        ),
        (
            ["--quality.min-auc", "nan"],
            "quality.min-auc is nan; it must be at least 0 and at most 1",
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
    """--help-all ends with 0 and has every flag with its default, and the presets."""
    with pytest.raises(SystemExit) as ended:
        cli.parse_run("throughline run", ["--help-all"])

    text = _flat(capfd.readouterr().out)
    assert ended.value.code == 0
    # A switch is shown with its other spelling after a comma.
    words = set(text.replace(",", " ").split())
    assert [f for f in _flags(Config()) if f"--{f}" not in words] == []
    assert " --workers " in text
    assert f" --preset {{{','.join(PRESETS)}}} " in text
    assert "(default: 1000)" in text


def test_help_shows_the_main_flags_first(capfd: pytest.CaptureFixture[str]) -> None:
    """Before any other flag stand the dozen that most runs need; then come groups."""
    with pytest.raises(SystemExit):
        cli.parse_run("throughline run", ["--help-all"])

    shown = re.findall(r"^│ (--.*?)[ │]", capfd.readouterr().out, re.MULTILINE)
    aliases = {ALIASES.get(path, f"--{path.replace('_', '-')}") for path in MAIN}
    rest = shown[len(MAIN) :]
    groups = [flag.partition(".")[0] for flag in rest if "." in flag]
    assert {flag.rstrip(",") for flag in shown[: len(MAIN)]} == aliases
    assert groups == sorted(groups, key=groups.index)
    assert list(dict.fromkeys(groups)) == [
        "--splits",
        "--gate",
        "--model",
        "--tune",
        "--quality",
        "--serving-check",
        "--beam",
    ]


def test_help_is_short(capfd: pytest.CaptureFixture[str]) -> None:
    """--help has the main flags only, and says where the others are."""
    with pytest.raises(SystemExit) as ended:
        cli.parse_run("throughline run", ["--help"])

    text = capfd.readouterr().out
    shown = re.findall(r"^│ (--.*?)[ │]", text, re.MULTILINE)
    assert ended.value.code == 0
    assert len(shown) == len(MAIN)
    assert "--help-all lists all" in _flat(text)


# A switch takes no value; its short flag has a test of its own.
@pytest.mark.parametrize("path", [path for path in ALIASES if path != "tune.enabled"])
def test_short_flags_are_the_long_ones(path: str) -> None:
    """What an alias sets is what the flag with its group's name sets."""
    value = {"beam.engine": "dask", "containers.image": "r/i:1"}.get(path, "0.25")
    outcomes = []

    for flag in (ALIASES[path], f"--{path.replace('_', '-')}"):
        try:
            outcomes.append(str(cli.parse("x", [flag, value], kubeflow.Options())))
        except UsageError as error:
            outcomes.append(str(error))

    assert outcomes[0] == outcomes[1]
    assert value in outcomes[0]


def test_a_flag_without_its_group_is_named_with_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The name that a setting had before it was in a group ends with 2 and the new."""
    with pytest.raises(SystemExit) as ended:
        cli.parse_run("throughline run", ["--test-spans", "2"])

    assert ended.value.code == 2
    assert "Perhaps you meant: " in (text := _flat(capfd.readouterr().err))
    assert "--splits.test-spans" in text


def test_help_shows_the_presets_defaults(capfd: pytest.CaptureFixture[str]) -> None:
    """Help after a preset shows that preset's values."""
    with pytest.raises(SystemExit):
        cli.parse_run("throughline run", ["--preset", "smoke", "--help"])

    text = _flat(capfd.readouterr().out)
    assert "Maximum number of training steps (batches). (default: 50)" in text


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


def test_errors_that_are_not_ours_end_in_a_sentence_and_a_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A bug in us ends with 1 and one sentence; its traceback is in the log named."""

    def broken() -> int:
        raise ZeroDivisionError("one \x1b[2Jhalf")

    code = cli.exit_code(broken)

    out, err = capfd.readouterr()
    sentence, named = err.splitlines()
    log = Path(named.removeprefix("The traceback is in "))
    assert (code, out) == (1, "")
    assert sentence == r"throughline: ZeroDivisionError: one \x1b[2Jhalf"
    assert "in broken" in log.read_text()
    log.unlink()


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "Trainer"],
        ["gc"],
        ["gc", "--dry-run"],
        ["schema", "diff"],
        ["schema", "accept"],
        ["gate"],
        ["lineage", "model"],
        ["report"],
    ],
)
def test_commands_that_read_make_nothing(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A mistyped --output is named with exit code 2, and does not come to be."""
    name, *rest = arguments
    where = ["--output", str(tmp_path / "mistyped")]

    code = cli.exit_code(lambda: cli.COMMANDS[name]([*rest, *where]))

    err = capfd.readouterr().err
    assert code == 2
    assert err.startswith(f"throughline: There is no metadata store at {tmp_path}/mist")
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["/dev/null", "/dev/null/x", "/proc/x"])
def test_compiling_into_what_is_no_directory(
    place: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """--out that can't be written ends with 2 and a sentence that begins with it."""
    flags = ["--target", "kubeflow", "--out", place, "--output", str(tmp_path)]

    code = cli.exit_code(lambda: cli.COMMANDS["compile"](flags))

    out, err = capfd.readouterr()
    sentence, named = err.splitlines()
    assert (code, out) == (2, "")
    assert sentence.startswith(f"throughline: {place} can't be used: ")
    Path(named.removeprefix("The traceback is in ")).unlink()


def _loop(directory: Path) -> Path:
    (directory / "one").symlink_to(directory / "two")
    (directory / "two").symlink_to(directory / "one")
    return directory / "one"


def _file(directory: Path) -> Path:
    (directory / "file").write_text("mine")
    return directory / "file"


def _dangling(directory: Path) -> Path:
    (directory / "link").symlink_to(directory / "gone")
    return directory / "link"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (lambda directory: Path("/dev/null"), "is not a directory"),
        (_file, "is not a directory"),
        (lambda directory: _file(directory) / "below", "is not a directory"),
        (_dangling, "is not a directory"),
        (_loop, "is not a directory"),
        (lambda directory: directory / ("x" * 300), "file name too long"),
        (lambda directory: directory / "x[1]", "TFX takes [ in it for a pattern"),
        (lambda directory: directory / "a\nBlessed", "line ends are not allowed"),
    ],
)
def test_an_output_that_cannot_be_one_is_refused(
    place: Callable[[Path], Path],
    said: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A file, a device, a loop of links or a pattern ends with 2 and one sentence."""
    output = place(tmp_path)
    before = sorted(tmp_path.iterdir())

    code = cli.exit_code(lambda: cli.COMMANDS["run"](["--output", str(output)]))

    err = capfd.readouterr().err
    assert code == 2
    assert err.startswith("throughline: output is ")
    assert said in err
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x00\xff\xfe noise", "is not a schema"),
        ('feature { name: "fare" }'.encode("utf-16"), "is not a schema"),
        (b"node_info { id: 'Trainer' }", "is not a schema"),
        (b"", "without a single column"),
        (b'feature { name: "a" } feature { name: "a" }', "'a' more than once"),
        (b'feature { name: "company" }', "models/features.py names 'payment_type'"),
        (None, "cannot be read: Is a directory"),
    ],
)
def test_a_schema_that_is_none_is_refused(
    content: bytes | None,
    said: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Before anything runs, with exit code 2 and a sentence that names the file."""
    schema = tmp_path / "schema.pbtxt"
    if content is None:
        schema.mkdir()
    else:
        schema.write_bytes(content)
    flags = ["--schema", str(schema), "--output", str(tmp_path / "out")]

    code = cli.exit_code(lambda: cli.COMMANDS["run"](flags))

    err = capfd.readouterr().err
    assert code == 2
    assert str(schema) in err
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_unreadable_data_file_ends_in_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A data file that the system refuses to read is named, with its reason."""
    (tmp_path / "data").mkdir()
    # Even root gets an input/output error from its first byte.
    (tmp_path / "data" / "a.csv").symlink_to("/proc/self/mem")
    flags = ["--data", str(tmp_path / "data"), "--output", str(tmp_path / "out")]

    code = cli.exit_code(lambda: cli.COMMANDS["run"](flags))

    err = capfd.readouterr().err
    assert (code, err) == (
        3,
        f"throughline: {tmp_path}/data/a.csv cannot be read: Input/output error\n",
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nBlessed.csv", r"'a\nBlessed.csv'"),
        ("\x1b[1A.csv", r"'\x1b[1A.csv'"),
        # A byte that is no UTF-8 is shown as that byte.
        ("caf\udce9.csv", r"'caf\xe9.csv'"),
    ],
)
def test_a_data_file_cannot_forge_a_line(
    name: str, shown: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file name that would print more than a name is refused, and shown escaped."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text("x\n1\n")
    flags = ["--data", str(tmp_path / "data"), "--output", str(tmp_path / "out")]

    code = cli.exit_code(lambda: cli.COMMANDS["run"](flags))

    err = capfd.readouterr().err
    assert code == 3
    assert shown in err
    assert len(err.splitlines()) == 1


def test_a_reader_that_stops_is_no_failure() -> None:
    """`throughline … | head -1` ends with 0 and no word on standard error."""
    program = (
        "import sys\n"
        "from pipeline import cli\n"
        "lines = lambda: [print('line', i) for i in range(100_000)] and 0\n"
        "sys.exit(cli.exit_code(lines))\n"
    )

    assert read_one_line(program) == ("line 0\n", 0, "")


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "there is no command 'frobnicate'\n"),
        (["lineag"], "there is no command 'lineag'; did you mean 'lineage'?\n"),
        (
            ["schema", "acept"],
            "there is no action of schema 'acept'; did you mean 'accept'?\n",
        ),
    ],
)
def test_an_unknown_command_ends_with_2(arguments: list[str], said: str) -> None:
    """A command that isn't there is named, with the one that was probably meant."""
    done = _throughline(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"throughline: {said}usage: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["flink", "--workers", "0"], "workers is 0; it must be at least 1"),
        (["spark", "--"], "there is no command after `--`"),
        (["storm"], "invalid choice"),
    ],
)
def test_a_cluster_that_cannot_be_ends_with_2(arguments: list[str], said: str) -> None:
    """Nothing is started for a command that is wrong."""
    done = _throughline("cluster", *arguments)

    assert done.returncode == 2
    assert said in done.stderr + done.stdout


def test_completion_knows_every_command() -> None:
    """No command is added without its flags being completed."""
    assert list(completion.flags_of_commands()) == list(cli.COMMANDS)


def test_completion_in_bash(tmp_path: Path) -> None:
    """The script completes commands, their actions, flags, and a flag's values."""
    script = tmp_path / "throughline.bash"
    script.write_text(_throughline("completion", "bash").stdout)
    typed = {
        "throughline ru": {"run"},
        "throughline schema a": {"accept"},
        "throughline gc --k": {"--keep", "--keep-versions"},
        "throughline run --splits.time": {"--splits.time-column"},
        "throughline run --min": {"--min-auc"},
        "throughline run --label-policy c": {"card-trips"},
        "throughline compile --target ar": {"argo"},
        "throughline compile --sched": {"--schedule"},
    }

    offered = {words: _completed_by_bash(script, words) for words in typed}

    assert offered == typed


def _completed_by_bash(script: Path, words: str) -> set[str]:
    """Calls what bash calls at the Tab key, with what it sets."""
    code = """
        source "$0"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
        $(complete -p throughline | cut -d " " -f 3)
        printf "%s\\n" "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", code, script, *words.split()],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_version() -> None:
    """The version is that of the installed package, which setup.py declares."""
    done = _throughline("--version")

    (declared,) = re.findall(r'version="(.+?)"', (ROOT / "setup.py").read_text())
    assert (done.returncode, done.stdout) == (0, f"throughline {declared}\n")


def test_a_wrong_value_is_told_at_once(tmp_path: Path) -> None:
    """A value out of bounds ends with 2, one line, and nothing written."""
    done = _throughline("run", "--output", str(tmp_path / "out"), "--seed", "-1")

    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "throughline: seed is -1; it must be at least 0 and at most 2147483647\n",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--target argo --schedule bad", "schedule is 'bad'; it must have five fields"),
        ("--target argo --timezone Mars/Olympus", "timezone is 'Mars/Olympus'"),
        (
            "--target argo --name taxi_",
            "name is 'taxi_'; Kubernetes would have to call",
        ),
        ("--target argo --data /d/{{x}}", "'/d/{{x}}' has '{{'"),
        (
            "--target kubeflow --containers.cpu lots",
            "containers.cpu is 'lots'; it must be cores",
        ),
        (
            "--target kubeflow --containers.memory lots",
            "containers.memory is 'lots'; it must be a whole",
        ),
        ("--target kubeflow --metadata mysql://u@h/d", "metadata is given, but"),
        ("--target vertex", "output is /mnt/throughline; for Vertex AI it must"),
        ("--artifacts /mnt/x", "artifacts is '/mnt/x'; it must be a place in a bucket"),
        ("--artifacts s3://b/x?a=b", "it must be a place in a bucket"),
        ("--target airflow --retries -5", "retries is -5; it must be at least 0"),
        ("--target airflow --schedule not.cron", "schedule is 'not.cron'"),
        ("--target luigi --metadata mysql://u:pw@h/d", "set THROUGHLINE_METADATA to"),
        ("--output gs://b/out", "output is gs://b/out; it must be a path"),
        ("--data s3://b/data", "data is s3://b/data; it must be a path"),
        ("--engine dataflow --beam.project p", "beam.region is missing; engine data"),
    ],
)
def test_what_can_t_be_compiled_ends_with_2(
    tmp_path: Path, arguments: str, said: str
) -> None:
    """It is one sentence on standard error, and nothing is written."""
    out = tmp_path / "compiled"

    done = _throughline("compile", "--out", str(out), *arguments.split())

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert "pw@" not in done.stderr
    assert not out.exists()


def test_a_run_to_resume_is_one_of_the_output_directory() -> None:
    """A path is no name of a run, whatever record is there."""
    with pytest.raises(UsageError, match=r"resume is '\.\./x'; the name of a run must"):
        cli.parse_run("throughline run", ["--resume", "../x"])
