"""What CI's job runs and what it skips, with the test's own programs on PATH."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

JOB = Path(__file__).parents[1] / ".ci" / "run"
# What the script itself calls; nothing else of the machine is on its PATH.
COMMANDS = (
    *("bash", "cat", "dirname", "env", "grep", "mktemp", "rm", "tail", "tee"),
    "timeout",
)
PROGRAMS = ("chromium", "javac", "mvn")
TARGETS = ["lint", "test", "test-clusters"]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the job in a directory of its own, whose PATH has the commands only."""
    bin_ = tmp_path / "bin"
    for directory in (bin_, tmp_path / ".ci", tmp_path / ".venv" / "bin"):
        directory.mkdir(parents=True)
    shutil.copy(JOB, tmp_path / ".ci" / "run")
    for name in COMMANDS:
        (bin_ / name).symlink_to(str(shutil.which(name)))

    def put(path: Path, script: str) -> None:
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def start(
        *,
        without: tuple[str, ...] = (),
        root: bool = True,
        seconds: int = 0,
        failing: str = "",
        **printed: str,
    ) -> "subprocess.CompletedProcess[str]":
        for name in {*PROGRAMS} - {*without}:
            put(bin_ / name, "exit 0")
        put(bin_ / "unshare", f"exit {int(not root)}")
        put(bin_ / "id", f"echo {int(not root)}")
        put(bin_ / "apt-get", "exit 100")
        put(tmp_path / ".venv" / "bin" / "python", "exit 0")
        results = {
            target.replace("-", "_"): "2 passed, 1 skipped" for target in TARGETS
        }
        lines = (
            f'{target.replace("_", "-")}) echo "{text}" ;;'
            for target, text in {**results, **printed}.items()
        )
        put(
            bin_ / "make",
            f'echo "$1" >>made\ncase $1 in {" ".join(lines)} esac\n'
            f'if [ "$1" = "{failing}" ]; then exit 2; fi',
        )
        return subprocess.run(
            [tmp_path / ".ci" / "run"],
            env={"PATH": str(bin_), "SECONDS": str(seconds)},
            capture_output=True,
            text=True,
            check=False,
        )

    return start


def made(tmp_path: Path) -> list[str]:
    """The targets that make was called with, in order."""
    return (tmp_path / "made").read_text().split()


def test_everything_runs_in_order(run: Run, tmp_path: Path) -> None:
    """Lint and the tests come first, then the cluster."""
    done = run()

    assert done.returncode == 0, done.stderr
    assert made(tmp_path) == TARGETS


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ({"seconds": 3600}, "the job began 60 minutes ago"),
        ({"root": False}, "only root can give it mounts and a network of its own"),
        (
            {"without": ("mvn",)},
            "there is no mvn, and apt-get can't install default-jdk-headless maven",
        ),
    ],
)
def test_what_can_not_begin_is_skipped_with_its_reason(
    run: Run, tmp_path: Path, where: dict[str, int], why: str
) -> None:
    """The job passes without the cluster, and prints why it is left out."""
    done = run(**where)

    assert done.returncode == 0, done.stderr
    assert made(tmp_path) == ["lint", "test"]
    assert f"ci: make test-clusters is skipped: {why}\n" in done.stdout


@pytest.mark.parametrize("target", ["test", "test_clusters"])
def test_tests_that_began_and_did_not_pass_fail_the_job(
    run: Run, tmp_path: Path, target: str
) -> None:
    """A target of which every test was skipped ends the job with an error."""
    done = run(**{target: "3 skipped in 1.00s"})

    assert done.returncode == 1
    name = target.replace("_", "-")
    assert f"ci: make {name}: not one test passed" in done.stderr
    assert made(tmp_path) == TARGETS[: TARGETS.index(name) + 1]


@pytest.mark.parametrize("target", TARGETS)
def test_a_failure_ends_the_job(run: Run, tmp_path: Path, target: str) -> None:
    """The job ends with make's exit code, and doesn't go on."""
    done = run(failing=target)

    assert done.returncode == 2
    assert made(tmp_path) == TARGETS[: TARGETS.index(target) + 1]
