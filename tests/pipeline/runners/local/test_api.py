"""The Python API."""

from dataclasses import replace

import pytest

import pipeline
from pipeline import artifacts
from pipeline.config import Config
from pipeline.errors import ThroughlineError
from pipeline.runners.local import api, runner


def test_the_package_has_the_api() -> None:
    """`from pipeline import Config, create_pipeline, local, run` is enough."""
    assert pipeline.Config is Config
    assert pipeline.run is api.run
    assert pipeline.local() == pipeline.local()
    assert callable(pipeline.create_pipeline)


def test_a_run_without_a_model_is_an_error(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script must not go on with the model of another run."""
    monkeypatch.setattr(runner, "run", lambda *_: 2)

    with pytest.raises(ThroughlineError, match="the run ended with 2 and without"):
        api.run(config)


@pytest.mark.parametrize("code", [0, 4])
def test_the_newest_run_is_returned(
    config: Config, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Also one whose model was not blessed, as the notebooks open it."""
    asked: list[Config] = []

    def run(config: Config, *_: object) -> int:
        asked.append(config)
        return code

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(artifacts, "newest", lambda **places: places)

    found: object = api.run(replace(config, seed=7))

    assert found == {"output": config.output, "metadata": None}
    assert [each.seed for each in asked] == [7]
