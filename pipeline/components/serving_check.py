"""TFX's InfraValidator, which needs neither Docker nor a cluster.

The component type, inputs, parameters and output are TFX's; only the executor is ours,
unless the settings ask for TFX's own, which starts a model server in Docker.
"""

import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from tfx.components.infra_validator.component import InfraValidator
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.proto import infra_validator_pb2
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import Artifact, Channel, artifact_utils
from tfx.types import standard_component_specs as specs
from tfx.types.channel import BaseChannel
from tfx.types.component_spec import ExecutionParameter
from tfx.types.standard_artifacts import InfraBlessing
from tfx.utils import path_utils, proto_utils

from pipeline.columnar import files, shards
from pipeline.errors import ThroughlineError
from pipeline.quality import prober, serving_check
from pipeline.store import properties
from pipeline.store.artifact_files import SERVING_CHECK_FILE

LIMITS = "limits"
"""The parameter that TFX's component doesn't have: `serving_check.Limits` as JSON."""

_SPLIT = "eval"
_BLESSED, _NOT_BLESSED = "INFRA_BLESSED", "INFRA_NOT_BLESSED"
_LOG = logging.getLogger(__name__)


class ServingCheckSpec(specs.InfraValidatorSpec):
    """What TFX's InfraValidator reads and writes, and our limits."""

    PARAMETERS = {  # noqa: RUF012 - TFX reads class attributes
        **specs.InfraValidatorSpec.PARAMETERS,
        LIMITS: ExecutionParameter(type=str),
    }


class Executor(BaseExecutor):
    """Loads the model in a fresh process and asks it; writes an InfraBlessing."""

    # Not earlier: its process holds 200 MB.
    PREPARE_AFTER = "Trainer"

    @staticmethod
    def prepare(
        _pipeline: pipeline_pb2.Pipeline,
        _node_id: str,
        _written: Callable[[str, str], str],
    ) -> None:
        """Has a process import what it needs before there is a model."""
        prober.start_early()

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes whether the model can be served, and what was measured.

        Raises:
            ThroughlineError: The split to take rows from has none.
        """
        limits = serving_check.Limits(**json.loads(exec_properties[LIMITS]))
        request_spec = infra_validator_pb2.RequestSpec()
        proto_utils.json_to_proto(exec_properties[specs.REQUEST_SPEC_KEY], request_spec)
        requests = serving_check.requests_of(
            _first_rows(
                input_dict[specs.EXAMPLES_KEY],
                request_spec.split_name,
                request_spec.num_examples,
            )
        )
        model = artifact_utils.get_single_instance(input_dict[specs.MODEL_KEY])
        place = path_utils.serving_model_path(
            model.uri, path_utils.is_old_model_artifact(model)
        )
        with files.local_copy(place) as copy:
            result = serving_check.check(Path(copy), requests, limits)
        for failure in result.failures:
            _LOG.warning("%s", failure)
        blessing = artifact_utils.get_single_instance(output_dict[specs.BLESSING_KEY])
        _bless(blessing, result)


class ServingCheck(BaseComponent):
    """The component with our executor; its type in the metadata store is TFX's.

    It is no subclass of TFX's, which TFX's compiler for Vertex AI rejects.
    """

    SPEC_CLASS = ServingCheckSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: BaseChannel,
        examples: BaseChannel,
        rows: int,
        limits: serving_check.Limits,
    ) -> None:
        """Creates the component.

        Args:
            model: The Trainer's.
            examples: Raw rows; those of the split `eval` are sent to the model.
            rows: How many rows to send to each signature.
            limits: Bounds of time and memory.
        """
        spec = ServingCheckSpec(
            model=model,
            examples=examples,
            # Which server loads it is no question here, but TFX wants an answer.
            serving_spec=infra_validator_pb2.ServingSpec(
                tensorflow_serving=infra_validator_pb2.TensorFlowServing()
            ),
            request_spec=infra_validator_pb2.RequestSpec(
                tensorflow_serving=infra_validator_pb2.TensorFlowServingRequestSpec(),
                split_name=_SPLIT,
                num_examples=rows,
            ),
            validation_spec=infra_validator_pb2.ValidationSpec(
                max_loading_time_seconds=math.ceil(limits.max_load_seconds)
            ),
            limits=limits.to_json(),
            blessing=Channel(type=InfraBlessing),
        )
        super().__init__(spec=spec)

    @classmethod
    def get_class_type(cls) -> str:
        """Returns the component type that executions have in the metadata store."""
        return str(InfraValidator.get_class_type())


def in_docker(
    model: BaseChannel, image: str, limits: serving_check.Limits, docker: str
) -> InfraValidator:
    """Creates TFX's own component: a model server loads the model in Docker.

    Args:
        model: The Trainer's.
        image: Image of a server with TensorFlow Serving's protocol, as NAME:TAG.
        limits: Only the time to load counts.
        docker: Address of Docker's daemon; "" for its default socket, since TFX's
            client doesn't read DOCKER_HOST.
    """
    name, _, tag = image.rpartition(":")
    # Without requests: TFX makes them of tf.Examples, and ours are columns.
    return InfraValidator(
        model=model,
        serving_spec=infra_validator_pb2.ServingSpec(
            tensorflow_serving=infra_validator_pb2.TensorFlowServing(
                image_name=name, tags=[tag]
            ),
            local_docker=infra_validator_pb2.LocalDockerConfig(client_base_url=docker),
        ),
        # A server that can't load a model waits for another one, or ends: TFX takes
        # both for a slow start, and by default it tries five times as long.
        validation_spec=infra_validator_pb2.ValidationSpec(
            max_loading_time_seconds=math.ceil(limits.max_load_seconds), num_tries=2
        ),
    )


def _first_rows(examples: Sequence[Artifact], split: str, count: int) -> pa.RecordBatch:
    """Returns the first rows of a split of each artifact, `count` in each."""
    found = []
    for artifact in examples:
        uri = artifact_utils.get_split_uri([artifact], split)
        for shard in shards.shards_of(uri):
            if shard.rows:
                # Those that the Trainer kept predictions of are among the first ones.
                found.append(next(shards.read_batches(shard, rows=count)))
                break
    if not found:
        raise ThroughlineError(f"the split {split} has no rows to send to the model")
    # Spans may differ in columns that the schema doesn't require.
    tables = [pa.Table.from_batches([batch]) for batch in found]
    together = pa.concat_tables(tables, promote_options="default").combine_chunks()
    return together.to_batches()[0]


def _bless(blessing: Artifact, result: serving_check.Result) -> None:
    """Writes the verdict as TFX's InfraValidator does, and the findings beside it."""
    blessed = not result.failures
    files.write_text(
        files.join(blessing.uri, _BLESSED if blessed else _NOT_BLESSED), ""
    )
    files.write_text(files.join(blessing.uri, SERVING_CHECK_FILE), result.to_json())
    blessing.set_int_custom_property(properties.BLESSED, int(blessed))
