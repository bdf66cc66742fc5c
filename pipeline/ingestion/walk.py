"""Walks a data directory along a pattern; all data files are found here.

`Path.glob` silently skips what it can't read. Here a broken link, a directory that
can't be listed, or a pipe in place of a file is an entry of its own, and the caller
decides whether it matters. Importing this module imports neither TFX nor TensorFlow.
"""

import contextlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

DATA_ENDINGS = (".csv", ".csv.gz", ".parquet")
"""Extensions of data files."""

# Editors and engines keep such files next to data: .ipynb_checkpoints, _SUCCESS,
# _temporary.
_HIDDEN = (".", "_")
# Control characters, halves of surrogate pairs (bytes that are not UTF-8), line ends.
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class What(Enum):
    """The kind of an entry that matches a pattern, or its beginning."""

    FILE = "file"
    ENTERED = "a directory that the pattern leads through"
    LEFT_OUT = "a directory where the pattern's last part matches"
    FAULTY = "what can't be read"


@dataclass(frozen=True)
class Part:
    """One part of a pattern, between two slashes.

    Attributes:
        text: The part as it is written.
        name: Regular expression for whole names; `None` for `**`, any number of
            directories.
        is_literal: Whether it has no wildcards, so that no directory must be listed.
    """

    text: str
    name: re.Pattern[str] | None
    is_literal: bool = False


@dataclass(frozen=True)
class Entry:
    """A path that matches a pattern, or its beginning.

    Attributes:
        path: The path.
        what: What it is.
        depth: Number of the pattern's parts that the path matches.
        fault: For `What.FAULTY`, why it can't be read and what to do.
        is_linked: Whether the path leads through a link, so that another path may lead
            to the same file.
    """

    path: Path
    what: What
    depth: int
    fault: str = ""
    is_linked: bool = False


def walk(directory: Path, parts: Sequence[Part]) -> Iterator[Entry]:
    """Finds what matches a pattern, sorted by name within each directory.

    Links to files and directories are followed. Names that begin with a dot or an
    underscore only match a part of the pattern that begins with that character.

    Args:
        directory: The directory that the pattern is relative to.
        parts: The parts of the pattern; the last one is not `**`.

    Yields:
        Matching files, the directories on the way to them, directories that match the
        whole pattern, and everything that can't be read.
    """
    try:
        status = directory.stat()
    except OSError:
        # The caller reports a missing data directory.
        return
    here = status.st_dev, status.st_ino
    yield from _below(directory, parts, 0, _Way((here,)))


def repeated(paths: Sequence[Path]) -> tuple[Path, Path] | None:
    """Returns two paths that lead to the same file through links; else `None`."""
    seen: dict[str, Path] = {}
    parents: dict[Path, str] = {}
    for path in paths:
        # Many files share a directory, so each directory is resolved only once.
        if path.parent not in parents:
            parents[path.parent] = os.path.realpath(path.parent)
        real = f"{parents[path.parent]}/{path.name}"
        real = os.path.realpath(real) if path.is_symlink() else real
        if seen.setdefault(real, path) != path:
            return seen[real], path
    return None


def unreadable(path: Path, error: OSError) -> str:
    """Formats an error of reading a file; a missing one was removed meanwhile."""
    if isinstance(error, FileNotFoundError) and not path.is_symlink():
        return f"{path} was removed while it was being read; put it back, or run again"
    return f"{path} cannot be read: {error.strerror or error}"


@dataclass(frozen=True)
class _Way:
    """The path that led to a directory, to detect loops.

    Attributes:
        above: Device and inode of the directories that `**` has matched.
        is_linked: Whether one of the directories is a link.
    """

    above: tuple[tuple[int, int], ...]
    is_linked: bool = False


def _below(
    place: Path, parts: Sequence[Part], depth: int, way: _Way
) -> Iterator[Entry]:
    """Yields what matches the parts from a depth on, in a directory."""
    part = parts[depth]
    if part.name is None:
        yield from _below(place, parts, depth + 1, way)
    try:
        found = list(_listed(place, part))
    except NotADirectoryError:
        return
    except OSError as error:
        yield Entry(place, What.FAULTY, depth, unreadable(place, error))
        return
    for path, known in found:
        yield from _at(path, known, parts, depth, way)


