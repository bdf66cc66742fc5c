"""What is in the data files, told by their contents and not by their times of change.

One fingerprint serves the cache, `--resume` and the check whether anything has changed.
Importing this module imports neither TFX nor TensorFlow.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.errors import DataRefusedError
from pipeline.ingestion.spans import Selection, files_of
from pipeline.ingestion.walk import unreadable

MEMORY_FILE = "contents.json"
"""In the output directory: which file had which content, when it was last read."""
SETTLED_SECONDS = 2.0
"""How long a file must have been left alone for its digest to be remembered."""

_LOG = logging.getLogger(__name__)

FileStat = tuple[int, int, int, int]
Memory = dict[str, list[int | str]]


def splits_of(selection: Selection) -> dict[str, str]:
    """Names what is read together, as the executor is told: a pattern for each name.

    Args:
        selection: The spans to read.

    Returns:
        One entry a span, named `span-<number>`, oldest first; a single one without
        spans, or with one of them.
    """
    if len(selection.taken) == 1:
        return {"all": selection.taken[0].pattern}
    return {f"span-{span.number}": span.pattern for span in selection.taken}


def fingerprint(
    directory: Path, splits: Mapping[str, str], memory: Path | None = None
) -> str:
    """Tells data apart by names and contents of its files.

    Args:
        directory: The data directory.
        splits: A pattern without placeholders for each split.
        memory: Where digests are remembered; see `sha256_of`.

    Returns:
        A line a split, in the form of TFX's own, with a SHA-256 over the relative name,
        the size and the SHA-256 of each file.
    """
    files = {name: files_of(directory, pattern) for name, pattern in splits.items()}
    every = [path for paths in files.values() for path in paths]
    digests = sha256_of(every, memory)
    return "\n".join(
        _line(directory, name, paths, digests) for name, paths in files.items()
    )


def sha256_of(
    files: Iterable[Path],
    memory: Path | None = None,
    settled_seconds: float = SETTLED_SECONDS,
) -> dict[Path, str]:
    """Digests the contents of files, and reads again only those that were touched.

    A digest is remembered with the file's inode, size, time of modification and time
    of change. The last is kept by the system and can't be set back, so an edit shows
    even when size and time of modification are restored. Files that changed just before
    they were read are not remembered: another edit could fall into the same tick of
    the clock. What this trusts is a file system that keeps times of change.

    Args:
        files: Their paths.
        memory: A JSON file that is read and replaced; without it all files are read.
        settled_seconds: How long ago a remembered file must have changed.

    Returns:
        The SHA-256 of each, in hexadecimal.

    Raises:
        DataRefusedError: A file can't be read, or is gone; names it.
    """
    known = _recall(memory)
    learned: Memory = {}
    digests = {}
    for path in files:
        name, now = str(path.absolute()), time.time()
        try:
            stat = _stat(path)
            remembered = known.get(name, [])
            if remembered[:-1] == list(stat):
                digests[path] = str(remembered[-1])
                continue
            digests[path] = _digest_of(path)
            is_settled = max(stat[-2:]) / 1e9 <= now - settled_seconds
            if _stat(path) == stat and is_settled:
                learned[name] = [*stat, digests[path]]
        except OSError as error:
            raise DataRefusedError(unreadable(path, error)) from error
    if memory and learned:
        _remember(memory, known | learned)
    return digests


def memory_beside(uri: str) -> Path | None:
    """Finds where digests are remembered from an artifact's directory.

    Args:
        uri: Such as `<output>/artifacts/<node>/<key>/<execution>`.
    """
    path = Path(uri)
    deep_enough = uri.startswith("/") and len(path.parents) > 3  # noqa: PLR2004
    return path.parents[3] / MEMORY_FILE if deep_enough else None


def _line(
    directory: Path, name: str, files: Sequence[Path], digests: Mapping[Path, str]
) -> str:
    try:
        sizes = [path.stat().st_size for path in files]
    except OSError as error:
        gone = Path(error.filename)
        raise DataRefusedError(unreadable(gone, error)) from error
    names = [path.relative_to(directory).as_posix() for path in files]
    told = zip(names, sizes, (digests[path] for path in files), strict=True)
    digest = hashlib.sha256(json.dumps(list(told)).encode()).hexdigest()
    return (
        f"split:{name},num_files:{len(files)},total_bytes:{sum(sizes)},sha256:{digest}"
    )


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stat(path: Path) -> FileStat:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _recall(memory: Path | None) -> Memory:
    """Reads what is remembered; nothing if it can't be read, which costs time only."""
    try:
        known = json.loads(memory.read_text()) if memory else {}
    except (OSError, ValueError):
        return {}
    entries = known.items() if isinstance(known, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, list)}


def _remember(memory: Path, known: Memory) -> None:
    """Replaces what is remembered, without files that are gone."""
    there = {name: entry for name, entry in known.items() if Path(name).is_file()}
    part = memory.with_name(f".{memory.name}.{os.getpid()}")
    try:
        part.write_text(json.dumps(there, indent=0, sort_keys=True) + "\n")
        part.replace(memory)
    except OSError as error:
        _LOG.info("%s can't be written, so files are read again: %s", memory, error)
