"""Joining requests into calls, and the limits of what may wait."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from serving.batching import Batcher
from serving.contract import Job
from serving.rejections import Code, RejectedError
from serving.settings import Batching, Limits


def job(*values: int, signature: str = "raw") -> Job:
    """Returns a request of one column."""
    return Job(signature, {"x": list(values)}, len(values), [])


class Model:
    """Notes its calls; the test says when they end."""

    def __init__(self) -> None:
        """Has had no call."""
        self.calls: list[tuple[str, list[int]]] = []
        self.killed = asyncio.Event()
        self.called = asyncio.Event()

    def call(self, signature: str, columns: Mapping[str, Any]) -> None:
        """Takes a call."""
        self.calls.append((signature, columns["x"]))
        self.called.set()

    def kill(self) -> None:
        """Takes its end."""
        self.killed.set()


def run(
    test: Callable[[Batcher, Model], Awaitable[None]],
    batching: Batching | None = None,
    limits: Limits | None = None,
    whole: tuple[str, ...] = (),
) -> None:
    """Runs a test in an event loop."""

    async def main() -> None:
        model = Model()
        batcher = Batcher(model, batching or Batching(), limits or Limits(), whole)
        await test(batcher, model)

    asyncio.run(main())


def test_what_arrives_meanwhile_is_one_call() -> None:
    """An idle model is called at once; the requests of a call get their own rows."""

    async def test(batcher: Batcher, model: Model) -> None:
        first = batcher.submit(job(1))
        await asyncio.sleep(0)
        second, third = batcher.submit(job(2, 3)), batcher.submit(job(4))
        await asyncio.sleep(0)
        assert model.calls == [("raw", [1])]

        batcher.finish({"y": [10]})
        batcher.finish({"y": [20, 30, 40]})

        assert model.calls[1:] == [("raw", [2, 3, 4])]
        assert await first == {"y": [10]}
        assert await second == {"y": [20, 30]}
        assert await third == {"y": [40]}
        await batcher.drained()

    run(test)


def test_signatures_and_rows_bound_a_call() -> None:
    """A call has one signature, and no more rows than set unless one request has."""

    async def test(batcher: Batcher, model: Model) -> None:
        for each in (job(1), job(2, 3), job(4), job(5, signature="other"), job(6)):
            batcher.submit(each)
        await asyncio.sleep(0)
        for _ in range(3):
            batcher.finish("no")

        assert model.calls[0] == ("raw", [1, 2, 3])

    run(test, Batching(rows=3))


def test_a_failed_call_is_repeated_one_by_one() -> None:
    """A request that the model can't answer fails alone."""

    async def test(batcher: Batcher, model: Model) -> None:
        good, bad = batcher.submit(job(1)), batcher.submit(job(2))
        await asyncio.sleep(0)
        batcher.finish("can't parse")
        batcher.finish({"y": [10]})
        batcher.finish("can't parse")

        assert [values for _, values in model.calls] == [[1, 2], [1], [2]]
        assert await good == {"y": [10]}
        with pytest.raises(RejectedError, match="can't answer: can't parse") as found:
            await bad
        assert found.value.code is Code.INVALID_ARGUMENT

    run(test)


def test_a_call_that_answers_too_few_rows_is_repeated_one_by_one() -> None:
    """No request gets the rows of another."""

    async def test(batcher: Batcher, model: Model) -> None:
        batcher.submit(job(1))
        batcher.submit(job(2))
        await asyncio.sleep(0)

        batcher.finish({"y": [1]})

        assert [values for _, values in model.calls] == [[1, 2], [1]]

    run(test)


def test_whole_signatures_are_not_joined() -> None:
    """What doesn't answer by row is called for each request."""

    async def test(batcher: Batcher, model: Model) -> None:
        batcher.submit(job(1))
        batcher.submit(job(2))
        await asyncio.sleep(0)
        batcher.finish({"y": 1})

        assert [values for _, values in model.calls] == [[1], [2]]

    run(test, whole=("raw",))


def test_more_than_may_wait_is_rejected_at_once() -> None:
    """The queue has a bound; what was in it is still answered."""

    async def test(batcher: Batcher, model: Model) -> None:
        taken = [batcher.submit(job(n)) for n in range(2)]

        with pytest.raises(RejectedError, match="2 requests are waiting") as found:
            batcher.submit(job(9))

        assert found.value.code is Code.OVERLOADED
        await asyncio.sleep(0)
        batcher.finish({"y": [0, 1]})
        assert [await each for each in taken] == [{"y": [0]}, {"y": [1]}]
        assert model.calls == [("raw", [0, 1])]

    run(test, limits=Limits(waiting=2))


def test_time_is_up_for_what_waits_and_what_is_called() -> None:
    """Each gets its status in time, and a model that never answers is killed."""

    async def test(batcher: Batcher, model: Model) -> None:
        called = batcher.submit(job(1))
        await asyncio.sleep(0)
        waiting = batcher.submit(job(2))

        for each in (called, waiting):
            with pytest.raises(RejectedError, match=r"within 0\.02 s") as found:
                await each
            assert found.value.code is Code.DEADLINE_EXCEEDED
        await asyncio.wait_for(model.killed.wait(), 30)
        assert len(model.calls) == 1

    run(test, limits=Limits(seconds=0.02))


def test_the_end_of_the_process_rejects_all() -> None:
    """In flight, waiting or to come: 503 with the reason."""

    async def test(batcher: Batcher, model: Model) -> None:
        called = batcher.submit(job(1))
        await asyncio.sleep(0)
        waiting = batcher.submit(job(2))

        batcher.end("it is gone")

        for each in (called, waiting):
            with pytest.raises(RejectedError, match="it is gone"):
                await each
        with pytest.raises(RejectedError, match="it is gone"):
            batcher.submit(job(3))
        await batcher.drained()
        assert len(model.calls) == 1

    run(test)


def test_a_wait_collects_requests() -> None:
    """With a wait, an idle model is called a moment later with all that came."""

    async def test(batcher: Batcher, model: Model) -> None:
        batcher.submit(job(1))
        await asyncio.sleep(0)
        assert model.calls == []
        batcher.submit(job(2))

        await asyncio.wait_for(model.called.wait(), 30)

        assert model.calls == [("raw", [1, 2])]

    run(test, Batching(wait_ms=2))
