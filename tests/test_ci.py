"""What CI's job runs and what it skips, with the test's own programs on PATH."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.containers import daemon

JOB = Path(__file__).parents[1] / ".ci" / "run"
# What the script itself calls; nothing else of the machine is on its PATH.
COMMANDS = (
    *("bash", "cat", "dirname", "env", "grep", "mktemp", "rm", "tail", "tee"),
    "timeout",
)
CLUSTERS = ("javac", "mvn")
CONTAINERS = ("dockerd", "debootstrap", "ip", "pg_ctlcluster")
PROGRAMS = ("chromium", *CLUSTERS, *CONTAINERS)
TARGETS = ["lint", "test", "test-clusters", "test-containers"]

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
        probe: str = "exit 0",
        **printed: str,
    ) -> "subprocess.CompletedProcess[str]":
        for name in {*PROGRAMS} - {*without}:
            put(bin_ / name, "exit 0")
        put(bin_ / "unshare", f"exit {int(not root)}")
        put(bin_ / "id", f"echo {int(not root)}")
        put(bin_ / "apt-get", "exit 100")
        # `python -m` is the probe for containers, `python -c` fetches a cluster's jars.
        put(
            tmp_path / ".venv" / "bin" / "python",
            f'echo "$@" >>asked\nif [ "$1" = -m ]; then {probe}; fi',
        )
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
    """Lint and the tests come first, then the clusters, then the containers."""
    done = run()

    assert done.returncode == 0, done.stderr
    assert made(tmp_path) == TARGETS


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ({"seconds": 3600}, "the job began 60 minutes ago"),
        ({"root": False}, "only root can give it mounts and a network of its own"),
    ],
)
def test_what_can_not_begin_is_skipped_with_its_reason(
    run: Run, tmp_path: Path, where: dict[str, int], why: str
) -> None:
    """The job passes without clusters and containers, and prints why."""
    done = run(**where)

    assert done.returncode == 0, done.stderr
    assert made(tmp_path) == ["lint", "test"]
    for target in TARGETS[2:]:
        assert f"ci: make {target} is skipped: {why}\n" in done.stdout


@pytest.mark.parametrize(
    ("program", "skipped", "packages"),
    [
        *((each, "test-clusters", "default-jdk-headless maven") for each in CLUSTERS),
        *(
            (each, "test-containers", "docker.io debootstrap iproute2 postgresql")
            for each in CONTAINERS
        ),
    ],
)
def test_a_missing_program_skips_the_tests_that_need_it(
    run: Run, tmp_path: Path, program: str, skipped: str, packages: str
) -> None:
    """The other tests run, and the reason names the program and its packages."""
    done = run(without=(program,))

    assert done.returncode == 0, done.stderr
    assert made(tmp_path) == [target for target in TARGETS if target != skipped]
    why = f"there is no {program}, and apt-get can't install {packages}"
    assert f"ci: make {skipped} is skipped: {why}\n" in done.stdout


@pytest.mark.parametrize(
    ("probe", "why"),
    [
        ("echo 'no bridge can be made'; exit 1", "no bridge can be made"),
        ("echo 'Traceback' >&2; exit 1", "Docker's daemon can't be tried"),
    ],
)
def test_containers_are_skipped_where_none_can_run(
    run: Run, tmp_path: Path, probe: str, why: str
) -> None:
    """The reason is the one that the attempt to run a container printed."""
    done = run(probe=probe)

    assert done.returncode == 0, done.stderr
    assert made(tmp_path) == TARGETS[:-1]
    assert f"ci: make test-containers is skipped: {why}\n" in done.stdout
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[-1] == f"-m {daemon.__name__}"


@pytest.mark.parametrize("target", ["test", "test_clusters", "test_containers"])
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
