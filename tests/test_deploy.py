"""The files in deploy/ call commands with flags that exist."""

import configparser
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.settings import Operate
from pipeline import cli
from pipeline.commands.serve import serve
from pipeline.errors import UsageError

DEPLOY = Path(__file__).parents[1] / "deploy"


def of_systemd(name: str = "throughline-operate.service") -> list[str]:
    """The command of a unit, without its program."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    # Its keys are case-sensitive, and continued lines end with a backslash.
    text = (DEPLOY / name).read_text().replace("\\\n", " ")
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


def served_by_systemd() -> list[str]:
    """The command of the server's unit."""
    return of_systemd("throughline-serve.service")


def served_by_compose() -> list[str]:
    """The command of the server's service."""
    compose: Any = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    command: list[str] = compose["services"]["serve"]["command"]
    return command


def served_by_kubernetes() -> list[str]:
    """The command of the Deployment."""
    deployment: Any = next(yaml.safe_load_all((DEPLOY / "serve.yaml").read_text()))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    command: list[str] = container["args"]
    return command


@pytest.mark.parametrize(
    ("serves", "operates"),
    [
        (served_by_systemd, of_systemd),
        (served_by_compose, of_compose),
        (served_by_kubernetes, of_kubernetes),
    ],
)
def test_what_is_operated_is_served(
    serves: Any, operates: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`throughline serve` takes the flags, and looks where `operate` pushes to."""
    command, *flags = serves()
    config, _ = cli.parse("x", operates()[1:], Operate())
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match="there is no version in") as refused:
        serve(flags)

    assert command == "serve"
    assert str(config.serving_directory) in str(refused.value)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
@pytest.mark.parametrize("name", [path.name for path in DEPLOY.glob("*.service")])
def test_systemd_knows_what_the_units_say(name: str, tmp_path: Path) -> None:
    """Each key and value, with a program that this machine has."""
    unit = tmp_path / name
    text = (DEPLOY / name).read_text()
    unit.write_text(
        text.replace("/opt/throughline/.venv/bin/throughline", sys.executable)
        .replace("/opt/throughline", str(tmp_path))
        .replace("User=throughline", "User=root")
    )

    checked = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Restart=on-failure" in text
    assert (checked.returncode, checked.stderr) == (0, "")
