"""What tests share: an empty stock store, and files in a data directory."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.columnar import engine, progress
from pipeline.columnar.progress import Progress
from pipeline.config import Config, local
from tests.pipeline.tfx_store import StockStore

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of the test's own is made there


@pytest.fixture
def config() -> Iterator[Config]:
    """A configuration whose store is in a directory of the test's own.

    In memory where that can be: each write to a store waits for the disk.
    """
    place = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="throughline-", dir=place) as directory:
        yield replace(local(), output=Path(directory))


@pytest.fixture
def store(config: Config) -> StockStore:
    """An empty store where the configuration expects it."""
    return StockStore(config.metadata_url, config.output / "artifacts")


@pytest.fixture
def reports() -> Iterator[list[Progress | str]]:
    """What this process reports of its progress during the test."""
    found: list[Progress | str] = []
    progress.listen(found.append)
    yield found
    progress.listen(None)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """Threads that complete batches during the test; the limit is removed after it."""
    found: set[int] = set()
    monkeypatch.setattr(progress, "advance", lambda _: found.add(threading.get_ident()))
    yield found
    engine.limit_workers(0)


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Makes files below a data directory, each holding its own name; returns it."""

    def make(*names: str) -> Path:
        for name in names:
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return tmp_path / "data"

    return make
