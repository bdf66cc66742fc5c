"""Settings: what is allowed, where things are, what the environment fills in."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from tfx.utils.dependency_utils import make_beam_dependency_flags

from pipeline import config as settings
from pipeline.columnar import files
from pipeline.config import (
    Config,
    Gate,
    Quality,
    ServingCheck,
    Splits,
    Tune,
    check_places,
    with_environment,
)
from pipeline.errors import UsageError
from pipeline.project import settings_file
from pipeline.store.connection import connection_config


def _count(name: str, value: int, least: int) -> str:
    return f"{name} is {value}; it must be at least {least} and at most 2147483647"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Config(train_steps=0), _count("train-steps", 0, 1)),
        (lambda: Config(eval_steps=-1), _count("eval-steps", -1, 0)),
        (lambda: Config(batch_size=0), _count("batch-size", 0, 1)),
        (
            lambda: Config(seed=2**31),
            "seed is 2147483648; it must be at least 0 and at most 2147483647",
        ),
        (
            lambda: Config(pattern="{SPAN}.csv", window=0),
            "window is 0; it must be at least 1, or all",
        ),
        (
            lambda: Config(span="3"),
            (
                "span is 3 and window is 1, but the pattern '*' has no span "
                "placeholder; give one such as --pattern 'span-{SPAN}/*.csv'"
            ),
        ),
        (
            lambda: Config(encoding="utf-9"),
            (
                "encoding is 'utf-9', which is not a text encoding of Python's; give "
                "one such as utf-8, cp1252, latin-1 or utf-16"
            ),
        ),
        (
            lambda: Config(splits=Splits(test_spans=1)),
            (
                "splits.test-spans is 1, but the pattern '*' has no span placeholder; "
                "give one such as --pattern 'span-{SPAN}/*.csv'"
            ),
        ),
        (
            lambda: Splits(time_column="t"),
            (
                "splits.time-column is 't' and splits.test-from is ''; to split rows "
                "by time, give both"
            ),
        ),
        (
            lambda: Splits(eval_from="1"),
            (
                "splits.eval-from is '1' without a splits.time-column; give "
                "splits.time-column and splits.test-from too"
            ),
        ),
        (
            lambda: Splits(time_column="t", test_from="1", test_spans=1),
            "splits.test-spans is 1 and splits.time-column is 't'; give one of them",
        ),
        (
            lambda: Splits(time_column="t", test_from="soon"),
            (
                "'soon' is no time; give a date such as 2026-01-31, or seconds since "
                "1970"
            ),
        ),
        (lambda: Tune(trials=0), _count("tune.trials", 0, 1)),
        (lambda: Tune(train_steps=-1), _count("tune.train-steps", -1, 0)),
        (lambda: Tune(max_trial_seconds=-1), _count("tune.max-trial-seconds", -1, 0)),
        (
            lambda: Gate(max_quarantined=1.5),
            "gate.max-quarantined is 1.5; it must be at least 0 and at most 1",
        ),
        (lambda: Splits(train_parts=0), _count("splits.train-parts", 0, 1)),
        (lambda: Splits(eval_parts=0), _count("splits.eval-parts", 0, 1)),
        (lambda: Splits(test_parts=-2), _count("splits.test-parts", -2, 1)),
        (
            lambda: Quality(min_auc=1.01),
            "quality.min-auc is 1.01; it must be at least 0 and at most 1",
        ),
        (
            lambda: Quality(min_auc=float("nan")),
            "quality.min-auc is nan; it must be at least 0 and at most 1",
        ),
        (
            lambda: Quality(max_auc_loss=-0.1),
            "quality.max-auc-loss is -0.1; it must be at least 0 and at most 1",
        ),
    ],
)
def test_values_out_of_bounds_are_refused(
    make: Callable[[], object], message: str
) -> None:
    """A value out of bounds is refused at once, by its flag's name and the bounds."""
    with pytest.raises(UsageError) as refused:
        make()

    assert str(refused.value) == message


