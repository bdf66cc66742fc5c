"""The URL of the metadata store: which kind it is, and how to show it.

Nothing that is printed, logged or stored holds a password: a URL is shown through
`redact`, and text that libraries may have written through `without_secrets`.
"""

import logging
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pipeline.errors import HIDDEN, remember_secrets, without_secrets

METADATA_FILE = "metadata.db"
"""The store of an output directory that is given no other."""

_SERVER = re.compile(
    # The user's name, and whatever else there is up to the last "@".
    r"(?P<scheme>mysql|postgresql|postgres)://"
    r"(?:(?P<user>[^:]*)(?P<password>:.*)?@)?"
    r"(?P<where>(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/[\w.%~-]+/?)",
    re.DOTALL,
)
_NAME = re.compile(r"[\w.%+~-]*")
_FILE = re.compile(r"sqlite:///[^?#]*", re.DOTALL)
# A path that was given without a scheme; a DSN or a password would need one of these.
_PATH = re.compile(r"[./~][^:@=?#]*", re.DOTALL)


def redact(url: str) -> str:
    """Returns a URL that can be shown: `***` for all that may be a password.

    A URL that isn't one of a metadata store may hold a password anywhere, so nothing
    of it is shown but a scheme that is known.

    Args:
        url: Of a metadata store, or what somebody gave in its place.
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
    """Keeps the password of a URL out of all text that `without_secrets` returns."""
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return
    for text in (password, unquote(password)):
        escaped = text.replace("\\", r"\\").replace("'", r"\'")
        remember_secrets([text, escaped])


class RedactingFormatter(logging.Formatter):
    """Formats log records, tracebacks included, without passwords."""

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record as `logging.Formatter` does, and then redacts it."""
        return without_secrets(super().format(record))


def of_file(path: Path) -> str:
    """Returns the URL of a sqlite store; what means something in a URL is quoted.

    Args:
        path: The store's file, absolute.
    """
    return f"sqlite://{quote(str(path))}"


def is_file(url: str) -> bool:
    """Whether the store is a file of ours and not a server that many can use."""
    return url.startswith("sqlite:")
