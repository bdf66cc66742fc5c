"""Messages between the server's processes: a length, and a pickled tuple.

Both ends are processes of one server on a private socket pair, so what is unpickled is
what we have pickled. Clients' bytes travel inside, as values.
"""

import asyncio
import pickle
import socket
import struct
from collections.abc import Callable
from typing import Any

_LENGTH = struct.Struct("!Q")


def encode(message: tuple[Any, ...]) -> bytes:
    """Returns a message with its length in front."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def send(connection: socket.socket, message: tuple[Any, ...]) -> None:
    """Sends a message; waits until it is sent.

    Raises:
        OSError: The other process is gone.
    """
    connection.sendall(encode(message))


def receive(connection: socket.socket) -> tuple[Any, ...] | None:
    """Waits for a message; returns `None` if the other process is gone."""
    head = _exactly(connection, _LENGTH.size)
    body = head and _exactly(connection, _LENGTH.unpack(head)[0])
    return pickle.loads(body) if body else None  # noqa: S301 - see the module


def _exactly(connection: socket.socket, size: int) -> bytes:
    """Reads a number of bytes; returns none if the stream ends before."""
    found = bytearray()
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            return b""
        found += piece
    return bytes(found)


class Receiver(asyncio.Protocol):
    """The server's end, in its event loop."""

    def __init__(
        self, got: Callable[[tuple[Any, ...]], None], lost: Callable[[], None]
    ) -> None:
        """Receives messages.

        Args:
            got: Called with each message.
            lost: Called once, when the other process is gone.
        """
        self._got = got
        self._lost = lost
        self._buffer = bytearray()

    def data_received(self, data: bytes) -> None:
        """Hands over each complete message; asyncio's callback."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            body = bytes(memoryview(self._buffer)[_LENGTH.size : end])
            del self._buffer[:end]
            self._got(pickle.loads(body))  # noqa: S301 - see the module

    def connection_lost(self, _: Exception | None) -> None:
        """Reports the end; asyncio's callback."""
        self._lost()
