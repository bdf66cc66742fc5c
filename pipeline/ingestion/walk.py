"""Walks a data directory along a pattern: the one place where data files are found.

`Path.glob` skips what it can't read and doesn't say so. Here a broken link, a directory
that can't be listed or a pipe where a file should be is an entry of its own, and the
caller decides whether it matters. Importing this module imports neither TFX nor
TensorFlow.
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
"""How the names of data files end."""

# Editors, systems and engines keep theirs beside the data: .ipynb_checkpoints,
# _SUCCESS, _temporary.
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
    """What stands at a place that matches a pattern, or the beginning of one."""

    FILE = "file"
    ENTERED = "a directory that the pattern leads through"
    LEFT_OUT = "a directory where the pattern's last part matches"
    FAULTY = "what can't be read"


@dataclass(frozen=True)
class Part:
    """What a pattern has between two slashes.

    Attributes:
        text: As it is written.
        name: What names must match as a whole; None for `**`, any number of
            directories.
        is_literal: Whether it is a name rather than a pattern, so that no directory has
            to be listed for it.
    """

    text: str
    name: re.Pattern[str] | None
    is_literal: bool = False


@dataclass(frozen=True)
class Entry:
    """Something that matches.

    Attributes:
        path: Its place.
        what: What is there.
        depth: How many parts of the pattern its path has taken up.
        fault: For what can't be read, why and what to do, in a sentence without its
            full stop.
        is_linked: Whether a link leads there, so that another path may do so too.
    """

    path: Path
    what: What
    depth: int
    fault: str = ""
    is_linked: bool = False


def walk(directory: Path, parts: Sequence[Part]) -> Iterator[Entry]:
    """Finds what matches a pattern, in the order of names.

    Links to files and directories are followed. Names that begin with a dot or an
    underscore match only a part of the pattern that begins so too.

    Args:
        directory: Where the pattern begins.
        parts: The pattern; the last is not `**`.

    Yields:
        Files that match; directories on the way, and those that match to the end;
        and what stands in the way.
    """
    try:
        status = directory.stat()
    except OSError:
        # A data directory that is not there is another's to tell.
        return
    here = status.st_dev, status.st_ino
    yield from _below(directory, parts, 0, _Way((here,)))


def repeated(paths: Sequence[Path]) -> tuple[Path, Path] | None:
    """Finds two paths that lead to one file through links; None if there are none."""
    seen: dict[str, Path] = {}
    parents: dict[Path, str] = {}
    for path in paths:
        # Files share directories: resolving each of these once is enough.
        if path.parent not in parents:
            parents[path.parent] = os.path.realpath(path.parent)
        real = f"{parents[path.parent]}/{path.name}"
        real = os.path.realpath(real) if path.is_symlink() else real
        if seen.setdefault(real, path) != path:
            return seen[real], path
    return None


def unreadable(path: Path, error: OSError) -> str:
    """Says that a file can't be read and why; one that is gone was removed."""
    if isinstance(error, FileNotFoundError) and not path.is_symlink():
        return f"{path} was removed while it was being read; put it back, or run again"
    return f"{path} cannot be read: {error.strerror or error}"


@dataclass(frozen=True)
class _Way:
    """How a directory was reached.

    Attributes:
        above: Device and inode of the directories that `**` has led through.
        is_linked: Whether one of the directories is a link.
    """

    above: tuple[tuple[int, int], ...]
    is_linked: bool = False


def _below(
    place: Path, parts: Sequence[Part], depth: int, way: _Way
) -> Iterator[Entry]:
    """Yields what matches the parts from a depth on, below a directory."""
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
    """Yields what a name that matches the part at a depth leads to."""
    is_deep, is_last = parts[depth].name is None, depth == len(parts) - 1
    if is_deep and stat.S_ISREG(known):
        return
    taken = depth if is_deep else depth + 1
    mode, fault = known, _fault_of_name(path)
    if not mode:
        mode, why = _mode_of(path)
        fault = fault or why
        way = replace(way, is_linked=way.is_linked or path.is_symlink())
    # Below `**` a directory whose name matches is entered besides.
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
    """Yields the names that match, sorted, and the type where it is known already."""
    if part.is_literal:
        # `lexists` would be False too where nothing may be looked up.
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
    """The type that listing has brought along, which saves a call for each file."""
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    return stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else 0


def _mode_of(path: Path) -> tuple[int, str]:
    """Follows links to what is there; returns its mode, or why there is none."""
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
    """Refuses names that can't be written into a log, a record or a terminal."""
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
