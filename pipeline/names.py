"""Names and paths that come in from outside, each checked by one function.

A run's name becomes a directory and a link, and a path is where executors read and
write. Importing this module imports nothing of ours but the errors.
"""

import re
from pathlib import Path

from pipeline.errors import UsageError

PROJECT = Path(__file__).resolve().parents[1]
"""The checkout that this is part of."""

# Airflow's own pattern of run ids, so that every orchestrator's ids fit, but for a
# first character that would make a hidden file, a flag or a way out of a directory.
_RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.~:+-]*")
# File names end at 255 bytes; ours append a digest to the run's name.
_LONGEST_RUN_NAME = 200
# `Path` makes one slash of the two of "gs://".
_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/+(?P<rest>.*)", re.DOTALL)


def is_run_name(name: str) -> bool:
    """Whether a name may be that of a run."""
    return len(name) <= _LONGEST_RUN_NAME and bool(_RUN_NAME.fullmatch(name))


def run_name(name: str, setting: str = "run") -> str:
    """Returns the name of a run, which can be a directory's as it is.

    Args:
        name: What was given.
        setting: The flag that gave it.

    Raises:
        UsageError: It could lead out of its directory, or be no part of a link.
    """
    if is_run_name(name):
        return name
    raise UsageError(
        f"{setting} is {name!r}; the name of a run must begin with a letter, a digit "
        f"or '_', and hold only these and '.', '-', '~', ':' and '+', at most "
        f"{_LONGEST_RUN_NAME} of them, since it names directories"
    )


def local_path(path: Path, setting: str) -> Path:
    """Returns a path, which executors hand to `pathlib`.

    Args:
        path: What was given.
        setting: The flag that gave it.

    Raises:
        UsageError: It was a URI, which would become a directory below the current one.
    """
    uri = _URI.fullmatch(str(path))
    if uri is None:
        return path
    raise UsageError(
        f"{setting} is {uri['scheme']}://{uri['rest']}; it must be a path. Components "
        "read and write files, and a URI would become a relative directory; mount the "
        "storage and give the path it is mounted at"
    )
