"""Connections to the metadata store, from its URL.

A password in the URL is never printed, logged or put into a compiled pipeline.
"""

import random
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from ml_metadata import errors
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.errors import ThroughlineError, UsageError, without_secrets
from pipeline.store.url import redact, remember_password

_HINT = (
    "check that its directory can be written to, or that the server runs and that "
    "host, port, user and password are right"
)

_ATTEMPTS = 10
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 4.0
"""Seconds; the pauses double, up to 22 s in all. A busy MariaDB takes several to create
the tables."""
# Errors of MLMD and of the databases while another process creates the tables.
_BEING_CREATED = re.compile(
    "concurrent connection|already exists|database is locked|deadlock|duplicate",
    re.IGNORECASE,
)

_EXPECTED = (
    "sqlite:///path/metadata.db, mysql://user:password@host:3306/database or "
    "postgresql://user:password@host:5432/database"
)


def connection_config(url: str) -> mlmd.ConnectionConfig:
    """Converts the URL of a metadata store to MLMD's connection settings.

    Args:
        url: sqlite:///, mysql:// or postgresql://; user and password may be
            percent-encoded.

    Returns:
        The settings; MLMD creates a missing SQLite file when it connects.

    Raises:
        UsageError: The scheme is not one of the three, or a part is missing.
    """
    remember_password(url)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _wrong(url, "its host is malformed") from error
    # urlsplit would end the path there, and a database of another name be created.
    if "?" in url or "#" in url:
        raise _wrong(url, "'?' and '#' must be percent-encoded, as %3F and %23")
    if parts.scheme == "sqlite":
        if parts.netloc:
            raise _wrong(
                url, "a path after two slashes is taken for a host, write three"
            )
        if not parts.path.strip("/"):
            raise _wrong(url, "it names no file")
        return mlmd.ConnectionConfig(
            sqlite=mlmd.SqliteMetadataSourceConfig(
                filename_uri=unquote(parts.path),
                connection_mode=mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE,
            )
        )
    if parts.scheme == "mysql":
        settings = _server_settings(url, parts)
        return mlmd.ConnectionConfig(
            mysql=mlmd.MySQLDatabaseConfig(
                database=settings.pop("dbname"), **{"port": 3306, **settings}
            )
        )
    if parts.scheme in {"postgresql", "postgres"}:
        settings = {"port": 5432, **_server_settings(url, parts)}
        # MLMD's protos differ: the port is a number for MySQL and a string here.
        settings["port"] = str(settings["port"])
        # MLMD inserts these into libpq's "user=... password=..." without quoting.
        for name in {"user", "password"} & settings.keys():
            settings[name] = _quoted_for_libpq(settings[name])
        return mlmd.ConnectionConfig(
            postgresql=mlmd.PostgreSQLDatabaseConfig(**settings)
        )
    # Without "://", the text before the first ":" may be a user's name: not shown.
    scheme = parts.scheme if f"{parts.scheme}://" in url.lower() else ""
    raise _wrong(url, f"{scheme or 'no'} scheme is not one of the three")


def open_store(url: str) -> mlmd.ConnectionConfig:
    """Connects to the metadata store once, so that errors show before a run starts.

    Creates the directory and the file of an SQLite store, and the tables of an empty
    database.

    Args:
        url: See `connection_config`.

    Returns:
        Connection settings that work.

    Raises:
        UsageError: The URL is invalid.
        ThroughlineError: The store can't be reached, or rejects the connection.
    """
    config = connection_config(url)
    try:
        if config.HasField("sqlite"):
            Path(config.sqlite.filename_uri).parent.mkdir(parents=True, exist_ok=True)
        _connect(config)
    except (errors.StatusError, RuntimeError, OSError) as error:
        # MLMD's errors go on with the SQL statement and C++ source locations.
        reason = without_secrets((str(error).splitlines() or [""])[0]).rstrip(" :,")
        msg = f"The metadata store {redact(url)} can't be opened: {reason}; {_HINT}"
        # Not "from error": its text may hold the password, and a log shows the chain.
        raise ThroughlineError(msg) from None
    return config


def existing_store(url: str) -> mlmd.ConnectionConfig:
    """Connects like `open_store`, but creates no file: for commands that only read.

    Raises:
        UsageError: The SQLite file doesn't exist, or the URL is invalid.
        ThroughlineError: The store can't be reached, or rejects the connection.
    """
    if not exists(url):
        path = connection_config(url).sqlite.filename_uri
        raise UsageError(
            f"There is no metadata store at {path}; `python run_local.py` creates "
            "one, and --output or --metadata name another"
        )
    return open_store(url)


def exists(url: str) -> bool:
    """Whether an SQLite store's file exists; always true for a server.

    Opening a store would create it, which a command that only reads must not.
    """
    config = connection_config(url)
    return not config.HasField("sqlite") or Path(config.sqlite.filename_uri).is_file()


def _connect(config: mlmd.ConnectionConfig) -> None:
    """Opens a store once, which creates the tables of an empty database; retries.

    MLMD creates the tables without a lock. If two processes do so at once, one of them
    finds only some of the tables, or fails to create one that exists by now. The tables
    are complete a moment later.
    """
    for attempt in range(_ATTEMPTS):
        try:
            MetadataStore(config)
        except (errors.StatusError, RuntimeError) as error:
            if attempt + 1 == _ATTEMPTS or not _BEING_CREATED.search(str(error)):
                raise
            # Random, so that two processes that collided don't collide again.
            pause = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
            time.sleep(random.uniform(0.5, 1) * pause)  # noqa: S311
        else:
            return


def _quoted_for_libpq(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace("'", r"\'")
    return f"'{escaped}'"


def _server_settings(url: str, parts: SplitResult) -> dict[str, Any]:
    database = parts.path.strip("/")
    try:
        port = parts.port
    except ValueError as error:
        raise _wrong(
            url,
            "its port is not a number up to 65535 (':', '/' and '@' in a password must "
            "be percent-encoded)",
        ) from error
    if not parts.hostname or not database:
        raise _wrong(url, "it names no host or no database")
    given = {
        "host": parts.hostname,
        "port": port,
        "user": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "dbname": unquote(database),
    }
    return {name: value for name, value in given.items() if value}


def _wrong(url: str, why: str) -> UsageError:
    msg = f"The metadata store {redact(url)} can't be used: {why}; expected {_EXPECTED}"
    return UsageError(msg)
