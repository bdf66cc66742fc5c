"""A model and a serving directory."""

from pathlib import Path

import pytest

from tests.pipeline.registry.saved_models import FILES, write


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory that is shaped like a SavedModel."""
    return write(tmp_path / "model", FILES)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model's serving directory, which isn't there yet."""
    return tmp_path / "serving" / "taxi"
