"""The small model, loaded once."""

import pytest

from pipeline.prediction.raw_model import RawModel
from tests.pipeline.prediction.small_model import save


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> RawModel:
    """A model of `fare`, `hour` and `payment`."""
    return RawModel(save(tmp_path_factory.mktemp("models") / "small"))
