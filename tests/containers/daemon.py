"""A Docker daemon of the tests' own, and images that nothing is pulled for.

Its layers, 13 GB, are kept in ~/.cache/throughline/containers, so that a second build
takes seconds; nothing runs on after the tests. `python -m tests.containers.daemon`
exits with 0 if a container can run here, and prints why not otherwise.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path.home() / ".cache" / "throughline" / "containers"
# Debian's own client first: it can build without a plug-in.
CLIENT = shutil.which("docker", path="/usr/bin") or shutil.which("docker") or "docker"

_NEEDED = ("dockerd", "docker", "debootstrap", "ip")
_NEEDED_GIGABYTES = 20
_NEEDED_GIGABYTES_MORE = 5
_SECONDS_TO_START = 60
_BRIDGE = "throughline0"
# Of a range that RFC 2544 reserves for tests: no network that a machine is in.
_ADDRESS = "198.18.77.1/24"


class UnavailableError(Exception):
    """No container can run here; the message says why."""


def call(*command: str, stdin: bytes | None = None) -> str:
    """Calls a program that must succeed; returns what it printed."""
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    text = done.stdout.decode(errors="replace")
    assert done.returncode == 0, text + done.stderr.decode(errors="replace")
    return text.strip()


def docker(*words: str, stdin: bytes | None = None) -> str:
    """Calls Docker's client; returns what it printed."""
    return call(CLIENT, *words, stdin=stdin)


@contextmanager
def running() -> Iterator[str]:
    """Starts a daemon, and stops it with all that it has started.

    It has a bridge of its own, on which published ports can be reached from this
    machine. Other containers use the machine's network.

    Yields:
        The daemon's address, for DOCKER_HOST.

    Raises:
        UnavailableError: It can't be started here.
    """
    lacking = [name for name in _NEEDED if not shutil.which(name)]
    if lacking:
        raise UnavailableError(f"there is no {', '.join(lacking)}")
    if os.geteuid() != 0:
        raise UnavailableError("only root can start Docker's daemon")
    CACHE.mkdir(parents=True, exist_ok=True)
    _check_disk()
    # A socket's path must be short.
    directory = Path(tempfile.mkdtemp(prefix="dockerd-"))
    try:
        with (CACHE / "lock").open("w") as lock:
            # Two daemons can't share one directory.
            fcntl.flock(lock, fcntl.LOCK_EX)
            with _bridge(), _daemon(directory) as address:
                yield address
    finally:
        # It leaves this one mounted.
        network = directory / "exec" / "netns" / "default"
        subprocess.run(["umount", network], capture_output=True, check=False)
        shutil.rmtree(directory)


def _check_disk() -> None:
    # Where there are layers, most of it is used already.
    has_layers = (CACHE / "data" / "overlay2").exists()
    needed = _NEEDED_GIGABYTES_MORE if has_layers else _NEEDED_GIGABYTES
    free = shutil.disk_usage(CACHE).free / 1e9
    if free < needed:
        raise UnavailableError(
            f"{CACHE} has {free:.0f} GB of free disk, and needs {needed}"
        )


@contextmanager
def _bridge() -> Iterator[None]:
    try:
        # One of a killed run may be left.
        delete = ("ip", "link", "delete", _BRIDGE)
        subprocess.run(delete, capture_output=True, check=False)
        call("ip", "link", "add", _BRIDGE, "type", "bridge")
        call("ip", "address", "add", _ADDRESS, "dev", _BRIDGE)
        call("ip", "link", "set", _BRIDGE, "up")
    except AssertionError as error:
        raise UnavailableError(f"no bridge can be made: {error}") from None
    try:
        yield
    finally:
        call(*delete)


@contextmanager
def _daemon(directory: Path) -> Iterator[str]:
    address = f"unix://{directory}/socket"
    log = directory / "log"
    command = [
        # It ends with these tests, even if they are killed.
        *("setpriv", "--pdeathsig", "TERM", "dockerd"),
        *(f"--bridge={_BRIDGE}", "--iptables=false", "--ip6tables=false"),
        *("--ip-forward=false", "--ip-masq=false"),
        # Others copy each layer, and 13 GB would be a hundred: it doesn't start then.
        "--storage-driver=overlay2",
        f"--data-root={CACHE / 'data'}",
        f"--exec-root={directory / 'exec'}",
        f"--pidfile={directory / 'pid'}",
        f"--host={address}",
    ]
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as daemon,
    ):
        try:
            _wait_for(daemon, log)
            yield address
        finally:
            # It stops its containers, and the containerd that it has started.
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(_SECONDS_TO_START)


def _wait_for(daemon: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _SECONDS_TO_START
    while "API listen on" not in log.read_text():
        if daemon.poll() is not None or time.monotonic() > end:
            # The last line says what it ended with; those before are its start.
            lines = log.read_text().strip().splitlines() or ["it printed nothing"]
            raise UnavailableError(f"dockerd doesn't start: {lines[-1]}")
        time.sleep(0.1)


def run_something() -> None:
    """Runs `true` in a container that has nothing but it.

    Raises:
        UnavailableError: Containers can't be run here.
    """
    program = shutil.which("true") or "/bin/true"
    libraries = re.findall(r"(?<=\s)/\S+", call("ldd", program))
    archive = subprocess.run(
        ["tar", "--create", "--dereference", program, *libraries],
        capture_output=True,
        check=True,
    )
    try:
        docker("import", "-", "throughline-probe:test", stdin=archive.stdout)
        docker("run", "--rm", "--network=host", "throughline-probe:test", program)
    except AssertionError as error:
        raise UnavailableError(f"a container doesn't run: {error}") from None


def main() -> int:
    """Reports whether containers can run here."""
    try:
        with running() as address:
            os.environ["DOCKER_HOST"] = address
            run_something()
    except UnavailableError as error:
        print(" ".join(str(error).split()))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
