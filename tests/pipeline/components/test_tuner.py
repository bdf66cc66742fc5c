"""The Tuner's directory of finished trials; whole searches run end to end."""

import json
from typing import Any

import pytest
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types.standard_artifacts import Examples, TransformGraph, TunerResults

from pipeline.caching.key import FLAG
from pipeline.components.tuner import Executor

USUAL: dict[str, Any] = {
    "examples": "/root/Transform/transformed_examples/4",
    "graph": "/root/Transform/transform_graph/4",
    "output": "/root/Tuner/tuner_results/7",
    "code": "a",
    "steps": 100,
    "trials": 20,
    "learning_rate": 0.002,
    "seed": 1,
}


def directory(**changes: Any) -> str:
    """Where trials of a search are kept."""
    given = {**USUAL, **changes}
    artifacts = [Examples(), TransformGraph(), TunerResults()]
    names = ("examples", "graph", "output")
    for artifact, name in zip(artifacts, names, strict=True):
        artifact.uri = given[name]
    examples, graph, output = artifacts
    context = BaseExecutor.Context(
        extra_flags=["--other", FLAG + json.dumps({"models.model": given["code"]})]
    )
    config = {
        "hyperparameters": {"learning_rate": given["learning_rate"]},
        "trials": given["trials"],
        "seed": given["seed"],
    }
    return Executor(context)._trials(
        {"examples": [examples], "transform_graph": [graph]},
        {"tuner_results": [output]},
        {
            "train_args": json.dumps({"num_steps": given["steps"]}),
            "custom_config": json.dumps(config),
        },
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"output": "/root/Tuner/tuner_results/8"},
        {"trials": 40},
        {"learning_rate": 0.004},
    ],
)
def test_a_later_search_finds_the_finished_trials(changes: dict[str, Any]) -> None:
    """Of a new run, with more trials, or after the best values were accepted."""
    assert directory(**changes) == directory()
    assert directory().startswith("/root/Tuner/.system/trials/")


@pytest.mark.parametrize(
    "changes",
    [
        {"examples": "/root/Transform/transformed_examples/5"},
        {"graph": "/root/Transform/transform_graph/5"},
        {"code": "b"},
        {"steps": 200},
        {"seed": 2},
    ],
)
def test_what_decides_a_trials_result_has_a_directory_of_its_own(
    changes: dict[str, Any],
) -> None:
    """Other data, code, steps or seed: the finished trials say nothing of these."""
    assert directory(**changes) != directory()
