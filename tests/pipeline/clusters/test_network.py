"""A network with loopback only."""

import os
import subprocess
import sys

import pytest

_IN_A_NETWORK = """
import socket
from pipeline.clusters import network

print(network.isolate())
print(*(name for _, name in socket.if_nameindex()))
with socket.socket() as server, socket.socket() as client:
    server.bind(("127.0.0.1", 0))
    server.listen()
    client.connect(server.getsockname())
    print("connected")
"""


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root on Linux can do it"
)
def test_there_is_loopback_and_nothing_else() -> None:
    """Processes reach each other, and nobody else reaches them."""
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_NETWORK],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split("\n")[:3] == ["True", "lo", "connected"]
