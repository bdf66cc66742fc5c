"""What tests of lineage, artifacts and the report share: an empty stock store."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import Config, local
from tests.pipeline.tfx_store import StockStore


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration whose store is in a directory of the test's own."""
    return replace(local(), output=tmp_path)


@pytest.fixture
def store(config: Config, tmp_path: Path) -> StockStore:
    """An empty store where the configuration expects it."""
    return StockStore(config.metadata_url, tmp_path / "artifacts")
