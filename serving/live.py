"""Follows the registry, and swaps versions without failing a request.

A new live version is loaded and warmed up in another process while the old one
answers. The swap is an assignment: requests that came before finish with the old
version, later ones go to the new one, and no connection notices. A version that can't
be loaded changes nothing, and is tried again later; nor does a directory that can't be
read, as when its file system is gone.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.errors import ThroughlineError
from pipeline.registry import versions
from pipeline.store import clock
from serving.metrics import Metrics
from serving.model_process import Priority
from serving.nursery import Nursery
from serving.rejections import Code, RejectedError
from serving.settings import Settings
from serving.version import Version

_LOG = logging.getLogger(__name__)

LIVE_LABEL = "live"
SCHEMA_FILE = Path("assets.extra") / "schema.pbtxt"
"""A schema that a version brings along, instead of the server's."""

_POLL_SECONDS = 0.5
_FIRST_RETRY_SECONDS = 5.0
_LONGEST_RETRY_SECONDS = 600.0


@dataclass(frozen=True)
class Source:
    """Where versions come from.

    Attributes:
        base: The model's serving directory.
        schema: The reviewed schema's file; used if a version has none.
    """

    base: Path
    schema: Path


@dataclass
class _Failure:
    """A version that could not be loaded.

    Attributes:
        number: The version.
        reason: Why.
        retry: When to try again, in the event loop's time.
        wait: How long to wait after the next failure, in seconds.
    """

    number: int
    reason: str
    retry: float
    wait: float


