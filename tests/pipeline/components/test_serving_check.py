"""ServingCheck's executor: TFX's InfraBlessing, and what was found beside it."""

import json
from pathlib import Path

import pytest
from tfx.proto import infra_validator_pb2
from tfx.types import Channel, standard_artifacts
from tfx.types import standard_component_specs as specs
from tfx.utils import proto_utils

from pipeline.columnar.shards import ShardWriter
from pipeline.components import serving_check
from pipeline.errors import ThroughlineError
from pipeline.quality.serving_check import Limits
from pipeline.store.artifact_files import read_serving_check
from tests.pipeline.quality.served_models import save
from tests.pipeline.quality.test_serving_probe import ROWS

LIMITS = Limits(max_load_seconds=60, max_latency_ms=1000, max_memory_mb=8000)


def artifacts(root: Path, rows: int) -> dict[str, list[object]]:
    """A model, and examples with some rows in the split eval."""
    model, examples = standard_artifacts.Model(), standard_artifacts.Examples()
    model.uri, examples.uri = str(root / "model"), str(root / "examples")
    examples.split_names = '["eval"]'
    save(root / "model" / "Format-Serving")
    shard = root / "examples" / "Split-eval" / "data-00000-of-00001.parquet"
    with ShardWriter(shard, ROWS.schema) as writer:
        writer.write(ROWS.slice(0, rows))
    return {"model": [model], "examples": [examples]}


def run(root: Path, limits: Limits, rows: int = 3) -> standard_artifacts.InfraBlessing:
    """Runs the executor with the component's own parameters."""
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(root / "blessing")
    Path(blessing.uri).mkdir()
    component = serving_check.ServingCheck(
        Channel(type=standard_artifacts.Model),
        Channel(type=standard_artifacts.Examples),
        2,
        limits,
    )
    given = dict(component.spec.exec_properties)
    request = infra_validator_pb2.RequestSpec(split_name="eval", num_examples=2)
    given[specs.REQUEST_SPEC_KEY] = proto_utils.proto_to_json(request)

    serving_check.Executor().Do(artifacts(root, rows), {"blessing": [blessing]}, given)

    return blessing


def test_a_model_that_can_be_served_is_blessed(tmp_path: Path) -> None:
    """The blessing is TFX's, and the figures are beside it."""
    blessing = run(tmp_path, LIMITS)

    assert blessing.get_int_custom_property("blessed") == 1
    assert (Path(blessing.uri) / "INFRA_BLESSED").is_file()
    found = read_serving_check(blessing.uri)
    assert found["failures"] == []
    assert found["figures"]["rows"] == found["figures"]["rows_as_trained"] == 2
    # A fresh process without Keras: with the whole API it would be 730 MB.
    assert found["figures"]["memory_mb"] < 650


def test_a_model_that_is_too_slow_is_not_blessed(tmp_path: Path) -> None:
    """The reason is in the file, for the run's summary."""
    blessing = run(tmp_path, Limits(60, 1e-9, 8000))

    assert blessing.get_int_custom_property("blessed") == 0
    assert (Path(blessing.uri) / "INFRA_NOT_BLESSED").is_file()
    (failure,) = read_serving_check(blessing.uri)["failures"]
    assert "serving-check.max-latency-ms allows 1e-09" in failure


def test_without_rows_nothing_is_blessed(tmp_path: Path) -> None:
    """A check that sent nothing would be no check."""
    with pytest.raises(ThroughlineError, match="the split eval has no rows to send"):
        run(tmp_path, LIMITS, rows=0)


def test_docker_is_a_setting_of_tfx_s_own_component() -> None:
    """With an image, TFX's executor loads the model in a container of it."""
    model = Channel(type=standard_artifacts.Model)

    component = serving_check.in_docker(model, "r:5000/server:1", LIMITS, "unix:///s")

    given = json.loads(component.spec.exec_properties[specs.SERVING_SPEC_KEY])
    assert given["tensorflow_serving"] == {"image_name": "r:5000/server", "tags": ["1"]}
    assert given["local_docker"] == {"client_base_url": "unix:///s"}
    assert component.executor_spec.class_path.startswith("tfx.components.infra")
