"""What tests of lineage, artifacts and the report share: an empty stock store."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

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