@pytest.mark.parametrize(
    "make",
    [
        lambda: Config(train_steps=1, eval_steps=0, batch_size=1, seed=0),
        lambda: Config(seed=2**31 - 1),
        lambda: Splits(1, 1, 1),
        lambda: Quality(min_auc=0, max_auc_loss=0),
        lambda: Quality(min_auc=1, max_auc_loss=1),
    ],
)
def test_bounds_themselves_are_allowed(make: Callable[[], object]) -> None:
    """The lowest and the highest value of a setting are accepted."""
    make()


@pytest.mark.parametrize("name", ["", "9taxi", "a/b", "a b", "a.b", "taxi\n", "täxi"])
def test_names_that_are_no_directory_name_are_refused(name: str) -> None:
    """A name that could not be a directory, a model and a pipeline is refused."""
    with pytest.raises(UsageError, match=r"must begin with a letter"):
        Config(name=name)


def test_settings_cannot_be_changed() -> None:
    """A configuration is changed by replacing, never in place."""
    config = Config()

    with pytest.raises(FrozenInstanceError):
        config.train_steps = 5  # type: ignore[misc]

    assert replace(config, train_steps=5).train_steps == 5


@pytest.mark.parametrize(
    "uri", ["/mnt/x", "hdfs://h/x", "s3://bucket/x?region=y", "s3://", "gs://b/*", ""]
)
def test_artifacts_are_in_a_bucket(uri: str) -> None:
    """Anything else that --artifacts is given is refused, with what it must be."""
    with pytest.raises(
        UsageError, match=r"artifacts is .* must be a place in a bucket"
    ):
        Config(artifacts=uri)


def test_a_bucket_takes_the_artifacts_only(tmp_path: Path) -> None:
    """Data, the serving model, records and metadata stay in the output directory."""
    config = Config(output=tmp_path, artifacts="s3://bucket/taxi")
    local = Config(output=tmp_path)

    assert config.artifact_root == "s3://bucket/taxi"
    assert config.data_directory == local.data_directory
    assert config.serving_directory == local.serving_directory
    assert config.runs_directory == local.runs_directory
    assert config.metadata_url == local.metadata_url


def test_a_bucket_is_tried_before_a_run(tmp_path: Path, bucket: str) -> None:
    """One that isn't there is named; one that is stays as it was."""
    check_places(Config(output=tmp_path, artifacts=f"{bucket}/taxi"))

    assert files.tree(bucket) == {}
    with pytest.raises(UsageError, match=r"s3://absent/x, where nothing can be writt"):
        check_places(Config(output=tmp_path, artifacts="s3://absent/x"))


