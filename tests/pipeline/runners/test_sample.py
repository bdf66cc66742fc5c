"""Where the data is, if none is given."""

import sys
from dataclasses import replace

import pytest

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.runners import sample


def test_the_sample_is_written_only_without_data(config: Config) -> None:
    """Data of one's own is left alone."""
    sample.provide(replace(config, data=config.output / "mine"))
    assert not config.data_directory.exists()

    sample.provide(config)

    assert list(config.data_directory.iterdir())


def test_a_project_without_a_sample_says_so(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, with what to do."""
    monkeypatch.setitem(sys.modules, "data", None)

    with pytest.raises(UsageError, match="this project has no sample; give --data"):
        sample.provide(config)
