"""Writes the request log's journals, from a thread of its own; never blocks serving.

`append` encodes a line and returns. The thread writes what has come since its last
turn, and syncs it to disk, so a kill loses at most what is younger than
`Rotation.flush_seconds`. A disk that is full or hangs loses rows, which are counted:
the answer to a request doesn't wait for its log.
"""

import fcntl
import hashlib
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from models.names import PROBABILITIES
from pipeline.errors import UsageError
from pipeline.store import clock, durable
from serving import request_log

_LOG = logging.getLogger(__name__)

KEY_FILE = "hash.key"
_DIGEST_BYTES = 16
# Log rows that wait for a slow disk; more are dropped.
_MOST_WAITING_BYTES = 64_000_000
# The disk's trouble is reported this often, not once per flush.
_SECONDS_BETWEEN_REPORTS = 30.0
_2_64 = float(1 << 64)


@dataclass(frozen=True)
class Entry:
    """A request and its answer.

    Attributes:
        request_id: Identifies the request; labels are joined by it.
        time: When it was received, in microseconds since 1970.
        version: The model's version.
        signature: The signature's name.
        features: Kind of each feature by name, see `request_log.schema`; the same
            object for all entries of a version.
        rows: Values as received, in the order of `features`; empty if it failed.
        answers: Per row a number, or a list of numbers; empty if it failed.
        threshold: The operating threshold of the version, if it has one.
        latency_ms: From receipt to answer.
        status: "OK", or the name of gRPC's status.
    """

    request_id: str
    time: int
    version: int
    signature: str
    features: Mapping[str, str]
    rows: Sequence[Sequence[Any]]
    answers: Sequence[float | Sequence[float]]
    threshold: float | None
    latency_ms: float
    status: str = request_log.OK


@dataclass(frozen=True)
class Rotation:
    """When a journal is written to, and when it ends.

    Attributes:
        flush_seconds: Longest time between an answer and its log row on disk.
        segment_seconds: Longest time that a journal takes rows.
        segment_megabytes: Size in 10^6 bytes after which it takes no more.
    """

    flush_seconds: float = 0.5
    segment_seconds: float = 300.0
    segment_megabytes: float = 64.0


@dataclass(frozen=True)
class Privacy:
    """Which requests and values are logged.

    Attributes:
        sample: Share of the requests that is logged, 0 to 1, decided by request id.
        leave_out: Features that are logged as null.
        hashed: Features that are logged as a keyed hash of their value.
    """

    sample: float = 1.0
    leave_out: frozenset[str] = frozenset()
    hashed: frozenset[str] = frozenset()


@dataclass
class Counts:
    """Rows of the log since the start, by what became of them."""

    written: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class _Line:
    features: Mapping[str, str]
    text: bytes
    rows: int


def is_sampled(request_id: str, share: float) -> bool:
    """Whether a request is logged; the same on every server."""
    if share >= 1:
        return True
    digest = hashlib.blake2b(request_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _2_64 < share


def as_logged(answers: Mapping[str, Any]) -> Sequence[float | list[float]]:
    """Returns a number per row, or a list of all numbers if there are several."""
    # Of a classifier, its choice and how sure it is follow from these.
    chosen = {PROBABILITIES: answers.get(PROBABILITIES)}
    wanted = chosen if PROBABILITIES in answers else answers
    numbers = [v for v in wanted.values() if isinstance(v, np.ndarray)]
    if not numbers or any(not each.ndim for each in numbers):
        return ()
    if len(numbers) == 1 and numbers[0].ndim == 1:
        found: list[float] = numbers[0].tolist()
        return found
    rows = len(numbers[0])
    flat = [each.reshape(rows, -1).astype(float) for each in numbers]
    lists: list[list[float]] = np.concatenate(flat, axis=1).tolist()
    return lists


class Journal:
    """The writer of one server process.

    Attributes:
        counts: What was written and dropped; read by the metrics.
    """

    def __init__(
        self,
        directory: Path,
        rotation: Rotation | None = None,
        privacy: Privacy | None = None,
    ) -> None:
        """Creates the directory if it doesn't exist, and starts the thread.

        Args:
            directory: The directory of the log, see `request_log.directory_of`.
            rotation: When journals are written and end.
            privacy: Which requests and values are logged.
        """
        self.counts = Counts()
        self._directory = directory
        self._rotation = rotation or Rotation()
        self._privacy = privacy or Privacy()
        self._key = _key(directory) if self._privacy.hashed else b""
        self._file: _File | None = None
        self._hidden: tuple[Mapping[str, str], _Hidden] | None = None
        self._lock = threading.Lock()
        self._waiting: list[_Line] = []
        self._waiting_bytes = 0
        self._reported = float("-inf")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="journal")
        self._thread.start()

    def append(self, entry: Entry) -> None:
        """Takes an entry; it is on disk after `Rotation.flush_seconds`.

        Args:
            entry: The request. Whether it is logged at all is decided by its id.
        """
        if not is_sampled(entry.request_id, self._privacy.sample):
            return
        hidden = self._hidden_of(entry.features)
        line = _line(entry, hidden)
        with self._lock:
            if self._waiting_bytes + len(line.text) > _MOST_WAITING_BYTES:
                self.counts.dropped += line.rows
                return
            self._waiting.append(line)
            self._waiting_bytes += len(line.text)

    def close(self) -> None:
        """Writes what is waiting, ends the journal, and stops the thread."""
        self._ended.set()
        self._thread.join()

    def _hidden_of(self, features: Mapping[str, str]) -> "_Hidden":
        """Returns what to hide of a version's features; worked out once a version."""
        if self._hidden is None or self._hidden[0] is not features:
            self._hidden = (features, _Hidden.of(features, self._privacy, self._key))
        return self._hidden[1]

    def _write_on(self) -> None:
        while not self._ended.wait(self._rotation.flush_seconds):
            self._flush()
        self._flush()
        if self._file:
            self._file.close()

    def _flush(self) -> None:
        with self._lock:
            lines, self._waiting = self._waiting, []
            self._waiting_bytes = 0
        while lines:
            features = lines[0].features
            same = [line for line in lines if line.features == features]
            lines = [line for line in lines if line.features != features]
            self._write(features, same)
        if self._file and self._file.is_due(self._rotation):
            self._end_file()

    def _write(self, features: Mapping[str, str], lines: Sequence[_Line]) -> None:
        rows = sum(line.rows for line in lines)
        try:
            if self._file and self._file.features != features:
                self._end_file()
            if self._file is None:
                self._file = _File(self._directory, features)
            self._file.write(b"".join(line.text for line in lines))
        except OSError as error:
            self.counts.dropped += rows
            self._report(error)
            return
        self.counts.written += rows

    def _end_file(self) -> None:
        if self._file:
            self._file.close()
        self._file = None

    def _report(self, error: OSError) -> None:
        if time.monotonic() - self._reported < _SECONDS_BETWEEN_REPORTS:
            return
        self._reported = time.monotonic()
        _LOG.error(
            "the request log in %s can't be written: %s; serving goes on, and %d rows "
            "are not logged so far",
            self._directory,
            (error.strerror or str(error)).lower(),
            self.counts.dropped,
        )


