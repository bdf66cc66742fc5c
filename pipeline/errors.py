"""Errors shown to the user, their exit codes, and the removal of secrets from text."""

import difflib
import errno
import io
import math
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DATA_REFUSED = 3
EXIT_NOT_BLESSED = 4
EXIT_ALARM = 5
# 128 + SIGINT: what a shell reports for a command that Ctrl-C ended.
EXIT_INTERRUPTED = 130


class ThroughlineError(Exception):
    """Base of our errors: the message is one or two sentences, printed to the user.

    Attributes:
        exit_code: Exit code of the process if the error is not handled.
    """

    exit_code = EXIT_FAILED


class UsageError(ThroughlineError):
    """The command or the configuration is wrong; nothing ran."""

    exit_code = EXIT_USAGE


class DataRefusedError(ThroughlineError):
    """The data was rejected; the message names file, row and column where known."""

    exit_code = EXIT_DATA_REFUSED


_RAISED_LINE = re.compile(r"^(?P<type>[\w.]+(?:Error|Exception|Exit)): (?P<text>.+)$")
# Below a traceback the type may have any name (pyarrow's ArrowInvalid) and no text.
_TRACEBACK = "Traceback (most recent call last):"
_RAISED_BELOW = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?:: ?(?P<text>.*))?$")
_BEAM_STEP = re.compile(r"\s*\[while running '.*'\]\s*$")
_LONGEST_CAUSE = 300
# MLMD buries these in the text of a whole SQL statement, or reports a later failure
# instead of the cause.
_STORE_TROUBLE = {
    "database or disk is full": "its disk is full",
    "Transaction already open": "an earlier write was not finished, as on a full disk",
    "attempt to write a readonly database": "it is read-only",
}


# Control characters (cursor, colour, line ends), bidirectional overrides, and the
# surrogates that stand for bytes of a file name that are not UTF-8.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Errors that another path would avoid, so the command line is wrong (exit code 2).
_WRONG_PATH = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def printable(text: str) -> str:
    """Escapes control characters in a text; newlines and tabs are kept."""
    return _UNPRINTABLE.sub(
        lambda match: match[0].encode("unicode_escape").decode(), text
    )


def is_one_line(name: str) -> bool:
    """Whether a name has no newline and no character that needs escaping."""
    return "\n" not in name and printable(name) == name


def explained(error: Exception) -> ThroughlineError:
    """Converts any exception to a `ThroughlineError`; its traceback goes to a log.

    An `OSError` that another path would avoid becomes a `UsageError` (exit code 2). A
    full disk and any unexpected exception become a failure (exit code 1).

    Args:
        error: The exception; a `ThroughlineError` is returned unchanged.

    Returns:
        The error; its message names the log file.
    """
    if isinstance(error, ThroughlineError):
        return error
    log = write_traceback(error)
    place = f"\nThe traceback is in {log}" if log else ""
    if isinstance(error, OSError) and error.strerror:
        name, reason = error.filename, error.strerror.lower()
        if error.errno in _NO_ROOM:
            what = f"{name} can't be written" if name else "Output can't be written"
            return ThroughlineError(f"{what}: {reason}; make room for it{place}")
        if name is not None:
            kind = UsageError if error.errno in _WRONG_PATH else ThroughlineError
            return kind(f"{name} can't be used: {reason}{place}")
    return ThroughlineError(f"{cause_of(error)}{place}")


def write_traceback(error: BaseException) -> Path | None:
    """Writes a traceback, without secrets, to a new temporary file (mode 0600).

    Returns:
        The file; `None` if it can't be written, which must not hide the error itself.
    """
    lines = traceback.format_exception(error)
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="throughline-", suffix=".log", delete=False, errors="replace"
        ) as log:
            log.writelines(map(without_secrets, lines))
    except OSError:
        return None
    return Path(log.name)


HIDDEN = "***"
_LIBPQ = re.compile(
    r"\b(password|passwd|pwd)\s*=\s*('(?:\\.|[^'\\])*'|\S+)", re.IGNORECASE
)
_IN_URL = re.compile(r"(?<=://)[^\s/@:]*:\S*@")
_SHORTEST_SECRET = 4
_NAMES_SHOWN = 12
_secrets: set[str] = set()


