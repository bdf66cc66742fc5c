"""Events are told, and failures to tell them are not fatal."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operations.notices import Notices

EVENT = {"event": "run", "text": "taxi: a run is done"}


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Any]]]:
    """A server; returns its URL, and what is posted to it."""
    posted: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            posted.append(json.loads(self.rfile.read(length)))
            self.send_response(200 if self.path == "/ok" else 500)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", posted
        server.shutdown()


def test_both_ways_get_the_event(tmp_path: Path, hook: tuple[str, list[Any]]) -> None:
    """The command on standard input, the webhook as its body."""
    file = tmp_path / "event.json"

    problem = Notices(f"tee '{file}'", f"{hook[0]}/ok").tell(EVENT)

    assert problem == ""
    assert json.loads(file.read_text()) == EVENT
    assert hook[1] == [EVENT]


def test_failures_are_reported(hook: tuple[str, list[Any]]) -> None:
    """Each way by itself."""
    failing = Notices("sh -c 'echo no mail >&2; exit 7'", f"{hook[0]}/broken")

    text = failing.tell(EVENT)

    assert "notify-command ended with 7: no mail" in text
    assert "notify-webhook to 127.0.0.1 failed: it answered 500" in text
    assert "the next tick sends the event again" in text
    assert "notify-command failed" in Notices("/nowhere/tell").tell(EVENT)
    assert Notices().tell(EVENT) == ""


def test_a_webhook_that_is_gone_is_named_without_its_secret() -> None:
    """The path of its URL is one, and stays out of logs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    text = Notices("", f"http://127.0.0.1:{port}/services/T0/s3cret").tell(EVENT)

    assert "notify-webhook to 127.0.0.1 failed: connection refused" in text
    assert "s3cret" not in text
