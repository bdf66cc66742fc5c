"""The URL of the metadata store: which kind it is, and how to show it."""

import re
from pathlib import Path
from urllib.parse import quote, urlsplit

# Up to the last "@": in a wrong URL the password may hold any character unencoded.
_PASSWORD = re.compile(r"(?<=://)([^:/@]*):(.*)@", re.DOTALL)


def redact(url: str) -> str:
    """Returns a URL that can be shown: `***` for the password and after a `?`."""
    shown = _PASSWORD.sub(r"\1:***@", url)
    return re.sub(r"\?.*", "?***", shown, flags=re.DOTALL)


def of_file(path: Path) -> str:
    """Returns the URL of a sqlite store; what means something in a URL is quoted.

    Args:
        path: The store's file, absolute.
    """
    return f"sqlite://{quote(str(path))}"


def is_file(url: str) -> bool:
    """Whether the store is a file of ours and not a server that many can use."""
    return urlsplit(url).scheme == "sqlite"
