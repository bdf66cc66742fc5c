"""Validation of run names and of paths that the user gives.

A run's name becomes a directory and part of a link in reports; a path is used by
executors through `pathlib`. Of our own modules, this one imports only the errors.
"""

import re
from pathlib import Path

from pipeline.errors import UsageError

# Airflow's own pattern of run ids, so that every orchestrator's ids fit, but for a
# first character that would make a hidden file, a flag or a way out of a directory.
_RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.~:+-]*")
# In no name that a user or an orchestrator may give, by the pattern above.
_SPAN_RUN = "/span-"
# File names have at most 255 bytes, and a digest is appended to the run's name.
_LONGEST_RUN_NAME = 200
# ":/+" because `Path` collapses the two slashes of "gs://" into one.
_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/+(?P<rest>.*)", re.DOTALL)


def is_run_name(name: str) -> bool:
    """Whether a name is a valid name of a run."""
    return len(name) <= _LONGEST_RUN_NAME and bool(_RUN_NAME.fullmatch(name))


def run_name(name: str, setting: str = "run") -> str:
    """Validates the name of a run.

    Args:
        name: The name.
        setting: Name of the flag that gave it, for the message.

    Returns:
        The name, unchanged; safe as the name of a directory.

    Raises:
        UsageError: The name is too long or has characters that are not allowed.
    """
    if is_run_name(name):
        return name
    raise UsageError(
        f"{setting} is {name!r}; the name of a run must begin with a letter, a digit "
        f"or '_', and hold only these and '.', '-', '~', ':' and '+', at most "
        f"{_LONGEST_RUN_NAME} of them, since it names directories"
    )


def span_run(run: str, span: int) -> str:
    """Names the part of a run that takes in one of the earlier spans of its window."""
    return f"{run}{_SPAN_RUN}{span}"


def is_span_run(name: str, run: str = "") -> bool:
    """Whether a name is one of `span_run`: of a certain run, or of any."""
    before, mark, _ = name.partition(_SPAN_RUN)
    return bool(mark) and run in {"", before}


def local_path(path: Path, setting: str) -> Path:
    """Validates that a path is not a URI.

    Args:
        path: The path.
        setting: Name of the flag that gave it, for the message.

    Returns:
        The path, unchanged.

    Raises:
        UsageError: It is a URI, of which `pathlib` makes a relative directory.
    """
    uri = _URI.fullmatch(str(path))
    if uri is None:
        return path
    raise UsageError(
        f"{setting} is {uri['scheme']}://{uri['rest']}; it must be a path. Only "
        "--artifacts takes a URI; mount the storage and give the path it is mounted at"
    )
