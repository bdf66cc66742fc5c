"""The images, built from this checkout, Debian and PyPI; a run without containers."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.config import METADATA_VARIABLE
from tests.containers import daemon
from tests.e2e.orchestrated import SMOKE
from tests.e2e.runs import PROJECT, Finished, run_local

DEBIAN = "throughline-debian:trixie"
"""A minimal Debian 13, with certificates only."""
BASE = "throughline-base:trixie"
"""The same with Debian's Python 3.13."""

OWNER = 12_345
"""The user that kfp's containers run as; neither the machine nor the image knows it."""

_PYTHON = "python3 python3-dev python3-venv python-is-python3"


@dataclass(frozen=True)
class Started:
    """A run in containers that has begun.

    Attributes:
        process: The command that compiles and runs the package.
        log: What it prints.
        output: The output directory, which is the volume.
        url: The metadata store, on PostgreSQL.
    """

    process: "subprocess.Popen[bytes]"
    log: Path
    output: Path
    url: str


@pytest.fixture(scope="session")
def docker() -> Iterator[None]:
    """A daemon that DOCKER_HOST leads to; skipped where there can't be one."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            with daemon.running() as address:
                patch.setenv("DOCKER_HOST", address)
                yield
        except daemon.UnavailableError as why:
            # CI has looked before it started these tests.
            if os.environ.get("CI"):
                raise
            pytest.skip(str(why))


@pytest.fixture(scope="session")
def debian(docker: None) -> str:
    """The image of a minimal Debian 13, as `debootstrap` makes it."""
    if not daemon.docker("images", "--quiet", DEBIAN):
        _make_debian()
    return DEBIAN


@pytest.fixture(scope="session")
def base(debian: str) -> str:
    """The image that ours are built on."""
    steps = (
        f"FROM {debian}\n"
        "RUN apt-get update && apt-get install --yes --no-install-recommends "
        f"{_PYTHON} && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin\n"
    )
    build(BASE, steps)
    return BASE


@pytest.fixture(scope="session")
def image(base: str) -> str:
    """The image of the nodes, built by `make image`'s script."""
    return _build_stage("nodes")


@pytest.fixture(scope="session")
def server(base: str) -> str:
    """The image of the server."""
    return _build_stage("server")


@pytest.fixture(scope="session")
def validator(base: str) -> str:
    """The image of the server that TFX's InfraValidator starts."""
    return _build_stage("validator")


@pytest.fixture(scope="session")
def worker(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of Beam's workers, with a program in the place of Beam's boot.

    The real one is in an image that only a registry has. Ours does what made the real
    one fail: it asks pip for Beam's version.
    """
    root = tmp_path_factory.mktemp("sdk")
    boot = root / "opt" / "apache" / "beam" / "boot"
    boot.parent.mkdir(parents=True)
    boot.write_text('#!/bin/sh\nexec python -m pip show apache-beam "$@"\n')
    boot.chmod(0o755)
    archive = str(root / "sdk.tar")
    daemon.call("tar", "--create", f"--file={archive}", f"--directory={root}", "opt")
    daemon.docker("import", archive, "throughline-sdk:test")
    return _build_stage("worker", "--build-arg", "SDK=throughline-sdk:test")


@pytest.fixture(scope="session")
def kubeflow(
    image: str, postgresql: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Started]:
    """The pipeline, compiled for Kubeflow and being run by kfp."""
    output = tmp_path_factory.mktemp("volume")
    os.chown(output, OWNER, OWNER)
    url = f"{postgresql}/kubeflow"
    command = [sys.executable, "-m", "pipeline.cli", "compile", "--target", "kubeflow"]
    package = tmp_path_factory.mktemp("package")
    places = ["--output", str(output), "--out", str(package)]
    log = package / "log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [*command, "--run-local", "--image", image, *places, *SMOKE],
            cwd=PROJECT,
            env={**os.environ, METADATA_VARIABLE: url},
            stdout=file,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        yield Started(process, log, output, url)
        # It removes its containers then; nothing happens if it has ended.
        process.send_signal(signal.SIGINT)


@pytest.fixture(scope="session", autouse=True)
def _longest_first(request: pytest.FixtureRequest) -> None:
    """Begins the run by kfp, if a test waits for it, before all other tests.

    Its containers follow one another and keep one core busy for minutes.
    """
    needed = {name for item in request.session.items for name in _fixtures_of(item)}
    # A fixture that failed does so again in the tests that need it, and only there.
    with suppress(pytest.skip.Exception, AssertionError):
        if "kubeflow" in needed:
            request.getfixturevalue("kubeflow")


def _fixtures_of(item: pytest.Item) -> list[str]:
    return list(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def on_host(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The pipeline without containers."""
    done = run_local(tmp_path_factory.mktemp("host") / "out", *SMOKE)
    assert done.exit_code == 0, done.text
    return done


def build(name: str, dockerfile: str) -> None:
    """Builds an image from a Dockerfile that copies nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_BUILDKIT", "1")
        flags = ("--network=host", "--tag", name, "-")
        daemon.docker("build", *flags, stdin=dockerfile.encode())


def _build_stage(stage: str, *flags: str) -> str:
    """Builds a stage of the Dockerfile; the last `--target` counts."""
    name = f"throughline-{stage}:test"
    build_flags = ("--network", "host", "--target", stage, *flags)
    done = subprocess.run(
        [PROJECT / "environments" / "image", *build_flags],
        env={**os.environ, "IMAGE": name, "BASE": BASE, "DOCKER": daemon.CLIENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return name


def _make_debian() -> None:
    # The first is the machine's own; without one debootstrap has a default.
    targets = daemon.call(
        *("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)"),
        "Created-By: Packages",
    ).splitlines()
    mirrors = [line.split()[0] for line in targets if "-" not in line.split()[-1]]
    with tempfile.TemporaryDirectory(prefix="debian-", dir=daemon.CACHE) as directory:
        root = Path(directory) / "root"
        daemon.call(
            # What it mounts goes with it, also if it fails.
            *("unshare", "--mount", "debootstrap", "--variant=minbase"),
            *("--include=ca-certificates", "trixie", str(root), *mirrors[:1]),
        )
        # What this machine trusts, such as a proxy's certificate, the build needs too.
        for name in ("etc/ssl/certs/ca-certificates.crt", "etc/pip.conf"):
            if (Path("/") / name).is_file():
                shutil.copy(Path("/") / name, root / name)
        archive = f"{directory}/debian.tar"
        daemon.call(
            *("tar", "--create", f"--file={archive}", f"--directory={root}"),
            *("--exclude=./var/cache/apt/archives/*.deb", "."),
        )
        daemon.docker("import", archive, DEBIAN)