def remember_secrets(secrets: Iterable[str]) -> None:
    """Registers secrets that `without_secrets` replaces from now on, in this process.

    Args:
        secrets: Passwords; those of fewer than 4 characters are ignored.
    """
    # A shorter one would match all over a text; in a DSN the patterns above find it.
    _secrets.update(s for s in secrets if len(s) >= _SHORTEST_SECRET)


def without_secrets(text: str) -> str:
    """Replaces passwords of metadata stores in a text by `***`."""
    text = _LIBPQ.sub(rf"\1={HIDDEN}", text)
    text = _IN_URL.sub(f"{HIDDEN}@", text)
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def exit_code_of(error: BaseException) -> int:
    """Returns an exception's exit code: 1 unless it is a `ThroughlineError`."""
    return error.exit_code if isinstance(error, ThroughlineError) else EXIT_FAILED


def cause_of(error: BaseException) -> str:
    """Summarizes an exception as one line.

    Beam raises errors whose text is the whole traceback of a worker; there the last
    line that looks like a raised error is the cause.

    Args:
        error: The exception.

    Returns:
        The message of a `ThroughlineError`, unchanged; else "Type: text" without a
        traceback or secrets, at most 300 characters.
    """
    if isinstance(error, ThroughlineError):
        return str(error)
    # MLMD and the databases' clients may repeat what they were connected with.
    text = without_secrets(str(error).strip())
    for reported, reason in _STORE_TROUBLE.items():
        if reported in text:
            return f"The metadata store can't be written: {reason}"
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


def exit_code(main: Callable[[], int]) -> int:
    """Runs a command, and converts any exception to a message and an exit code.

    The traceback of an unexpected exception is in a log that the message names. A pipe
    that is closed early, as by `| head -1`, is no failure.

    Args:
        main: The command; returns its exit code.
    """
    _forgive_characters()
    try:
        code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends in a sentence
        ours = explained(error)
        sys.stderr.write(printable(without_secrets(f"throughline: {ours}\n")))
        return ours.exit_code
    return code


def _forgive_characters() -> None:
    """Escapes characters that the encoding of standard output or error lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def require(
    settings: object,
    name: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    group: str = "",
) -> None:
    """Rejects a setting that is out of bounds, by the name of its flag.

    Args:
        settings: Has the setting as an attribute.
        name: The attribute.
        at_least: Smallest value, if there is one.
        at_most: Largest value, if there is one.
        group: The flag's prefix.

    Raises:
        UsageError: The value is out of bounds, or not a number.
    """
    value = getattr(settings, name)
    # "not >=" rather than "<", because every comparison with NaN is false.
    too_low = at_least is not None and not value >= at_least
    too_high = at_most is not None and not value <= at_most
    if too_low or too_high:
        bounds = [
            f"at least {at_least}" if at_least is not None else "",
            f"at most {at_most}" if at_most is not None else "",
        ]
        raise _out_of_bounds(name, group, value, " and ".join(filter(None, bounds)))


def require_positive(settings: object, name: str, *, group: str = "") -> None:
    """Rejects a setting that isn't above 0 and finite, by the name of its flag.

    Args:
        settings: Has the setting as an attribute.
        name: The attribute.
        group: The flag's prefix.

    Raises:
        UsageError: The value is 0, below, infinite, or not a number.
    """
    value = getattr(settings, name)
    if not 0 < value < math.inf:
        raise _out_of_bounds(name, group, value, "above 0")


def _out_of_bounds(name: str, group: str, value: float, expected: str) -> UsageError:
    flag = (f"{group}.{name}" if group else name).replace("_", "-")
    return UsageError(f"{flag} is {value}; it must be {expected}")


def nearest(name: str, known: Collection[str]) -> str:
    """Returns a hint for an unknown name: the closest known one, or the first few."""
    if close := difflib.get_close_matches(name, known, n=1):
        return f"did you mean {close[0]}?"
    return f"there are {', '.join(sorted(known)[:_NAMES_SHOWN])}" + (
        " and others" if len(known) > _NAMES_SHOWN else ""
    )


def no_such(what: str, name: str, known: Iterable[str]) -> str:
    """Formats an error for an unknown name, with the most similar known one."""
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return f"there is no {what} {name!r}{meant}"
