"""A configuration, written as flags and read again."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.hyperparameters import Hyperparameters
from pipeline import cli
from pipeline import config as settings
from pipeline.config import Config, Gate, Quality, Tune
from pipeline.runners import job
from pipeline.runners.flags import flags_of

BASE = settings.kubeflow()


@pytest.mark.parametrize(
    "config",
    [
        BASE,
        replace(BASE, train_steps=20, data=Path("/mnt/my data")),
        replace(BASE, model=replace(Hyperparameters(), dropout=0.25)),
        replace(BASE, quality=Quality(min_auc=0.5, slice_columns=("company", "a b"))),
        replace(BASE, gate=Gate(warn=("DRIFT",))),
        replace(BASE, pattern="{YYYY}-{MM}-{DD}/*.csv", window="all"),
        replace(BASE, pattern="span-{SPAN}/*.csv", span="5..8"),
        replace(BASE, tune=Tune(enabled=True, trials=3)),
    ],
)
def test_flags_give_the_configuration_back(config: Config) -> None:
    """What the command line makes of the flags is the configuration."""
    flags = flags_of(config, BASE)

    read, _ = cli.parse("x", ["--preset", "kubeflow", *flags], job.Options())

    assert read == config


def test_only_differences_are_flags() -> None:
    """A preset needs no flags, and one change needs one."""
    assert flags_of(BASE, BASE) == []
    assert flags_of(replace(BASE, seed=7), BASE) == ["--seed", "7"]


def test_a_switch_has_no_value() -> None:
    """It is a flag when it is on, and another one when it is off."""
    on = replace(BASE, tune=Tune(enabled=True))

    assert flags_of(on, BASE) == ["--tune.enabled"]
    assert flags_of(BASE, on) == ["--tune.no-enabled"]


def test_password_never_becomes_a_flag() -> None:
    """The metadata store's URL is left out."""
    assert flags_of(replace(BASE, metadata="mysql://u:hunter2@h/d"), BASE) == []
