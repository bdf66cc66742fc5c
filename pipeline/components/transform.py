"""Transform on columns: TFT's analysis on Beam, its graph on batches by our engine.

What it is asked for besides (statistics, an analyzer cache, TensorFlow 1) goes to the
stock executor, which reads and writes the same files, and the log says so.
"""

import logging
from collections.abc import Mapping
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.transform import executor as stock
from tfx.components.transform import executor_utils, labels
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import Artifact, artifact_utils
from tfx.types import standard_component_specs as specs
from tfx.utils import io_utils

from models.names import RULE_FILE
from pipeline.beam.executors import clear, runner_of
from pipeline.columnar import files, progress, shards, transformation
from pipeline.columnar.shards import Shard
from pipeline.components.local_files import stock_files, written_by_tensorflow
from pipeline.components.span_order import by_span
from pipeline.store import properties

_LOG = logging.getLogger(__name__)

# What else a Transform can be asked for, and what it is called here.
_BEYOND = {
    specs.FORCE_TF_COMPAT_V1_KEY: "TensorFlow 1's mode",
    specs.MODULE_PATH_KEY: "a user module in a package",
    specs.SAVE_OPTIONS_KEY: "save options",
}


class Executor(stock.Executor):
    """The executor of the standard Transform, on columns."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the transform graph, and the transformed examples of each split.

        Args:
            input_dict: `examples`, one or one for each span; `schema` and `verdict`.
            output_dict: `transform_graph`, and `transformed_examples` unless they are
                not materialized.
            exec_properties: What the stock executor takes.

        Raises:
            ThroughlineError: A shard is damaged; names it.
        """
        reason = _beyond(input_dict, output_dict, exec_properties)
        if reason:
            _LOG.warning("The stock executor takes over, on Beam, for %s", reason)
            with stock_files(self, input_dict, output_dict):
                super().Do(input_dict, output_dict, exec_properties)
            return
        self._log_startup(input_dict, output_dict, exec_properties)
        splits = executor_utils.ResolveSplitsConfig(
            exec_properties.get(specs.SPLITS_CONFIG_KEY),
            input_dict[specs.EXAMPLES_KEY],
        )
        graph = artifact_utils.get_single_uri(output_dict[specs.TRANSFORM_GRAPH_KEY])
        analyzed = [s for split in splits.analyze for s in _shards(input_dict, split)]
        total = shards.count_rows(analyzed)
        with (
            progress.running(progress.Task(total, phase="analysis")),
            written_by_tensorflow(self, graph) as written,
        ):
            transformation.analyze(
                analyzed,
                _schema(input_dict),
                self._GetPreprocessingFn(_functions(exec_properties), {}),
                written,
                self._make_beam_pipeline,
            )
        _keep_split_rule(input_dict, graph)
        transformed = output_dict.get(specs.TRANSFORMED_EXAMPLES_KEY)
        if not transformed:
            return
        executor_utils.SetSplitNames(splits.transform, transformed)
        (artifact,) = transformed
        runner = runner_of(self, artifact.uri)
        found = {split: _shards(input_dict, split) for split in splits.transform}
        total = sum(map(shards.count_rows, found.values()))
        with progress.running(progress.Task(total)):
            for split, raw in found.items():
                directory = artifact_utils.get_split_uri([artifact], split)
                rows = transformation.apply(graph, raw, directory, runner)
                _LOG.info("%s: %s rows transformed", split, f"{rows:,}")
        clear(artifact.uri)
        _mark(artifact)


def _beyond(
    input_dict: Mapping[str, list[Artifact]],
    output_dict: Mapping[str, list[Artifact]],
    exec_properties: Mapping[str, Any],
) -> str | None:
    """Names what we leave to the stock executor; None if nothing is asked for."""
    for key, what in _BEYOND.items():
        if exec_properties.get(key):
            return what
    if not exec_properties.get(specs.DISABLE_STATISTICS_KEY):
        return "statistics before and after"
    if input_dict.get(specs.ANALYZER_CACHE_KEY) or output_dict.get(
        specs.UPDATED_ANALYZER_CACHE_KEY
    ):
        return "an analyzer cache"
    kinds = map(examples_utils.get_payload_format, input_dict[specs.EXAMPLES_KEY])
    other = [kind for kind in kinds if kind != example_gen_pb2.FORMAT_PARQUET]
    if other:
        return f"examples in {example_gen_pb2.PayloadFormat.Name(other[0])}"
    return None


def _functions(exec_properties: Mapping[str, Any]) -> dict[str, Any]:
    """Names the preprocessing function as the stock executor expects it."""
    return {
        labels.PREPROCESSING_FN: exec_properties.get(specs.PREPROCESSING_FN_KEY),
        labels.MODULE_FILE: exec_properties.get(specs.MODULE_FILE_KEY),
        labels.CUSTOM_CONFIG: exec_properties.get(specs.CUSTOM_CONFIG_KEY),
    }


def _keep_split_rule(input_dict: Mapping[str, list[Artifact]], directory: str) -> None:
    """Writes beside the graph how its rows were split, if ingestion noted it.

    The Trainer takes it into the model: whoever compares two models later must know
    which rows each of them has seen, and has no metadata store to ask.
    """
    # All spans of a window were ingested with the same settings.
    *_, examples = input_dict[specs.EXAMPLES_KEY]
    rule = examples.get_string_custom_property(properties.SPLIT_RULE)
    if rule:
        files.write_text(files.join(directory, RULE_FILE), rule)


def _schema(input_dict: Mapping[str, list[Artifact]]) -> schema_pb2.Schema:
    directory = artifact_utils.get_single_uri(input_dict[specs.SCHEMA_KEY])
    return io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(directory))


def _shards(input_dict: Mapping[str, list[Artifact]], split: str) -> list[Shard]:
    return [
        shard
        for examples in by_span(input_dict[specs.EXAMPLES_KEY])
        for shard in shards.shards_of(artifact_utils.get_split_uri([examples], split))
    ]


def _mark(artifact: Artifact) -> None:
    """Notes what kind of files they are, as an ExampleGen does."""
    examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_PARQUET)
    name = example_gen_pb2.FileFormat.Name(example_gen_pb2.FILE_FORMAT_PARQUET)
    examples_utils.set_file_format(artifact, name)
