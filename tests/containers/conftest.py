"""A Docker daemon of the tests' own, and the images.

Nothing is pulled from a registry of images: the base is made with debootstrap. Daemon
and layers are kept in ~/.cache/throughline/containers, so that a second build takes
seconds; nothing runs on after the tests.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.runs import PROJECT

IMAGE = "throughline:test"
WORKER = "throughline-worker:test"
BASE = "throughline-base:trixie"

# Debian's own client first: it can build without a plug-in.
CLIENT = shutil.which("docker", path="/usr/bin") or shutil.which("docker") or "docker"

_CACHE = Path.home() / ".cache" / "throughline" / "containers"
_NEEDED = ("dockerd", "docker", "debootstrap")
_PACKAGES = (
    "ca-certificates",
    "python3",
    "python3-dev",
    "python3-venv",
    "python-is-python3",
)


def _require_docker() -> None:
    """Skips the tests where no daemon can be started; in CI that is an error."""
    lacking = [name for name in _NEEDED if not shutil.which(name)]
    if not lacking and os.geteuid() == 0:
        return
    why = f"there is no {', '.join(lacking)}" if lacking else "only root can do that"
    if os.environ.get("CI"):
        raise FileNotFoundError(why)
    pytest.skip(f"a Docker daemon can't be started: {why}")


@pytest.fixture(scope="session")
def docker() -> Iterator[None]:
    """A daemon that DOCKER_HOST leads to; its containers use the host's network."""
    _require_docker()
    _CACHE.mkdir(parents=True, exist_ok=True)
    # A socket's path must be short.
    directory = Path(tempfile.mkdtemp(prefix="dockerd-"))
    address = f"unix://{directory}/socket"
    log = directory / "log"
    with log.open("wb") as file:
        daemon = subprocess.Popen(
            [
                "dockerd",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                f"--data-root={_CACHE / 'data'}",
                f"--exec-root={directory / 'exec'}",
                f"--pidfile={directory / 'pid'}",
                f"--host={address}",
            ],
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + 60
        while "API listen on" not in log.read_text():
            assert daemon.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", address)
            yield
    finally:
        # It stops its containers, and the containerd that it has started.
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
        # It leaves this one mounted.
        network = directory / "exec" / "netns" / "default"
        subprocess.run(["umount", network], capture_output=True, check=False)
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def image(docker: None) -> str:
    """The image, built from this checkout by `make image`'s script."""
    if not _call(CLIENT, "images", "--quiet", BASE):
        _make_base()
    _build(IMAGE)
    return IMAGE


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
    _call("tar", "--create", f"--file={archive}", f"--directory={root}", "opt")
    _call(CLIENT, "import", archive, "throughline-sdk:test")
    _build(WORKER, *("--target", "worker", "--build-arg", "SDK=throughline-sdk:test"))
    return WORKER


def _build(name: str, *flags: str) -> None:
    done = subprocess.run(
        [PROJECT / "environments" / "image", "--network", "host", *flags],
        env={**os.environ, "IMAGE": name, "BASE": BASE, "DOCKER": CLIENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _make_base() -> None:
    """Imports a minimal Debian 13 with Python, as `debootstrap` makes it."""
    # The first is the machine's own; without one debootstrap has a default.
    targets = _call(
        *("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)"),
        "Created-By: Packages",
    ).splitlines()
    mirrors = [line.split()[0] for line in targets if "-" not in line.split()[-1]]
    with tempfile.TemporaryDirectory(prefix="base-", dir=_CACHE) as directory:
        root = Path(directory) / "root"
        _call(
            "debootstrap",
            "--variant=minbase",
            f"--include={','.join(_PACKAGES)}",
            "trixie",
            str(root),
            *mirrors[:1],
        )
        # What this machine trusts, such as a proxy's certificate, the build needs too.
        for name in ("etc/ssl/certs/ca-certificates.crt", "etc/pip.conf"):
            if (Path("/") / name).is_file():
                shutil.copy(Path("/") / name, root / name)
        archive = f"{directory}/base.tar"
        _call("tar", "--create", f"--file={archive}", f"--directory={root}", ".")
        _call(CLIENT, "import", archive, BASE)


def _call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
