"""One request from its last byte to its answer, for REST and gRPC alike."""

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.store import clock
from serving.batching import Answers
from serving.contract import Job
from serving.journal import Entry, Journal, as_logged
from serving.live import Live
from serving.metrics import Metrics
from serving.rejections import Code, RejectedError
from serving.request_log import OK
from serving.shadow import TELLING, Seen, Shadow
from serving.version import Version

_LOG = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
DECISION_THRESHOLD = "x-decision-threshold"
"""With the probability above which the version decides a row as positive."""
"""Header, and metadata of gRPC: an id that the client gave, or that it gets."""
_ID = re.compile(r"[\x21-\x7e]{1,128}")

# Ids of a server: a random beginning and a count, a tenth of a UUID's cost.
_start = secrets.token_hex(8)
_count = itertools.count()


@dataclass(frozen=True)
class Asked:
    """Which model a request asks for.

    Attributes:
        model: Its name.
        number: The version; `None` for the live one.
        label: The version's label, if it is asked for by one.
    """

    model: str
    number: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Answered:
    """The answer to a request.

    Attributes:
        version: The version that answered.
        job: What it was asked.
        answers: Its answers, by output.
    """

    version: Version
    job: Job
    answers: Answers


def failed(error: Exception) -> RejectedError:
    """Logs a defect of ours; returns what the client learns of it.

    Args:
        error: An exception that nobody expects.
    """
    _LOG.error("a request failed", exc_info=error)
    return RejectedError(
        Code.UNAVAILABLE, "the server failed on this request; its log says why"
    )


class _Begun:
    """A request that has arrived.

    Attributes:
        request_id: Its id.
        api: `metrics.REST` or `metrics.GRPC`.
        time: When it arrived, in microseconds since 1970.
        started: The same, for measuring.
        read: When its rows were read and checked, for measuring.
    """

    __slots__ = ("api", "read", "request_id", "started", "time")

    def __init__(self, given_id: str, api: str) -> None:
        self.request_id = given_id
        self.api = api
        self.time = clock.microseconds()
        self.started = self.read = time.perf_counter()


def request_id(given: str | None) -> str:
    """Returns the id of a request.

    Args:
        given: The client's; it is replaced if it isn't 1 to 128 printable ASCII
            characters, since it ends in files and headers.
    """
    if given and _ID.fullmatch(given):
        return given
    return f"{_start}-{next(_count):x}"


class Predictor:
    """Answers requests, and measures and logs them."""

    def __init__(
        self,
        live: Live,
        metrics: Metrics,
        journal: Journal | None,
        shadow: Shadow | None,
    ) -> None:
        """Combines the parts.

        Args:
            live: The version that answers.
            metrics: Counts requests.
            journal: Logs requests; `None` if they aren't logged.
            shadow: Answers them too; `None` if they aren't logged.
        """
        self._live = live
        self._metrics = metrics
        self._journal = journal
        self._shadow = shadow

    async def predict(
        self, asked: Asked, api: str, given_id: str, parse: Callable[[Version], Job]
    ) -> Answered:
        """Answers a request.

        Args:
            asked: The model and version that it asks for.
            api: `metrics.REST` or `metrics.GRPC`.
            given_id: Its id, see `request_id`.
            parse: Reads and checks its rows for a version.

        Raises:
            RejectedError: It isn't answered.
        """
        begun = _Begun(given_id, api)
        try:
            version = self._live.asked(asked.model, asked.number, asked.label)
        except RejectedError as error:
            self._count(begun, 0, error.code.grpc_name)
            raise
        job = None
        try:
            # Without an `await` before the batcher has it: the version can't be
            # swapped out in between.
            job = parse(version)
            begun.read = time.perf_counter()
            answers = await version.batcher.submit(job)
        except RejectedError as error:
            self._note(begun, version, error.code.grpc_name)
            if error.code in TELLING:
                self._show(begun, version, parse, job)
            raise
        except asyncio.CancelledError:
            self._note(begun, version, "CANCELLED")
            raise
        except Exception as error:  # noqa: BLE001 - see below
            self._note(begun, version, Code.UNAVAILABLE.grpc_name)
            raise failed(error) from None
        answered = Answered(version, job, answers)
        self._note(begun, version, OK, answered)
        self._show(begun, version, parse, job)
        return answered

    def _show(
        self,
        begun: "_Begun",
        version: Version,
        parse: Callable[[Version], Job],
        job: Job | None,
    ) -> None:
        """Passes a request on to the shadow."""
        if self._shadow is not None:
            reading = begun.read - begun.started if job is not None else 0.0
            seen = Seen(
                begun.request_id, begun.time, version.number, parse, job, reading
            )
            self._shadow.also(seen)

    def _count(
        self, begun: "_Begun", version: int, status: str, rows: int = 0
    ) -> float:
        """Counts a request; returns the seconds that it took."""
        seconds = time.perf_counter() - begun.started
        self._metrics.request(version, begun.api, status, rows, seconds)
        return seconds

    def _note(
        self,
        begun: "_Begun",
        version: Version,
        status: str,
        answered: Answered | None = None,
    ) -> None:
        """Counts and logs a request."""
        rows = answered.job.rows if answered is not None else 0
        seconds = self._count(begun, version.number, status, rows)
        if self._journal is None:
            return
        self._journal.append(
            Entry(
                request_id=begun.request_id,
                time=begun.time,
                version=version.number,
                signature=answered.job.signature if answered is not None else "",
                features=version.contract.features,
                rows=answered.job.logged if answered is not None else (),
                answers=as_logged(answered.answers) if answered is not None else (),
                threshold=version.threshold,
                latency_ms=seconds * 1e3,
                status=status,
            )
        )
