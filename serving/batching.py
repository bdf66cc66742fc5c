"""Joins the requests that arrive while the model is busy into one call.

One call is in flight per version. What arrives meanwhile waits, up to a number of
requests beyond which the next is rejected at once: a queue that grows only makes every
answer late. An idle model is called without delay, unless a wait is set.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from serving.contract import Job
from serving.rejections import Code, RejectedError
from serving.settings import Batching, Limits

Answers = Mapping[str, Any]
"""Per output of a signature, the values of the rows: an array, or lists of bytes."""

_SWEEPS_PER_LIMIT = 20
# A call that takes longer than this multiple of a request's limit will never end.
_STUCK = 10


class Caller(Protocol):
    """Sends batches to the model; the result arrives at `Batcher.finish`."""

    def call(self, signature: str, columns: Mapping[str, Any]) -> None:
        """Sends a batch; the answers come in the order of the calls."""

    def kill(self) -> None:
        """Ends a process that doesn't answer."""


@dataclass
class _Waiting:
    job: Job
    answer: "asyncio.Future[Answers]"
    until: float
    alone: bool = False
    """Whether it must not be joined with others."""


class Batcher:
    """The queue of one version, and its requests in flight."""

    def __init__(
        self,
        caller: Caller,
        batching: Batching,
        limits: Limits,
        whole: Sequence[str] = (),
    ) -> None:
        """Starts empty, in the running event loop.

        Args:
            caller: Calls the model.
            batching: How long to wait for others, and for how many.
            limits: How many may wait, and how long.
            whole: Signatures whose requests can't be joined.
        """
        self._caller = caller
        self._batching = batching
        self._limits = limits
        self._whole = frozenset(whole)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._in_flight: list[_Waiting] = []
        self._sent_at = 0.0
        self._is_due = False
        self._ended: str = ""
        self._drained = asyncio.Event()
        self._drained.set()
        self._sweep_timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests that wait or are worked on."""
        return len(self._waiting) + len(self._in_flight)

    def submit(self, job: Job) -> "asyncio.Future[Answers]":
        """Takes a request; the result has the answers of its rows.

        Raises:
            RejectedError: Too many are waiting, or the model is gone.
        """
        if self._ended:
            raise RejectedError(Code.UNAVAILABLE, self._ended)
        if len(self._waiting) >= self._limits.waiting:
            raise RejectedError(
                Code.OVERLOADED,
                f"{len(self._waiting)} requests are waiting for the model, which is "
                "the limit; try again later",
            )
        self._drained.clear()
        answer: asyncio.Future[Answers] = self._loop.create_future()
        until = self._loop.time() + self._limits.seconds
        self._waiting.append(_Waiting(job, answer, until))
        if self._sweep_timer is None:
            self._sweep_later()
        if not self._in_flight and not self._is_due:
            self._is_due = True
            if self._batching.wait_ms:
                self._loop.call_later(self._batching.wait_ms / 1e3, self._send)
            else:
                # After what else the loop has read in this turn.
                self._loop.call_soon(self._send)
        return answer

    def finish(self, answers: Answers | str) -> None:
        """Hands the answers of the call in flight to its requests; makes the next call.

        Args:
            answers: The answers of all its rows, or why there are none.
        """
        jobs, self._in_flight = self._in_flight, []
        rows = sum(each.job.rows for each in jobs)
        if isinstance(answers, str):
            self._refuse(jobs, answers)
        elif len(jobs) == 1:
            _give(jobs[0], answers)
        elif any(len(values) != rows for values in answers.values()):
            self._refuse(jobs, "it didn't answer one value per row")
        else:
            begin = 0
            for each in jobs:
                end = begin + each.job.rows
                _give(each, {n: values[begin:end] for n, values in answers.items()})
                begin = end
        if self._waiting and not self._is_due:
            self._send()
        self._note_drained()

    def end(self, reason: str) -> None:
        """Rejects all requests, those to come too: the model is gone."""
        self._ended = reason
        for each in (*self._in_flight, *self._waiting):
            _reject(each, Code.UNAVAILABLE, reason)
        self._in_flight, self._waiting = [], deque()
        self._drained.set()

    async def drained(self) -> None:
        """Waits until no request waits or is worked on."""
        await self._drained.wait()

    def _note_drained(self) -> None:
        if not self.waiting:
            self._drained.set()

    def _send(self) -> None:
        self._is_due = False
        if self._in_flight:
            return
        jobs = self._next()
        if not jobs:
            return
        self._in_flight = jobs
        self._sent_at = self._loop.time()
        self._caller.call(jobs[0].job.signature, _joined(jobs))

    def _next(self) -> list[_Waiting]:
        """Takes the requests of the next call, the oldest first."""
        jobs: list[_Waiting] = []
        rows = 0
        while self._waiting:
            head = self._waiting[0]
            if head.answer.done():  # Its client has gone, or its time is up.
                self._waiting.popleft()
                continue
            if jobs and (
                head.job.signature != jobs[0].job.signature
                or head.job.signature in self._whole
                or head.alone
                or jobs[0].alone
                or rows + head.job.rows > self._batching.rows
            ):
                break
            jobs.append(self._waiting.popleft())
            rows += head.job.rows
        return jobs

    def _refuse(self, jobs: list[_Waiting], reason: str) -> None:
        """Rejects the request of a failed call, or calls each of several alone.

        One that the checks let pass must not fail those that it was joined with.
        """
        if len(jobs) == 1:
            _reject(jobs[0], Code.INVALID_ARGUMENT, f"the model can't answer: {reason}")
            return
        for each in jobs:
            each.alone = True
        self._waiting.extendleft(reversed(jobs))

    def _sweep_later(self) -> None:
        wait = self._limits.seconds / _SWEEPS_PER_LIMIT
        self._sweep_timer = self._loop.call_later(wait, self._sweep)

    def _sweep(self) -> None:
        """Rejects the requests whose time is up.

        One timer for all, since one per request would be 5 % of a request's cost.
        """
        self._sweep_timer = None
        now = self._loop.time()
        for each in (*self._in_flight, *self._waiting):
            if each.until > now:
                break
            _reject(
                each,
                Code.DEADLINE_EXCEEDED,
                f"the model didn't answer within {self._limits.seconds:g} s; try again "
                "later",
            )
        while self._waiting and self._waiting[0].answer.done():
            self._waiting.popleft()
        if self._in_flight and now - self._sent_at > _STUCK * self._limits.seconds:
            self._caller.kill()
        if self.waiting:
            self._sweep_later()
        self._note_drained()


def _joined(jobs: Sequence[_Waiting]) -> Mapping[str, Any]:
    if len(jobs) == 1:
        return jobs[0].job.columns
    names = jobs[0].job.columns
    return {n: [v for each in jobs for v in each.job.columns[n]] for n in names}


def _give(waiting: _Waiting, answers: Answers) -> None:
    # Done already if the client has gone or the time was up.
    if not waiting.answer.done():
        waiting.answer.set_result(answers)


def _reject(waiting: _Waiting, code: Code, reason: str) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(RejectedError(code, reason))
