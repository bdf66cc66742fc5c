"""The lock under which a tick runs, with a fencing token.

The kernel releases the lock when its holder dies, on all machines that mount the
directory, if their file system has locks (NFS does). Each holder has a higher token
than the one before. Should a file system lose a lock, the token shows it: whoever finds
a higher one than its own stops before it acts.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from operations.decisions import FencedError
from pipeline.errors import UsageError
from pipeline.store import durable, locks

_TOKEN = "token"  # noqa: S105 - a file's name, and no secret in it


class HeldError(UsageError):
    """Another process is at work."""


@dataclass(frozen=True)
class Token:
    """The right to act.

    Attributes:
        file: The file with the newest token.
        number: This one.
    """

    file: Path
    number: int

    def check(self) -> None:
        """Rejects a token that isn't the newest.

        Raises:
            FencedError: Another process has got a newer one.
        """
        newest = _number(self.file)
        if newest != self.number:
            raise FencedError(
                f"the lock was lost: token {newest} has replaced {self.number}; "
                "nothing more was done"
            )


@contextmanager
def held(directory: Path) -> Iterator[Token]:
    """Holds the lock during the block.

    Args:
        directory: Directory of what `throughline operate` writes.

    Raises:
        HeldError: Another process holds it; the message names the process.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / _TOKEN
    try:
        with locks.exclusive(directory / "lock"):
            token = Token(file, _number(file) + 1)
            holder = f"process {os.getpid()} on {socket.gethostname()}"
            durable.write(file, f"{token.number} {holder}\n")
            yield token
    except BlockingIOError:
        holder = _text(file).partition(" ")[2].strip() or "another process"
        raise HeldError(
            f"{holder} operates this model, and two at once would start runs twice; "
            "try again when it is done"
        ) from None


def count(directory: Path) -> int:
    """Returns how many ticks have begun.

    Args:
        directory: Directory of what `throughline operate` writes.
    """
    return _number(directory / _TOKEN)


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def _number(file: Path) -> int:
    first = _text(file).partition(" ")[0]
    return int(first) if first.isdecimal() else 0
