"""Whatever a client sends, the server answers something that it may, and lives on."""

from pathlib import Path

import pytest

from benchmarks import malformed
from tests.serving.conftest import MODEL, ROW, Server, score

pytestmark = pytest.mark.e2e


def memory(process: int) -> float:
    """Returns the memory of a process, in megabytes."""
    text = Path(f"/proc/{process}/status").read_text()
    lines = dict(line.split(":", 1) for line in text.splitlines())
    return int(lines["RssAnon"].split()[0]) / 1e3


def test_malformed_requests_do_no_harm(server: Server) -> None:
    """REST and gRPC: no status but the client's fault or 503, no traceback, no growth.

    `python -m benchmarks serving --malformed 10000` sends more of them.
    """
    target = malformed.Target(server.ports["rest"], server.ports["grpc"], MODEL, ROW)
    malformed.send(target, 40)
    before = memory(server.process.pid)

    found = malformed.send(target, 300)

    assert found["unexpected"] == []
    assert {"400", "404", "INVALID_ARGUMENT", "NOT_FOUND"} <= found["answers"].keys()
    assert memory(server.process.pid) < before + 20
    assert server.predict(ROW).json() == {"predictions": [score(ROW)]}
    assert "Traceback" not in server.printed.read_text()
