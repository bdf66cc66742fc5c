"""Fingerprints of data files by their contents rather than their modification times.

The same fingerprint is used by the cache, by `--resume` and to detect that nothing has
changed. Importing this module imports neither TFX nor TensorFlow.
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
"""Cache of digests in the output directory, by file."""
SETTLED_SECONDS = 2.0
"""Minimum age of a file's last change for its digest to be cached."""

_LOG = logging.getLogger(__name__)

FileStat = tuple[int, int, int, int]
Memory = dict[str, list[int | str]]


def splits_of(selection: Selection) -> dict[str, str]:
    """Returns the input splits for the executor: a pattern for each name.

    Args:
        selection: The spans to read.

    Returns:
        One entry per span, named `span-<number>`, oldest first; a single entry "all" if
        there is one span or none.
    """
    if len(selection.taken) == 1:
        return {"all": selection.taken[0].pattern}
    return {f"span-{span.number}": span.pattern for span in selection.taken}


def fingerprint(
    directory: Path, splits: Mapping[str, str], memory: Path | None = None
) -> str:
    """Computes a fingerprint of the names and contents of data files.

    Args:
        directory: The data directory.
        splits: A pattern without placeholders for each split.
        memory: File that caches digests; see `sha256_of`.

    Returns:
        One line per split, in the format of TFX's fingerprint, with a SHA-256 over the
        relative name, the size and the SHA-256 of each file.

    Raises:
        DataRefusedError: A file can't be read, or is gone; the message names it.
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
    """Computes the SHA-256 of files; unchanged files are not read again.

    A digest is cached with the file's inode, size, mtime and ctime. Programs can't set
    the ctime back, so an edit is detected even if size and mtime are restored. The
    digest of a file that changed just before it was read is not cached: another edit
    could fall into the same tick of the clock. This relies on a file system that keeps
    ctimes.

    Args:
        files: The paths of the files.
        memory: JSON file with the cached digests, which is updated; all files are read
            if not given.
        settled_seconds: Minimum age of a file's last change for caching its digest.

    Returns:
        The SHA-256 of each file, in hexadecimal.

    Raises:
        DataRefusedError: A file can't be read, or is gone; the message names it.
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
            # Written to while it was read: the digest is of neither state.
            is_settled = max(stat[-2:]) / 1e9 <= now - settled_seconds
            if _stat(path) == stat and is_settled:
                learned[name] = [*stat, digests[path]]
        except OSError as error:
            raise DataRefusedError(unreadable(path, error)) from error
    if memory and learned:
        _remember(memory, known | learned)
    return digests


def memory_beside(uri: str) -> Path | None:
    """Returns the output directory's cache of digests, from an artifact's URI.

    Args:
        uri: A URI such as `<output>/artifacts/<node>/<key>/<execution>`.

    Returns:
        `<output>/contents.json`; `None` if the URI is not a path of that depth.
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
    entries = zip(names, sizes, (digests[path] for path in files), strict=True)
    digest = hashlib.sha256(json.dumps(list(entries)).encode()).hexdigest()
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
    """Reads the cache; empty if it can't be read, which only costs time."""
    try:
        known = json.loads(memory.read_text()) if memory else {}
    except (OSError, ValueError):
        return {}
    entries = known.items() if isinstance(known, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, list)}


def _remember(memory: Path, known: Memory) -> None:
    """Replaces the cache atomically, without entries of files that are gone."""
    # Or the file would grow with every span that retention has removed.
    there = {name: entry for name, entry in known.items() if Path(name).is_file()}
    part = memory.with_name(f".{memory.name}.{os.getpid()}")
    try:
        part.write_text(json.dumps(there, indent=0, sort_keys=True) + "\n")
        part.replace(memory)
    except OSError as error:
        _LOG.info("%s can't be written, so files are read again: %s", memory, error)
