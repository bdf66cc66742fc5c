"""What the Dockerfile and the code must agree on."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from pipeline.runners.containers import IMAGE_PROJECT, IMAGE_USER

PROJECT = Path(__file__).parents[1]
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
# What each stage is built on, and its steps.
STAGES = {
    name: (base, steps)
    for base, name, steps in re.findall(
        r"^FROM (\S+) AS ([\w-]+)\n((?:(?!FROM ).*\n)*)", DOCKERFILE, re.MULTILINE
    )
}
LOCK = (PROJECT / "requirements.lock").read_text()


def test_worker_has_the_beam_of_the_lock_file() -> None:
    """The boot program is that of the Beam that the environment has."""
    (image,) = re.findall(r"^ARG SDK=.*_sdk:([\d.]+)$", DOCKERFILE, re.MULTILINE)
    (locked,) = re.findall(r"^apache-beam(?:\[.*?\])?==([\d.]+)", LOCK, re.MULTILINE)

    assert image == locked


def test_image_has_the_place_and_the_user_that_manifests_name() -> None:
    """The project's directory and the user are those that the runners rely on."""
    assert f"WORKDIR {IMAGE_PROJECT}\n" in DOCKERFILE
    assert f"USER {IMAGE_USER}:{IMAGE_USER}\n" in DOCKERFILE


def test_all_that_is_copied_exists_and_is_sent() -> None:
    """Each file that the Dockerfile copies is there, and .dockerignore lets it pass."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {name for line in lines for name in line.split()}
    sent = (PROJECT / ".dockerignore").read_text().splitlines()

    assert all((PROJECT / name).exists() for name in copied)
    assert {f"!{name}" for name in copied} == {s for s in sent if s.startswith("!")}


def test_needs_no_frontend_from_a_registry() -> None:
    """No `# syntax=` line: it makes the builder fetch a frontend, offline too."""
    assert not re.search(r"^# *syntax *=", DOCKERFILE, re.MULTILINE)


def test_packages_are_built_where_a_compiler_is() -> None:
    """Pyfarmhash has no wheel: a stage with g++ installs it, and no image has g++."""
    shipped = ("nodes", "server", "validator", "worker")

    assert "g++" in STAGES["tools"][1]
    installing = {name for name, (_, steps) in STAGES.items() if "uv pip sync" in steps}
    assert installing == {"packages", "server-packages"}
    assert {STAGES[name][0] for name in installing} == {"tools"}
    assert {STAGES[name][0] for name in shipped} == {"$BASE", "server", "nodes"}
    assert not [name for name in shipped if "g++" in STAGES[name][1]]


@pytest.mark.parametrize(
    ("version", "buildx", "code", "said"),
    [
        ("Docker version 28.2.2, build e6", 1, 2, "lacks its plug-in buildx"),
        ("Docker version 28.2.2, build e6", 0, 0, "build --target nodes --tag r/t:1"),
        ("Docker version 20.10.24+dfsg1", 1, 0, "--build-arg BASE=b --quiet ."),
        ("podman version 4.3.1", 1, 0, "build --target nodes"),
        (None, 1, 2, "there is no "),
    ],
)
def test_image_is_built_by_what_can(
    tmp_path: Path, version: str | None, buildx: int, code: int, said: str
) -> None:
    """`make image` calls the builder, or says in a sentence what it lacks."""
    docker = tmp_path / "docker"
    if version:
        docker.write_text(
            "#!/bin/sh\n"
            f'case $1 in --version) echo "{version}" ;; buildx) exit {buildx} ;;\n'
            '*) echo "$DOCKER_BUILDKIT $*" ;; esac\n'
        )
        docker.chmod(0o755)

    done = subprocess.run(
        [PROJECT / "environments" / "image", "--quiet"],
        env={
            "PATH": os.environ["PATH"],
            "DOCKER": str(docker),
            "IMAGE": "r/t:1",
            "BASE": "b",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert said in (done.stderr if code else done.stdout)


def test_only_what_running_needs_is_installed() -> None:
    """The nodes have the packages of requirements-run.txt, on their own base."""
    assert "requirements-run.txt" in STAGES["packages"][1]
    assert "--compile-bytecode /tmp/run.txt" in STAGES["packages"][1]
    assert STAGES["tools"][0] == STAGES["nodes"][0] == STAGES["server"][0] == "$BASE"


def test_every_package_is_copied() -> None:
    """The packages that setup.py installs are the directories that are copied."""
    text = (PROJECT / "setup.py").read_text()
    (names,) = re.findall(r"for name in \((.*?)\)", text, re.DOTALL)

    assert all(
        f"COPY {name} {name}\n" in DOCKERFILE for name in re.findall(r"\w+", names)
    )


def test_the_server_has_the_versions_of_the_lock_file() -> None:
    """Its own lock is a part of the whole one, and has neither TFX nor Beam."""
    served = (PROJECT / "environments" / "serving.lock").read_text()
    pin = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)

    pins, every = pin.findall(served), pin.findall(LOCK)

    assert {"tensorflow", "aiohttp", "tensorflow-serving-api"} <= dict(pins).keys()
    assert not {"tfx", "apache-beam", "ml-metadata"} & dict(pins).keys()
    assert set(pins) <= set(every)
