"""The URL of the metadata store: which kind it is, and how to show it."""

import re
from urllib.parse import urlsplit

# Up to the last "@": in a wrong URL the password may hold any character unencoded.
_PASSWORD = re.compile(r"(?<=://)([^:/@]*):(.*)@", re.DOTALL)


def redact(url: str) -> str:
    """Returns a URL that can be shown: `***` for the password and after a `?`."""
    shown = _PASSWORD.sub(r"\1:***@", url)
    return re.sub(r"\?.*", "?***", shown, flags=re.DOTALL)


def is_file(url: str) -> bool:
    """Whether the store is a file of ours and not a server that many can use."""
    return urlsplit(url).scheme == "sqlite"
