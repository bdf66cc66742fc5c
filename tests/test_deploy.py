"""The files in deploy/ call commands with flags that exist."""

import configparser
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.settings import Operate
from pipeline import cli

DEPLOY = Path(__file__).parents[1] / "deploy"


def of_systemd() -> list[str]:
    """The command of the unit, without its program."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    # Its keys are case-sensitive, and continued lines end with a backslash.
    text = (DEPLOY / "throughline-operate.service").read_text().replace("\\\n", " ")
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    return shlex.split(unit["Service"]["ExecStart"])[1:]


def of_compose() -> list[str]:
    """The command of the service."""
    compose: Any = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    command: list[str] = compose["services"]["operate"]["command"]
    return command[1:]


def of_kubernetes() -> list[str]:
    """The command of the CronJob."""
    job: Any = yaml.safe_load((DEPLOY / "operate-cronjob.yaml").read_text())
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    command: list[str] = pod["containers"][0]["command"]
    return command[1:]


@pytest.mark.parametrize("read", [of_systemd, of_compose, of_kubernetes])
def test_commands_are_understood(read: Any) -> None:
    """`throughline operate`, with spans and a window."""
    command, *flags = read()

    config, options = cli.parse("x", flags, Operate())

    assert command == "operate"
    assert config.wanted_spans is not None
    assert options.once is (read is of_kubernetes)
