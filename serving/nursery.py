"""A process that forks others, each with TensorFlow imported already.

The server forks it once, before it has threads or connections. A model process is then
a fork of it: it starts in milliseconds instead of the seconds that importing TensorFlow
takes, and shares its memory. A fork of the server itself would inherit gRPC's threads
and the clients' connections.

All of them end when the server does, however that ends: their sockets are closed then.
"""

import gc
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Self

_LOG = logging.getLogger(__name__)

_MESSAGE_BYTES = 1 << 16

Task = Callable[[dict[str, Any], socket.socket], None]
"""What a process does: given its arguments and its end of a socket pair."""


class Nursery:
    """The server's handle of the process that forks."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    @classmethod
    def start(cls, tasks: Mapping[str, Task]) -> Self:
        """Forks the process; call it before anything starts a thread.

        Args:
            tasks: What a process may do, by name.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # The forks never look at what is imported now, so the pages stay shared.
        gc.collect()
        gc.freeze()
        if not os.fork():
            ours.close()
            _wait_for_orders(theirs, tasks)
        theirs.close()
        return cls(ours)

    def spawn(self, task: str, arguments: dict[str, Any]) -> socket.socket:
        """Starts a process; returns the socket to talk to it.

        Args:
            task: Name of what it does.
            arguments: JSON values for it.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        order = json.dumps({"task": task, "arguments": arguments}).encode()
        with theirs:
            socket.send_fds(self._control, [order], [theirs.fileno()])
        return ours

    def close(self) -> None:
        """Ends the process; those that it has forked go on until they are done."""
        self._control.close()


def _wait_for_orders(control: socket.socket, tasks: Mapping[str, Task]) -> NoReturn:
    # Ctrl-C and a service manager's stop reach all processes of the group. The server
    # decides what that means: requests in flight still need their model.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Ended processes need no waiting for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        order, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 1)
        if not order:
            os._exit(0)
        (descriptor,) = descriptors
        if not os.fork():
            control.close()
            _do(json.loads(order), socket.socket(fileno=descriptor), tasks)
        os.close(descriptor)


def _do(
    order: dict[str, Any], connection: socket.socket, tasks: Mapping[str, Task]
) -> NoReturn:
    """Runs a forked process's function, then exits."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        tasks[order["task"]](order["arguments"], connection)
        code = 0
    except BaseException:  # noqa: BLE001 - see below
        # Not raised: the frames above are the server's own.
        _LOG.exception("the process for %s failed", order["task"])
    finally:
        # Without the exit handlers of the process that this is a fork of.
        os._exit(code)
