"""TFX's own InfraValidator, with our server in the place of TensorFlow Serving."""

import shutil
from pathlib import Path

import pytest
from tfx.components.infra_validator.executor import Executor
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Channel
from tfx.types.standard_artifacts import InfraBlessing, Model

from pipeline.components.serving_check import in_docker
from pipeline.config import SERVING_NODE, environment
from pipeline.quality.serving_check import Limits
from pipeline.store.graph import Graph
from tests.containers.daemon import docker
from tests.e2e.orchestrated import SMOKE
from tests.e2e.runs import Finished, run_local

# A busy machine takes a minute to import TensorFlow.
_PATIENT = ("--serving-check.max-load-seconds", "600")


@pytest.fixture(scope="module")
def validated(on_host: Finished, validator: str) -> Finished:
    """A second run of what has run, with another check of the same model."""
    flags = ("--serving-check.image", validator, *_PATIENT)
    return run_local(on_host.output, *SMOKE, *flags)


def test_a_good_model_is_blessed(validated: Finished) -> None:
    """With the setting, the run's own node loads the model in a container."""
    assert validated.exit_code == 0, validated.text
    executions = {e.node: e for e in Graph(validated.store).run(validated.run.name)}

    assert executions[SERVING_NODE].state == "COMPLETE"
    assert executions["Trainer"].state == "CACHED"
    blessing = validated.output_of(SERVING_NODE, "blessing")
    assert [path.name for path in blessing.iterdir()] == ["INFRA_BLESSED"]


def test_a_broken_model_is_not(
    on_host: Finished, validator: str, tmp_path: Path
) -> None:
    """A model without its weights isn't blessed, and no container is left."""
    model = Model()
    model.uri = str(tmp_path / "model")
    shutil.copytree(on_host.output_of("Trainer", "model"), model.uri)
    (weights,) = Path(model.uri).rglob("variables.data-00000-of-00001")
    weights.unlink()
    blessing = InfraBlessing()
    blessing.uri = str(tmp_path / "blessing")
    # Of a model that can't be loaded the server ends, and TFX waits that long.
    limits = Limits(max_load_seconds=15, max_latency_ms=1, max_memory_mb=1)
    address = environment()["DOCKER_HOST"]
    component = in_docker(Channel(type=Model), validator, limits, address)
    context = BaseExecutor.Context(tmp_dir=str(tmp_path / "tmp"), unique_id="1")

    Executor(context).Do(
        {"model": [model]}, {"blessing": [blessing]}, component.spec.exec_properties
    )

    assert [path.name for path in Path(blessing.uri).iterdir()] == ["INFRA_NOT_BLESSED"]
    assert docker("ps", "--all", "--quiet", f"--filter=ancestor={validator}") == ""
