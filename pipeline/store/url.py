"""The URL of the metadata store, and its redaction.

Nothing that is printed, logged or stored contains a password: URLs pass through
`redact`, and texts from libraries through `without_secrets`.
"""

import logging
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pipeline.errors import HIDDEN, remember_secrets, without_secrets

METADATA_FILE = "metadata.db"
"""The store of an output directory that is given no other."""

_SERVER = re.compile(
    # The user's name, and everything else up to the last "@".
    r"(?P<scheme>mysql|postgresql|postgres)://"
    r"(?:(?P<user>[^:]*)(?P<password>:.*)?@)?"
    r"(?P<where>(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/[\w.%~-]+/?)",
    re.DOTALL,
)
_NAME = re.compile(r"[\w.%+~-]*")
_FILE = re.compile(r"sqlite:///[^?#]*", re.DOTALL)
# A path without a scheme. A DSN would have one of the excluded characters.
_PATH = re.compile(r"[./~][^:@=?#]*", re.DOTALL)


def redact(url: str) -> str:
    """Returns a URL with `***` in place of everything that may be a password.

    A malformed URL may contain a password anywhere, so only a known scheme is kept.

    Args:
        url: URL of a metadata store, or any text given in its place.
    """
    if _FILE.fullmatch(url) or _PATH.fullmatch(url):
        return url
    found = _SERVER.fullmatch(url)
    if found is None:
        scheme = re.match(r"(sqlite|mysql|postgresql|postgres)://", url)
        return f"{scheme[0] if scheme else ''}{HIDDEN}"
    user = found["user"]
    if user is None:
        return url
    shown = user if _NAME.fullmatch(user) else HIDDEN
    password = f":{HIDDEN}" if found["password"] else ""
    return f"{found['scheme']}://{shown}{password}@{found['where']}"


def remember_password(url: str) -> None:
    """Registers the password of a URL with `without_secrets`, in all its spellings."""
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return
    # Libraries print it decoded, and libpq's connection string has it escaped.
    for text in (password, unquote(password)):
        escaped = text.replace("\\", r"\\").replace("'", r"\'")
        remember_secrets([text, escaped])


class RedactingFormatter(logging.Formatter):
    """Formats log records, tracebacks included, without passwords."""

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record as `logging.Formatter` does, and then redacts it."""
        return without_secrets(super().format(record))


def of_file(path: Path) -> str:
    """Returns the URL of an SQLite store; special characters are percent-encoded.

    Args:
        path: The store's file, absolute.
    """
    # Two slashes, and the third is the path's own.
    return f"sqlite://{quote(str(path))}"


def is_file(url: str) -> bool:
    """Whether a URL is that of an SQLite file rather than of a server."""
    return url.startswith("sqlite:")