class _File:
    """A journal that is open; its lock shows others that it is."""

    def __init__(self, directory: Path, features: Mapping[str, str]) -> None:
        writer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        name = request_log.name_of(clock.now(), writer)
        journals = directory / request_log.JOURNALS
        journals.mkdir(parents=True, exist_ok=True)
        path = journals / f"{name}{request_log.JOURNAL_SUFFIX}"
        # Locked before it has its name: `close_journals` takes a journal without a
        # lock for one whose writer is dead.
        part = path.with_name(f".{path.name}")
        self.features = features
        self._began = time.monotonic()
        self._descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._size = 0
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            head = {"format": request_log.FORMAT, "features": dict(features)}
            self.write(orjson.dumps(head) + b"\n")
            part.rename(path)
        except OSError:
            os.close(self._descriptor)
            part.unlink(missing_ok=True)
            raise

    def write(self, text: bytes) -> None:
        """Writes whole lines and syncs them, or nothing.

        Raises:
            OSError: The disk is full or fails; the file is as before.
        """
        rest = memoryview(text)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fdatasync(self._descriptor)
        except OSError:
            # A part of a line would damage the next one.
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            raise
        self._size += len(text)

    def is_due(self, rotation: Rotation) -> bool:
        """Whether it takes no more rows."""
        return (
            time.monotonic() - self._began >= rotation.segment_seconds
            or self._size >= rotation.segment_megabytes * 1e6
        )

    def close(self) -> None:
        """Ends it: without its lock, it is converted by whoever sees it first."""
        os.close(self._descriptor)


@dataclass(frozen=True)
class _Hidden:
    """Positions of the features whose values are left out or hashed."""

    left_out: Sequence[int]
    hashed: Sequence[int]
    features: Mapping[str, str]
    hasher: Callable[[Any], str | None] = field(repr=False)

    @classmethod
    def of(cls, features: Mapping[str, str], privacy: Privacy, key: bytes) -> "_Hidden":
        names = list(features)
        hashed = [i for i, name in enumerate(names) if name in privacy.hashed]
        kinds = {
            name: "BYTES" if name in privacy.hashed else kind
            for name, kind in features.items()
        }

        def digest(value: Any) -> str | None:
            if value is None:
                return None
            text = orjson.dumps(value)
            return hashlib.blake2b(text, digest_size=_DIGEST_BYTES, key=key).hexdigest()

        left_out = [i for i, name in enumerate(names) if name in privacy.leave_out]
        return cls(left_out, hashed, kinds, digest)

    def applied(self, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        """Returns rows without what is hidden."""
        if not self.left_out and not self.hashed:
            return rows
        copies = [list(row) for row in rows]
        for row in copies:
            for position in self.hashed:
                row[position] = self.hasher(row[position])
            for position in self.left_out:
                row[position] = None
        return copies


def _line(entry: Entry, hidden: _Hidden) -> _Line:
    """Encodes an entry as a line of the journal."""
    # orjson writes NaN as null, which is what a missing number is in the log.
    text = orjson.dumps(
        {
            request_log.REQUEST_ID: entry.request_id,
            request_log.TIME: entry.time,
            request_log.VERSION: entry.version,
            request_log.SIGNATURE: entry.signature,
            "width": len(entry.features),
            "rows": hidden.applied(entry.rows),
            "answers": entry.answers,
            request_log.THRESHOLD: entry.threshold,
            request_log.LATENCY: entry.latency_ms,
            request_log.STATUS: entry.status,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
    return _Line(hidden.features, text, max(1, len(entry.rows)))


def _key(directory: Path) -> bytes:
    """Returns the key of the hashes, created once per log.

    Without a key, hashes of phone numbers or companies are undone by hashing them all.
    """
    path = directory / KEY_FILE
    directory.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        part = path.with_name(f".{KEY_FILE}.{os.getpid()}")
        durable.stage(part, secrets.token_hex(32))
        try:
            # Not a rename: of two servers that start at once, the first one's stays.
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            part.unlink()
    try:
        return bytes.fromhex(path.read_text())
    except ValueError:
        raise UsageError(
            f"{path} holds no hexadecimal key; it is the key of the log's hashes. "
            "Restore it, or delete it for a new one, with which old hashes don't match"
        ) from None
