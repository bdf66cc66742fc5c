"""A version of the model in a process of its own, as the server sees it."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.errors import ThroughlineError
from serving import frames, model_process
from serving.batching import Batcher
from serving.contract import Bounds, Contract
from serving.model_process import Priority
from serving.nursery import Nursery
from serving.settings import Settings

MODEL_TASK = "model"
"""Name of the nursery's task that answers for a version."""

Measure = Callable[[int, int, float], None]
"""Called after each call of a model: version, rows, seconds that the model took."""


class Version:
    """A version that is loaded or being loaded.

    Attributes:
        number: Its number.
        info: What its process reported, see `model_process`.
        contract: What it takes.
        batcher: Takes its requests.
    """

    info: Mapping[str, Any]
    contract: Contract
    batcher: Batcher

    def __init__(self, number: int, measure: Measure) -> None:
        self.number = number
        self._measure = measure
        self._loop = asyncio.get_running_loop()
        self._reported: asyncio.Future[tuple[Any, ...]] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._transport: asyncio.Transport
        self._rows = 0
        self.lost: Callable[[], None] = lambda: None

    @property
    def threshold(self) -> float | None:
        """The probability above which it decides a row as positive, if it has one."""
        threshold: float | None = self.info["threshold"]
        return threshold

    @classmethod
    async def load(  # noqa: PLR0913 - each is needed once, and passed on
        cls,
        nursery: Nursery,
        path: Path,
        settings: Settings,
        schema: schema_pb2.Schema | None,
        measure: Measure,
        *,
        priority: Priority,
    ) -> "Version":
        """Starts a process, and waits until it has loaded and warmed up the version.

        Args:
            nursery: Forks the process.
            path: The directory of the version, named by its number.
            settings: Of the server.
            schema: The reviewed schema; `None` if there is none.
            measure: Told of each call.
            priority: What it leaves to the version that answers.

        Raises:
            ThroughlineError: It can't be loaded; the message is the reason.
        """
        version = cls(int(path.name), measure)
        connection = nursery.spawn(
            MODEL_TASK, {"path": str(path), "priority": priority}
        )
        transport, _ = await version._loop.create_unix_connection(
            lambda: frames.Receiver(version._got, version._gone), sock=connection
        )
        version._transport = transport
        try:
            await version._begin(settings, schema)
        except BaseException:
            transport.close()
            raise
        return version

    async def _begin(
        self, settings: Settings, schema: schema_pb2.Schema | None
    ) -> None:
        what, info = await self._reported
        if what == model_process.FAILED:
            raise ThroughlineError(info)
        limits = settings.limits
        self.info = info
        self.contract = Contract(
            {
                name: meta_graph_pb2.SignatureDef.FromString(text)
                for name, text in info["signatures"].items()
            },
            schema,
            settings.extra_columns,
            Bounds(limits.rows, limits.text_bytes),
            info["inputs"],
        )
        self.batcher = Batcher(self, settings.batching, limits, info["whole"])

    def call(self, signature: str, columns: Mapping[str, Any]) -> None:
        """Sends a batch to the process; the batcher's `Caller`."""
        self._rows = len(next(iter(columns.values())))
        self._transport.write(frames.encode((signature, columns)))

    def kill(self) -> None:
        """Kills the process, which rejects its requests; the batcher's `Caller`."""
        os.kill(self.info["process"], signal.SIGKILL)

    async def close(self) -> None:
        """Lets it answer what it has, then ends its process."""
        await self.batcher.drained()
        self.lost = lambda: None
        self._transport.close()
        await self._ended.wait()

    def _got(self, message: tuple[Any, ...]) -> None:
        what, *values = message
        if not self._reported.done():
            self._reported.set_result(message)
        elif what == model_process.ANSWER:
            answers, seconds = values
            self._measure(self.number, self._rows, seconds)
            self.batcher.finish(answers)
        else:
            self.batcher.finish(values[0])

    def _gone(self) -> None:
        self._ended.set()
        if not self._reported.done():
            reason = (
                "its process ended while it was loading, as if it was killed for its "
                "memory"
            )
            self._reported.set_result((model_process.FAILED, reason))
        elif hasattr(self, "batcher"):
            self.batcher.end("the model's process has ended; it is being restarted")
            self.lost()
