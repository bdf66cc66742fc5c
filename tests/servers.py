"""Database servers that tests start on loopback ports, as metadata stores.

Each is skipped, with the reason, on a machine without its programs. The tables of a
database are MLMD's to create, so a test takes a database of its own by name.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

PASSWORD = "p w'\\@/:#?%"  # noqa: S105 - of the test's own server
"""All that a URL, libpq and SQL have rules for."""

_SECONDS_TO_START = 120
# The first two are in mariadb-server-core, which doesn't depend on what has the third.
_MARIADB = ("mariadbd", "mariadb-install-db", "my_print_defaults", "resolveip")


@contextmanager
def mariadb() -> Iterator[str]:
    """Runs a MariaDB server; yields its URL, which lacks the database's name."""
    lacking = [name for name in _MARIADB if not shutil.which(name)]
    if lacking:
        pytest.skip(f"there is no MariaDB server: {', '.join(lacking)} not on PATH")
    user = _account("mysql", "MariaDB")
    with _directory("mariadb-", user) as directory:
        start = directory / "start.sql"
        # The server wants each statement on a line of its own.
        start.write_text(
            "CREATE USER 'u'@'127.0.0.1' IDENTIFIED BY 'geheim';\n"
            "GRANT ALL ON *.* TO 'u'@'127.0.0.1';\n"
        )
        common = ["--no-defaults", f"--user={user}", f"--datadir={directory / 'data'}"]
        _installed(["mariadb-install-db", *common])
        # The server would add .err to a name without a suffix.
        port, log = free_port(), directory / "log.err"
        command = [
            *("mariadbd", *common, f"--socket={directory}/s", f"--port={port}"),
            *("--bind-address=127.0.0.1", f"--init-file={start}"),
            # Creating tables waits for the disk, which a test need not.
            *("--innodb-flush-log-at-trx-commit=0", f"--log-error={log}"),
        ]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server:
            try:
                _wait_for("ready for connections", log, server)
                yield f"mysql://u:geheim@127.0.0.1:{port}"
            finally:
                server.kill()


@contextmanager
def postgresql() -> Iterator[str]:
    """Runs a PostgreSQL server; yields its URL, which lacks the database's name."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not programs:
        pytest.skip("there is no PostgreSQL server in /usr/lib/postgresql")
    user = _account("postgres", "PostgreSQL")
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    with _directory("postgresql-", user) as directory:
        password = directory / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        as_user: dict[str, Any] = {"user": user, "env": environment, "cwd": directory}
        _installed(
            [
                *(str(programs[-1].parent / "initdb"), "-D", str(directory / "data")),
                *("-U", "the user", "-A", "scram-sha-256", "--pwfile", str(password)),
                *("--no-sync", "-E", "UTF8"),
            ],
            **as_user,
        )
        port, log = free_port(), directory / "log"
        settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
        ]
        command = [
            *(str(programs[-1]), "-D", str(directory / "data"), "-p", str(port)),
            *(word for setting in settings for word in ("-c", setting)),
        ]
        with (
            log.open("w") as file,
            subprocess.Popen(command, stderr=file, **as_user) as server,
        ):
            try:
                _wait_for("ready to accept", log, server)
                yield (
                    f"postgresql://the%20user:{quote(PASSWORD, safe='')}"
                    f"@127.0.0.1:{port}"
                )
            finally:
                # Fast shutdown: the gentle one waits for clients, and MLMD keeps
                # connections.
                server.send_signal(signal.SIGINT)
                try:
                    server.wait(30)
                except subprocess.TimeoutExpired:
                    server.kill()


def _account(name: str, server: str) -> str:
    """Returns the user that a server runs as: not root, which both reject."""
    if os.geteuid():
        return pwd.getpwuid(os.geteuid()).pw_name
    if name not in {account.pw_name for account in pwd.getpwall()}:
        pytest.skip(f"{server} does not run as root, and there is no user {name}")
    return name


@contextmanager
def _directory(prefix: str, user: str) -> Iterator[Path]:
    """A directory of a user; not below tmp_path, which only we may enter."""
    directory = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        shutil.chown(directory, user)
        yield directory
    finally:
        shutil.rmtree(directory)


def _installed(command: Sequence[str], **more: Any) -> None:
    """Creates a server's files; skips if the machine's packages can't do that."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        name = Path(command[0]).name
        pytest.skip(f"{name} ended with {done.returncode}: {' '.join(said[-3:])}")


def free_port() -> int:
    """Returns a port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _wait_for(text: str, log: Path, server: "subprocess.Popen[bytes]") -> None:
    def said() -> str:
        return log.read_text() if log.is_file() else ""

    deadline = time.monotonic() + _SECONDS_TO_START
    while text not in said():
        assert time.monotonic() < deadline, said()
        assert server.poll() is None, said()
        time.sleep(0.05)