class Live:
    """The live version, and the one that is being loaded."""

    def __init__(
        self, source: Source, settings: Settings, nursery: Nursery, metrics: Metrics
    ) -> None:
        """Serves nothing yet; see `start`."""
        self._source = source
        self._settings = settings
        self._nursery = nursery
        self._metrics = metrics
        self._now: Version | None = None
        self._since = 0.0
        self._loading: int | None = None
        self._failure: _Failure | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._reachable = True
        self._is_starting = True
        self._stopped = False
        self._look = asyncio.Event()

    @property
    def model(self) -> str:
        """The model's name."""
        return self._source.base.name

    @property
    def base(self) -> Path:
        """The model's serving directory."""
        return self._source.base

    @property
    def version(self) -> Version | None:
        """The version that answers; `None` if there is none."""
        return self._now

    @property
    def since(self) -> float | None:
        """When it became live here, in seconds since 1970."""
        return self._since if self._now is not None else None

    @property
    def is_reachable(self) -> bool:
        """Whether the directory of the versions could be read the last time."""
        return self._reachable

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered."""
        return self._now is not None and not self._stopped

    def states(self) -> dict[int, tuple[str, str]]:
        """Returns TensorFlow Serving's state and an error for each version it knows."""
        found: dict[int, tuple[str, str]] = {}
        if self._failure:
            found[self._failure.number] = ("END", self._failure.reason)
        if self._loading is not None:
            found[self._loading] = ("LOADING", "")
        if self._now:
            found[self._now.number] = ("AVAILABLE", "")
        return dict(sorted(found.items(), reverse=True))

    def asked(self, model: str, number: int | None, label: str | None) -> Version:
        """Returns the version that a request asks for.

        Args:
            model: The model's name.
            number: The version; `None` for the live one.
            label: The version's label; only "live" exists.

        Raises:
            RejectedError: It isn't served, or nothing is.
        """
        if model != self.model:
            raise RejectedError(
                Code.NOT_FOUND, f"there is no model {model!r}; this is {self.model!r}"
            )
        if label not in {None, "", LIVE_LABEL}:
            raise RejectedError(
                Code.NOT_FOUND, f"there is no label {label!r}; there is {LIVE_LABEL!r}"
            )
        if self._stopped:
            raise RejectedError(Code.UNAVAILABLE, "the server is stopping")
        if self._now is None:
            raise RejectedError(Code.UNAVAILABLE, "no version is loaded; try again")
        if number not in {None, self._now.number}:
            raise RejectedError(
                Code.NOT_FOUND,
                f"version {number} is not served; the live one is {self._now.number}",
            )
        return self._now

    def columns(self) -> set[str]:
        """Returns the columns that requests may have, of any version.

        They are those of the version that answers and of the reviewed schema, which
        may have those of the next one.

        Raises:
            ThroughlineError: The schema can't be parsed.
        """
        reviewed = _parsed(self._source.schema)
        found = {feature.name for feature in reviewed.feature} if reviewed else set()
        return found | set(self._now.contract.features if self._now else ())

    async def start(self) -> None:
        """Loads the live version, or the newest before it that can be loaded.

        Raises:
            ThroughlineError: There is no version, or none can be loaded.
        """
        reason = "there is none"
        for number in reversed(versions.versions(self._source.base)):
            if await self._load(number):
                self._is_starting = False
                return
            if self._failure:
                reason = self._failure.reason
        raise ThroughlineError(
            f"no version in {self._source.base} can be served: {reason}; a run that "
            "ends with 0 pushes one"
        )

    async def follow(self) -> None:
        """Loads each new live version; returns when it is stopped."""
        while not self._stopped:
            number = await self._wanted()
            if number is not None:
                self._forget_deleted(number)
            if number is not None and self._is_due(number):
                await self._load(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), _POLL_SECONDS)
            self._look.clear()

    async def stop(self) -> None:
        """Rejects further requests, and waits for those in flight."""
        self._stopped = True
        self._look.set()
        if self._now:
            limit = self._settings.limits.stop_seconds
            try:
                await asyncio.wait_for(self._now.close(), limit)
            except TimeoutError:
                _LOG.warning("the model didn't answer within %g s of the stop", limit)
                self._now.kill()
        await asyncio.gather(*self._closing)

    async def _wanted(self) -> int | None:
        """Returns the number that should be live; `None` if that can't be told."""
        try:
            # In a thread, since a file system that is gone may not answer at all.
            found = await asyncio.to_thread(_listed, self._source.base)
        except OSError as error:
            self._note_storage(f"{self._source.base} can't be read: {error.strerror}")
            return None
        if not found:
            self._note_storage(f"{self._source.base} has no version any more")
            return None
        self._note_storage("")
        return found[-1]

    def _note_storage(self, problem: str) -> None:
        if problem and self._reachable:
            live = self._now.number if self._now else "nothing"
            _LOG.warning("%s; version %s stays live", problem, live)
        if not problem and not self._reachable:
            _LOG.info("%s can be read again", self._source.base)
        self._reachable = not problem
        self._metrics.storage.set(int(self._reachable))

    def _forget_deleted(self, newest: int) -> None:
        """Forgets a version that couldn't be loaded and was deleted since."""
        failed = self._failure
        if failed and failed.number > newest:
            _LOG.info("version %d, which can't be loaded, is gone", failed.number)
            self._failure = None

    def _is_due(self, number: int) -> bool:
        """Whether a version is to be loaded now."""
        if self._now and self._now.number == number:
            return False
        failed = self._failure
        if failed and failed.number == number:
            return asyncio.get_running_loop().time() >= failed.retry
        return True

    async def loaded(
        self, number: int, settings: Settings, priority: Priority
    ) -> Version:
        """Loads a version, and does nothing else with it.

        Args:
            number: The version.
            settings: What requests may be, and how many may wait.
            priority: What it leaves to the version that answers.

        Raises:
            ThroughlineError: It can't be loaded; the message is the reason.
            OSError: A file can't be read.
        """
        path = self._source.base / str(number)
        return await Version.load(
            self._nursery,
            path,
            settings,
            _schema_of(path, self._source.schema),
            self._metrics.call,
            priority=priority,
        )

    async def _load(self, number: int) -> bool:
        """Loads a version and makes it live; returns whether it could be loaded."""
        self._loading = number
        _LOG.info("loading version %d", number)
        # At the lowest priority, a busy machine takes half a minute for it.
        priority = Priority.LOADS_LAST if self._now else Priority.USUAL
        try:
            version = await self.loaded(number, self._settings, priority)
        except (ThroughlineError, OSError) as error:
            self._note_failure(number, str(error))
            return False
        finally:
            self._loading = None
        if self._stopped:
            await version.close()
            return False
        self._swap(version)
        return True

    def _note_failure(self, number: int, reason: str) -> None:
        before = self._failure
        again = before is not None and before.number == number
        wait = before.wait if before and again else _FIRST_RETRY_SECONDS
        retry = asyncio.get_running_loop().time() + wait
        self._failure = _Failure(
            number, reason, retry, min(2 * wait, _LONGEST_RETRY_SECONDS)
        )
        self._metrics.load("failed")
        live = f"version {self._now.number} stays live" if self._now else "none is live"
        what = f"{live}, and it is tried again in {wait:.0f} s"
        if self._is_starting:
            what = "the version before it is tried, if there is one"
        _LOG.error("version %d can't be loaded: %s; %s", number, reason, what)

    def _swap(self, version: Version) -> None:
        before, self._now = self._now, version
        self._since = clock.now().timestamp()
        # An earlier one that is served meanwhile leaves the failure as it is.
        if self._failure and self._failure.number <= version.number:
            self._failure = None
        version.lost = self._restart
        self._metrics.load("ok")
        self._metrics.live.set(version.number)
        _LOG.info(
            "version %d is live, loaded in %.1f s%s",
            version.number,
            version.info["seconds"],
            f"; before it was {before.number}" if before else "",
        )
        if before:
            task = asyncio.create_task(before.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _restart(self) -> None:
        """Makes `follow` load the version again: its process has ended."""
        if self._now and not self._stopped:
            _LOG.error(
                "the process of version %d has ended; it is loaded again",
                self._now.number,
            )
        self._now = None
        self._metrics.live.set(0)
        self._look.set()


def _listed(base: Path) -> list[int]:
    """Lists versions; unlike `versions.versions`, fails if the directory is gone."""
    base.stat()
    return versions.versions(base)


def _schema_of(path: Path, fallback: Path) -> schema_pb2.Schema | None:
    """Reads the schema to check requests with; `None` if there is no file.

    Raises:
        ThroughlineError: The file is no schema.
    """
    own = path / SCHEMA_FILE
    return _parsed(own if own.is_file() else fallback)


def _parsed(file: Path) -> schema_pb2.Schema | None:
    if not file.is_file():
        return None
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ThroughlineError(f"{file} is no schema: {error}") from None