def test_directories_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place is below the output directory, as seen from where we started."""
    monkeypatch.chdir(tmp_path)

    config = Config(name="trips", output=Path("out"))

    assert config.data_directory == tmp_path / "out" / "sample"
    assert config.artifact_root == str(tmp_path / "out" / "artifacts")
    assert config.serving_directory == tmp_path / "out" / "serving" / "trips"
    assert config.runs_directory == tmp_path / "out" / "runs"
    assert replace(config, data=Path("mine")).data_directory == tmp_path / "mine"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("directory", ["out", "out put", "50%25 #1", "ünï"])
def test_metadata_is_in_the_output_directory(tmp_path: Path, directory: str) -> None:
    """The default store is metadata.db in the output directory, however it is named."""
    config = Config(output=tmp_path / directory)

    connection = connection_config(config.metadata_url)

    assert Path(connection.sqlite.filename_uri) == tmp_path / directory / "metadata.db"


@pytest.mark.parametrize(
    ("given", "environment", "url"),
    [
        (None, {"THROUGHLINE_METADATA": "mysql://e@h/d"}, "mysql://e@h/d"),
        ("mysql://f@h/d", {"THROUGHLINE_METADATA": "mysql://e@h/d"}, "mysql://f@h/d"),
        ("mysql://f@h/d", {}, "mysql://f@h/d"),
        (None, {"THROUGHLINE_METADATA": ""}, None),
        (None, {"METADATA": "mysql://e@h/d"}, None),
    ],
)
def test_environment_fills_what_was_not_given(
    given: str | None, environment: dict[str, str], url: str | None
) -> None:
    """THROUGHLINE_METADATA gives the store's URL unless a flag does."""
    config = with_environment(Config(metadata=given), environment)

    assert config.metadata == url


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL in throughline.toml gives way to THROUGHLINE_METADATA."""
    url = "mysql://file@h/d"
    monkeypatch.setattr(settings, "project_settings", lambda: {"metadata": url})

    found = with_environment(
        settings.local(), {"THROUGHLINE_METADATA": "mysql://e@h/d"}
    )

    assert settings.local().metadata == url
    assert found.metadata == "mysql://e@h/d"


def test_beams_engine_is_named() -> None:
    """Beam is told its engine, since its own choice downloads one."""
    assert Config().beam_pipeline_args[0] == (
        "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
    )


def test_tfx_does_not_pack_itself_for_beam() -> None:
    """Beam's arguments keep TFX from making a package for workers that don't exist."""
    arguments = Config().beam_pipeline_args

    assert make_beam_dependency_flags(arguments) == arguments


def test_smoke_differs_in_training_only() -> None:
    """The smoke preset is the main job with 50 steps and low thresholds."""
    smoke, local = settings.PRESETS["smoke"](), settings.PRESETS["local"]()

    quality = replace(
        local.quality, min_auc=0.6, max_slice_auc_loss=1.0, max_error_rate_gap=1.0
    )
    assert smoke == replace(local, train_steps=50, quality=quality)


def test_the_main_job_has_the_settings_of_the_projects_file() -> None:
    """What throughline.toml says holds, and what it doesn't is the default."""
    found = {path: value for path, _, value in settings_file.paths_of(settings.local())}
    plain = {path: value for path, _, value in settings_file.paths_of(Config())}

    assert found == plain | settings.project_settings()
    assert settings.project_settings()


def test_importing_settings_is_quick_and_does_nothing(tmp_path: Path) -> None:
    """The settings and the command line import neither TFX nor TensorFlow."""
    code = (
        "import sys; import pipeline.config, pipeline.cli; "
        "print([m for m in ('tfx', 'tensorflow', 'apache_beam', 'ml_metadata') "
        "if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )

    assert done.stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("image", ["tensorflow/serving", "r/server@sha256:0", "a b:1"])
def test_an_image_has_a_tag(image: str) -> None:
    """TFX wants the name and the tag of a model server's image."""
    with pytest.raises(UsageError, match=rf"serving-check.image is '{image}'; it must"):
        ServingCheck(image=image)


def test_rules_are_checked_and_completed() -> None:
    """The thresholds are rules like any other; crosses are slices of two columns."""
    quality = Quality(
        min_auc=0.9,
        slice_columns=("fare",),
        slice_crosses=("company, fare",),
        rules=("recall by pickup_side >= 0.5",),
    )

    assert quality.all_rules == (
        "auc >= 0.9",
        "auc loss <= 0.005",
        "auc by fare loss <= 0.02",
        "auc by company,fare loss <= 0.02",
        "false_positive_rate by pickup_side gap <= 0.3",
        "false_negative_rate by pickup_side gap <= 0.3",
        "recall by pickup_side >= 0.5",
    )
    # A group is looked up in the schema by its column.
    assert quality.columns == ("fare", "company", "pickup_community_area")
    with pytest.raises(UsageError, match="is no rule"):
        Quality(rules=("more",))
    with pytest.raises(UsageError, match="one of the two errors must cost something"):
        Quality(false_positive_cost=0, false_negative_cost=0)
