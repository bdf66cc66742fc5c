"""Sends requests to a server over HTTP, and measures each answer.

    python -m benchmarks.serving_load PORT PATH CLIENTS SECONDS RATE <BODY

CLIENTS connections each send a request when the last is answered, RATE requests a
second together (0: as fast as they can). Prints a JSON object: requests, failures,
requests per second, and percentiles of the latency in milliseconds. Written on bare
sockets, because the client shares the server's cores: a usual HTTP client would need
more of them than the server.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field

import numpy as np

_PERCENTILES = (50, 95, 99, 99.9, 100)


@dataclass
class Found:
    """What was measured.

    Attributes:
        seconds: Latency of each answered request.
        failed: Requests with another status than 200, or none.
        at: When each was answered, in the loop's time.
    """

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    at: list[float] = field(default_factory=list)


class _Client(asyncio.Protocol):
    """A connection that has one request in flight at a time."""

    def __init__(self, request: bytes, found: Found, pause: float, end: float) -> None:
        self._request = request
        self._found = found
        self._pause = pause
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.time()
        self._sent = 0.0
        self._buffer = b""
        self._waits = False
        self.done: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, gap, body = self._buffer.partition(b"\r\n\r\n")
        if not gap or len(body) < _length(head):
            return
        self._buffer = b""
        self._waits = False
        now = time.perf_counter()
        self._found.seconds.append(now - self._sent)
        self._found.at.append(self._loop.time())
        self._found.failed += not head.startswith(b"HTTP/1.1 200")
        self._next += self._pause
        wait = self._next - self._loop.time() if self._pause else 0
        if wait > 0:
            self._loop.call_later(wait, self._send)
        else:
            self._send()

    def connection_lost(self, _: Exception | None) -> None:
        self._found.failed += self._waits
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        if self._loop.time() >= self._end:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._waits = True
        self._transport.write(self._request)  # type: ignore[attr-defined]


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n")[0])


@dataclass(frozen=True)
class Load:
    """What to send.

    Attributes:
        port: The server's, on loopback.
        path: Of the URL.
        clients: Connections, each with one request in flight.
        seconds: How long.
        rate: Requests per second of all clients; 0 for as many as they can.
    """

    port: int
    path: str
    clients: int
    seconds: float
    rate: float = 0.0


async def load(what: Load, body: bytes) -> dict[str, float]:
    """Sends a request over and over; returns what `__main__` prints."""
    loop = asyncio.get_running_loop()
    head = (
        f"POST {what.path} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    found = Found()
    started = loop.time()
    pause = what.clients / what.rate if what.rate else 0.0
    end = started + what.seconds
    made = []
    for _ in range(what.clients):
        _, client = await loop.create_connection(
            lambda: _Client(head.encode() + body, found, pause, end),
            "127.0.0.1",
            what.port,
        )
        made.append(client.done)
        # Clients that send at the same moment would measure their own queue.
        await asyncio.sleep(pause / what.clients)
    await asyncio.gather(*made)
    took = loop.time() - started
    waits = np.percentile(np.array(found.seconds) * 1e3, _PERCENTILES)
    return {
        "requests": len(found.seconds),
        "failed": found.failed,
        "per_second": round(len(found.seconds) / took),
        **{f"p{p:g}": round(w, 3) for p, w in zip(_PERCENTILES, waits, strict=True)},
    }


if __name__ == "__main__":
    to_port, to_path, *numbers = sys.argv[1:]
    given = Load(int(to_port), to_path, int(numbers[0]), *map(float, numbers[1:]))
    print(json.dumps(asyncio.run(load(given, sys.stdin.buffer.read()))))
