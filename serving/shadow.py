"""Shadow answers: an earlier version answers the requests that the live one answers.

Which version, and for how long, is in a file that `throughline operate` writes
(`pipeline.registry.shadow_order`). The version is loaded in a process of its own at
the lowest priority, and runs only where a core is idle. It gets a request after the
client has got its answer, and its answers go to a log of their own, with the request's
id. What it can't take at once is dropped and counted, so clients never wait for it.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from pipeline.errors import ThroughlineError
from pipeline.registry import shadow_order
from pipeline.registry.shadow_order import Order
from pipeline.store import clock
from serving.batching import Answers
from serving.contract import Job
from serving.journal import Entry, Journal, as_logged, is_sampled
from serving.live import Live
from serving.metrics import Metrics
from serving.model_process import Priority
from serving.rejections import Code, RejectedError
from serving.request_log import OK
from serving.settings import Settings
from serving.version import Version

_LOG = logging.getLogger(__name__)

ANSWERED, REJECTED, DROPPED = "answered", "rejected", "dropped"
"""What becomes of a request that is sampled."""

TELLING = frozenset({Code.INVALID_ARGUMENT, Code.DEADLINE_EXCEEDED})
"""Why a version may reject a request that another one answers."""

_POLL_SECONDS = 0.5
_RETRY_SECONDS = 60.0
_MOST_WAITING = 32
# One object for all entries, as the journal wants it.
_NO_FEATURES: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that the live version has answered or rejected.

    Attributes:
        request_id: Its id.
        time: When it arrived, in microseconds since 1970.
        version: The live version's number.
        parse: Reads and checks its rows for a version.
        job: Its rows as the live version took them; `None` if it rejected them.
        reading: Seconds that reading and checking them took.
    """

    request_id: str
    time: int
    version: int
    parse: Callable[[Version], Job]
    job: Job | None
    reading: float


class Shadow:
    """The version that answers along with the live one, if one is wanted.

    Attributes:
        outcomes: Sampled requests since the start, by what became of them.
    """

    def __init__(
        self, live: Live, settings: Settings, metrics: Metrics, journal: Journal
    ) -> None:
        """Answers nothing yet; see `follow`.

        Args:
            live: The version that answers clients; loads others too.
            settings: Of the server.
            metrics: Counts outcomes.
            journal: Logs the answers.
        """
        self.outcomes: Counter[str] = Counter()
        self._live = live
        limits = replace(settings.limits, waiting=_MOST_WAITING)
        self._settings = replace(settings, limits=limits)
        self._metrics = metrics
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._now: Version | None = None
        self._order: Order | None = None
        self._same = False
        self._retry = 0.0
        self._problem = ""

    @property
    def order(self) -> Order | None:
        """What it is doing; `None` if no version is loaded."""
        return self._order if self._now is not None else None

    def also(self, seen: Seen) -> None:
        """Has the version answer a request too, if it is sampled; returns at once."""
        if self._now is None or self._order is None or seen.version != self._order.live:
            return
        # Requests that aren't logged have nothing to be compared with.
        share = min(self._order.share, self._settings.log.sample)
        if is_sampled(seen.request_id, share):
            # In a later turn of the loop, when the client's answer has been written.
            self._loop.call_soon(self._ask, self._now, seen)

    async def follow(self) -> None:
        """Loads and ends versions as the order says, until it is cancelled."""
        while True:
            order = await self._wanted()
            wanted, now = order and order.shadow, self._now and self._now.number
            if wanted != now:
                await self.stop()
            self._order = order
            if order and wanted != now and self._loop.time() >= self._retry:
                await self._load(order.shadow)
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Ends the version; what it hasn't answered is dropped."""
        version, self._now = self._now, None
        if version is not None:
            _LOG.info("version %d gives no shadow answers any more", version.number)
            version.lost = lambda: None
            with contextlib.suppress(ProcessLookupError):
                version.kill()
            await version.close()

    async def _wanted(self) -> Order | None:
        """Reads the order; `None` if it is not about the version that is live."""
        problem, order = "", None
        try:
            # In a thread, since a file system that is gone may not answer at all.
            order = await asyncio.to_thread(shadow_order.read, self._live.base)
        except (ThroughlineError, OSError) as error:
            problem = str(error)
        if problem and problem != self._problem:
            _LOG.warning("no shadow answers: %s", problem)
        self._problem = problem
        live = self._live.version
        if order is None or live is None or order.live != live.number:
            return None
        return order if order.until > clock.now() else None

    async def _load(self, number: int) -> None:
        try:
            version = await self._live.loaded(number, self._settings, Priority.IDLE)
        except (ThroughlineError, OSError) as error:
            self._retry = self._loop.time() + _RETRY_SECONDS
            _LOG.error(
                "version %d can't give shadow answers: %s; it is tried again in %g s",
                *(number, error, _RETRY_SECONDS),
            )
            return
        version.lost = self._lost
        live = self._live.version
        self._same = bool(live and live.contract.takes_the_same(version.contract))
        self._now = version
        _LOG.info("version %d gives shadow answers", number)

    def _lost(self) -> None:
        self._now = None
        self._retry = self._loop.time() + _RETRY_SECONDS
        _LOG.error(
            "the process of the shadow has ended; it is loaded again in %g s",
            _RETRY_SECONDS,
        )

    def _ask(self, version: Version, seen: Seen) -> None:
        asked = _Asked(version, seen, time.perf_counter())
        try:
            if seen.job is not None and self._same:
                asked.job, asked.started = seen.job, asked.started - seen.reading
            else:
                asked.job = seen.parse(version)
            answer = version.batcher.submit(asked.job)
        except RejectedError as error:
            self._rejected(asked, error)
            return
        answer.add_done_callback(partial(self._done, asked))

    def _done(self, asked: "_Asked", answer: "asyncio.Future[Answers]") -> None:
        error = answer.exception()
        if isinstance(error, RejectedError):
            self._rejected(asked, error)
            return
        self._count(asked, ANSWERED)
        self._journal.append(asked.entry(OK, answer.result()))

    def _rejected(self, asked: "_Asked", error: RejectedError) -> None:
        # Any other reason is that no core is idle, not the version.
        if error.code is not Code.INVALID_ARGUMENT:
            self._count(asked, DROPPED)
            return
        self._count(asked, REJECTED)
        self._journal.append(asked.entry(error.code.grpc_name))

    def _count(self, asked: "_Asked", outcome: str) -> None:
        self.outcomes[outcome] += 1
        self._metrics.shadowed(asked.version.number, outcome)


@dataclass(slots=True)
class _Asked:
    """A request that the shadow answers.

    Attributes:
        version: The shadow.
        seen: The request.
        started: For measuring, as if it had begun when the live version had it.
        job: Its rows, once they are checked.
    """

    version: Version
    seen: Seen
    started: float
    job: Job | None = None

    def entry(self, status: str, answers: Answers | None = None) -> Entry:
        """Returns what is logged; without answers if it was rejected."""
        answered = answers is not None and self.job is not None
        return Entry(
            request_id=self.seen.request_id,
            time=self.seen.time,
            version=self.version.number,
            signature=self.job.signature if self.job and answered else "",
            features=_NO_FEATURES,
            rows=[()] * self.job.rows if self.job and answered else (),
            answers=as_logged(answers) if answers is not None else (),
            threshold=self.version.threshold,
            latency_ms=(time.perf_counter() - self.started) * 1e3,
            status=status,
        )
