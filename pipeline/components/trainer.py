"""The stock Trainer, whose artifacts may be in an object store.

`run_fn` reads the transform graph and writes the model with TensorFlow, so it gets
local directories for these. The examples stay where they are: `pipeline.columnar` reads
them from there, and they may not fit on the disk.
"""

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tfx.components.trainer import executor as stock
from tfx.orchestration.portable import inputs_utils
from tfx.proto import trainer_pb2
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import Artifact
from tfx.types import standard_component_specs as specs
from tfx.utils import json_utils, proto_utils

from pipeline.components.local_files import local_files
from pipeline.store.artifact_files import read_statistics

_STATISTICS = "StatisticsGen"
_SPLIT = "train"


class Executor(stock.GenericExecutor):
    """The stock executor, with all but the examples as local files."""

    # A literal: with `pipeline.config` behind this executor, a new default of any
    # setting would be another key in the cache.
    PREPARE_AFTER = "DataGate"

    @staticmethod
    def prepare(
        pipeline: pipeline_pb2.Pipeline,
        node_id: str,
        written: Callable[[str, str], str],
    ) -> None:
        """Has the module of `run_fn` prepare, if it can, while rows are transformed.

        Args:
            pipeline: The compiled pipeline.
            node_id: The Trainer's.
            written: Returns the URI of what a node of the run has written, by its id
                and the output's name.
        """
        nodes = {n.pipeline_node.node_info.id: n.pipeline_node for n in pipeline.nodes}
        inputs = nodes[node_id].inputs.inputs
        given = inputs_utils.resolve_parameters(nodes[node_id].parameters)
        # What a Tuner will find isn't known, nor what the weights begin with.
        unknown = {specs.HYPERPARAMETERS_KEY, specs.BASE_MODEL_KEY} & inputs.keys()
        if unknown or not given.get(specs.RUN_FN_KEY):
            return
        module = given[specs.RUN_FN_KEY].rpartition(".")[0]
        prepare = getattr(importlib.import_module(module), "prepare", None)
        if prepare:
            statistics = read_statistics(written(_STATISTICS, specs.STATISTICS_KEY))
            prepare(_settings(given), statistics[_SPLIT])

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains the model; see TFX's executor."""
        small = {k: v for k, v in input_dict.items() if k != specs.EXAMPLES_KEY}
        with local_files(small, output_dict):
            super().Do(input_dict, output_dict, exec_properties)


def _settings(given: dict[str, Any]) -> SimpleNamespace:
    """Returns what a `run_fn` gets, without files and directories."""
    train, evaluation = trainer_pb2.TrainArgs(), trainer_pb2.EvalArgs()
    proto_utils.json_to_proto(given[specs.TRAIN_ARGS_KEY], train)
    proto_utils.json_to_proto(given[specs.EVAL_ARGS_KEY], evaluation)
    return SimpleNamespace(
        train_steps=train.num_steps or None,
        eval_steps=evaluation.num_steps or None,
        custom_config=json_utils.loads(given.get(specs.CUSTOM_CONFIG_KEY, "null")),
        base_model=None,
        hyperparameters=None,
    )