def _at(
    path: Path, known: int, parts: Sequence[Part], depth: int, way: _Way
) -> Iterator[Entry]:
    """Yields the entries for a name that matches the part at a depth."""
    is_deep, is_last = parts[depth].name is None, depth == len(parts) - 1
    if is_deep and stat.S_ISREG(known):
        return
    taken = depth if is_deep else depth + 1
    mode, fault = known, _fault_of_name(path)
    if not mode:
        mode, why = _mode_of(path)
        fault = fault or why
        way = replace(way, is_linked=way.is_linked or path.is_symlink())
    # After `**`, a directory whose name matches the last part is entered by `**` too.
    is_entered_besides = is_last and depth > 0 and parts[depth - 1].name is None
    if fault:
        yield Entry(path, What.FAULTY, taken, fault)
    elif is_last and not (is_entered_besides and stat.S_ISDIR(mode)):
        yield _at_the_end(path, mode, taken, is_linked=way.is_linked)
    elif not is_last and stat.S_ISDIR(mode):
        yield Entry(path, What.ENTERED, taken)
        yield from _entered(path, parts, taken, way)


def _entered(
    path: Path, parts: Sequence[Part], depth: int, way: _Way
) -> Iterator[Entry]:
    if parts[depth].name is not None:
        yield from _below(path, parts, depth, way)
        return
    status = path.stat()
    here = status.st_dev, status.st_ino
    if here in way.above:
        said = (
            f"{path} is a link to a directory that contains it; remove the link, or "
            "choose files with --pattern"
        )
        yield Entry(path, What.FAULTY, depth, said)
        return
    yield from _below(path, parts, depth, replace(way, above=(*way.above, here)))


def _at_the_end(path: Path, mode: int, depth: int, *, is_linked: bool) -> Entry:
    if stat.S_ISREG(mode):
        return Entry(path, What.FILE, depth, is_linked=is_linked)
    if stat.S_ISDIR(mode):
        if not path.name.lower().endswith(DATA_ENDINGS):
            return Entry(path, What.LEFT_OUT, depth)
        said = (
            f"{path} is a directory with the name of a file; choose the files in it "
            "with --pattern, or move it out of the data directory"
        )
        return Entry(path, What.FAULTY, depth, said)
    kind = next((name for is_it, name in _KINDS if is_it(mode)), "no regular file")
    said = (
        f"{path} is {kind}, and data is read from files; remove it, or choose files "
        "with --pattern"
    )
    return Entry(path, What.FAULTY, depth, said)


def _listed(place: Path, part: Part) -> Iterator[tuple[Path, int]]:
    """Yields the matching names, sorted, each with its type or 0 if not yet known."""
    if part.is_literal:
        # Not `lexists`, which is also False without permission to look.
        with contextlib.suppress(FileNotFoundError):
            (place / part.text).lstat()
            yield place / part.text, 0
        return
    with os.scandir(place) as entries:
        found = [(entry.name, _known(entry)) for entry in entries]
    for name, mode in sorted(found):
        if name.startswith(_HIDDEN) and not part.text.startswith(name[0]):
            continue
        if part.name is None or part.name.fullmatch(name):
            yield place / name, mode


def _known(entry: os.DirEntry[str]) -> int:
    """Returns the type from the directory listing, which saves a stat call per file."""
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    return stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else 0


def _mode_of(path: Path) -> tuple[int, str]:
    """Follows links; returns the mode of the target, or 0 and an error message."""
    advice = "restore it, remove the link, or choose files with --pattern"
    try:
        return path.stat().st_mode, ""
    except FileNotFoundError as error:
        if not path.is_symlink():
            return 0, unreadable(path, error)
        target = os.fsencode(path.readlink()).decode("utf-8", "backslashreplace")
        return 0, f"{path} is a link to {target}, which is not there; {advice}"
    except OSError as error:
        if path.is_symlink():
            return 0, f"{path} is a link that leads nowhere: {error.strerror}; {advice}"
        return 0, unreadable(path, error)


def _fault_of_name(path: Path) -> str:
    """Returns a message for a name with characters unsafe to print; else empty."""
    name = path.name
    if name.isascii() and name.isprintable():
        return ""
    if not any(unicodedata.category(letter) in _UNPRINTABLE for letter in name):
        return ""
    try:
        name.encode()
        shown, what = repr(name), "a control character"
    except UnicodeEncodeError:
        shown, what = repr(os.fsencode(name))[1:], "bytes that are not UTF-8"
    return f"{shown} in {path.parent} has {what} in its name; rename it"
