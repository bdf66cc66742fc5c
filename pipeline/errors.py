"""Errors a person sees, each with the exit code the command line ends with."""

import re
from collections.abc import Iterable

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DATA_REFUSED = 3
EXIT_NOT_BLESSED = 4
# What a shell says of a command that Ctrl-C ended.
EXIT_INTERRUPTED = 130


class ThroughlineError(Exception):
    """An error whose message is one or two sentences for the person at the console.

    Attributes:
        exit_code: What the process ends with when nothing handles the error.
    """

    exit_code = EXIT_FAILED


class UsageError(ThroughlineError):
    """The command or the configuration is wrong; nothing ran."""

    exit_code = EXIT_USAGE


class DataRefusedError(ThroughlineError):
    """A gate refused the data; the message names file, row and column if it can."""

    exit_code = EXIT_DATA_REFUSED


_RAISED_LINE = re.compile(r"^(?P<type>[\w.]+(?:Error|Exception|Exit)): (?P<text>.+)$")
# Below a traceback the type may have any name (pyarrow's ArrowInvalid) and no text.
_TRACEBACK = "Traceback (most recent call last):"
_RAISED_BELOW = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?:: ?(?P<text>.*))?$")
_BEAM_STEP = re.compile(r"\s*\[while running '.*'\]\s*$")
_LONGEST_CAUSE = 300

HIDDEN = "***"
_LIBPQ = re.compile(
    r"\b(password|passwd|pwd)\s*=\s*('(?:\\.|[^'\\])*'|\S+)", re.IGNORECASE
)
_IN_URL = re.compile(r"(?<=://)[^\s/@:]*:\S*@")
_SHORTEST_SECRET = 4
_secrets: set[str] = set()


def remember_secrets(secrets: Iterable[str]) -> None:
    """Keeps secrets out of all text that `without_secrets` returns in this process."""
    # A shorter one would blacken half of a text; in a DSN it is found by its place.
    _secrets.update(s for s in secrets if len(s) >= _SHORTEST_SECRET)


def without_secrets(text: str) -> str:
    """Removes passwords of metadata stores from a text that a library wrote."""
    text = _LIBPQ.sub(rf"\1={HIDDEN}", text)
    text = _IN_URL.sub(f"{HIDDEN}@", text)
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def exit_code_of(error: BaseException) -> int:
    """Returns the exit code that stands for an error, 1 for one that is not ours."""
    return error.exit_code if isinstance(error, ThroughlineError) else EXIT_FAILED


def cause_of(error: BaseException) -> str:
    """Says in one sentence why something failed.

    Beam raises errors whose text is a whole traceback of a worker, so the last line
    that looks like a raised error is what a person wants to read.

    Args:
        error: What was raised; our own errors are taken at their word.

    Returns:
        One line of at most 300 characters, without a traceback.
    """
    if isinstance(error, ThroughlineError):
        return str(error)
    # MLMD and the databases' clients may repeat what they were connected with.
    text = without_secrets(str(error).strip())
    pattern = _RAISED_BELOW if _TRACEBACK in text else _RAISED_LINE
    below = text.rpartition(_TRACEBACK)[2]
    raised = [m for line in below.splitlines() if (m := pattern.match(line))]
    if raised:
        said = raised[0] if _TRACEBACK in text else raised[-1]
        name, text = said["type"], said["text"] or ""
    else:
        name, text = type(error).__name__, text.splitlines()[0] if text else ""
    sentence = f"{name.rsplit('.', 1)[-1]}: {_BEAM_STEP.sub('', text)}".rstrip(": ")
    if len(sentence) > _LONGEST_CAUSE:
        return sentence[: _LONGEST_CAUSE - 1] + "…"
    return sentence
