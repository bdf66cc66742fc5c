"""Transform on columns: TFT's analysis on Beam, its graph on batches by our engine.

What it is asked for besides (statistics, TensorFlow 1) goes to the stock executor,
which reads and writes the same files but for the analyzer cache, and the log says so.
"""

import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.transform import executor as stock
from tfx.components.transform import executor_utils, labels
from tfx.components.util import examples_utils
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import inputs_utils
from tfx.proto import example_gen_pb2
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import Artifact, artifact_utils
from tfx.types import standard_component_specs as specs
from tfx.utils import io_utils

from models.names import RULE_FILE
from pipeline.beam.executors import clear, is_in_process, runner_of
from pipeline.caching.fingerprint import digest
from pipeline.caching.key import code_behind
from pipeline.columnar import files, progress, shards, transformation
from pipeline.columnar.analysis_cache import Cache, Span
from pipeline.columnar.shards import Shard
from pipeline.columnar.transformation import Analysis, BuiltAnalysis
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

    # A literal: with `pipeline.config` behind this executor, a new default of any
    # setting would be another key in the cache.
    PREPARE_AFTER = "ExampleGen"

    @staticmethod
    def prepare(
        pipeline: pipeline_pb2.Pipeline,
        node_id: str,
        _written: Callable[[str, str], str],
    ) -> None:
        """Builds the analysis, which needs the schema only, while rows are checked."""
        nodes = {n.pipeline_node.node_info.id: n.pipeline_node for n in pipeline.nodes}
        node = nodes[node_id]
        given = inputs_utils.resolve_parameters(node.parameters)
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        spec = runner_utils.extract_executor_spec(deployment, node_id)
        arguments = [e.value.string_value for e in spec.beam_pipeline_args_placeholders]
        executor = Executor(Executor.Context(arguments))
        if (
            # Other engines and the cache have the shards' names in their pipelines.
            is_in_process(executor)
            and specs.UPDATED_ANALYZER_CACHE_KEY not in node.outputs.outputs
            and not _beyond_parameters(given)
        ):
            (schema,) = node.inputs.inputs[specs.SCHEMA_KEY].channels
            producer = nodes[schema.producer_node_query.id].parameters
            file = inputs_utils.resolve_parameters(producer)[specs.SCHEMA_FILE_KEY]
            reviewed = io_utils.SchemaReader().read(file)
            graph = tempfile.mkdtemp(prefix="throughline-")
            analysis = executor._analysis(reviewed, given, graph)
            _early[_key(reviewed, given)] = BuiltAnalysis(analysis)

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the transform graph, and the transformed examples of each split.

        Args:
            input_dict: `examples`, one or one for each span; `schema` and `verdict`;
                and `analyzer_cache`, of an earlier analysis.
            output_dict: `transform_graph`; `transformed_examples` unless they are not
                materialized; and `updated_analyzer_cache` if the analysis is cached.
            exec_properties: What the stock executor takes.

        Raises:
            ThroughlineError: A shard is damaged; names it.
        """
        reason = _beyond(input_dict, exec_properties)
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
        with written_by_tensorflow(self, graph) as written:
            schema = _schema(input_dict)
            analysis = self._analysis(schema, exec_properties, written)
            if output_dict.get(specs.UPDATED_ANALYZER_CACHE_KEY):
                spans = spans_of(input_dict, splits.analyze, exec_properties)
                _analyze_spans(spans, analysis, _cache(input_dict, output_dict))
            else:
                analyzed = _shards(input_dict[specs.EXAMPLES_KEY], splits.analyze)
                early = _early.pop(_key(schema, exec_properties), None)
                with _analyzing(analyzed):
                    _analyze(analyzed, analysis, early)
        _keep_split_rule(input_dict, graph)
        transformed = output_dict.get(specs.TRANSFORMED_EXAMPLES_KEY)
        if not transformed:
            return
        executor_utils.SetSplitNames(splits.transform, transformed)
        (artifact,) = transformed
        runner = runner_of(self, artifact.uri)
        examples = input_dict[specs.EXAMPLES_KEY]
        found = {split: _shards(examples, [split]) for split in splits.transform}
        total = sum(map(shards.count_rows, found.values()))
        with progress.running(progress.Task(total)):
            for split, raw in found.items():
                directory = artifact_utils.get_split_uri([artifact], split)
                rows = transformation.apply(graph, raw, directory, runner)
                _LOG.info("%s: %s rows transformed", split, f"{rows:,}")
        clear(artifact.uri)
        _mark(artifact)

    def _analysis(
        self, schema: schema_pb2.Schema, given: Mapping[str, Any], graph: str
    ) -> Analysis:
        preprocess = self._GetPreprocessingFn(_functions(given), {})
        return Analysis(schema, preprocess, graph, self._make_beam_pipeline)


_early: dict[tuple[bytes, str], BuiltAnalysis] = {}
"""What this process has built before there were rows."""


def _key(schema: schema_pb2.Schema, given: Mapping[str, Any]) -> tuple[bytes, str]:
    """Returns what an analysis depends on, besides the rows."""
    functions = json.dumps(_functions(given), sort_keys=True)
    return schema.SerializeToString(deterministic=True), functions


def _analyze(
    found: Sequence[Shard], analysis: Analysis, early: BuiltAnalysis | None
) -> None:
    """Analyzes shards, by a pipeline that was built before if there is one."""
    if not early:
        transformation.analyze(found, analysis)
        return
    _LOG.info("The analysis was built before there were rows")
    early.run(shards.split_up(found))
    for each in Path(early.analysis.graph).iterdir():
        shutil.move(each, analysis.graph)
    Path(early.analysis.graph).rmdir()


def _analyze_spans(spans: Sequence[Span], analysis: Analysis, cache: Cache) -> None:
    """Analyzes the spans that aren't cached, and logs how many these are."""
    cached = transformation.find_cached(spans, analysis, cache)
    new = [span for span in spans if span.key not in cached]
    _LOG.info("The analysis reads %d of %d spans", len(new), len(spans))
    with _analyzing([shard for span in new for shard in span.shards]):
        transformation.analyze_spans(new, cached, analysis, cache)


def _analyzing(found: Sequence[Shard]) -> AbstractContextManager[progress.Task]:
    """Reports the analysis of shards as progress."""
    task = progress.Task(shards.count_rows(found), phase="analysis")
    return progress.running(task)


def _beyond(
    input_dict: Mapping[str, list[Artifact]], exec_properties: Mapping[str, Any]
) -> str | None:
    """Names what we leave to the stock executor; None if nothing is asked for."""
    if reason := _beyond_parameters(exec_properties):
        return reason
    kinds = map(examples_utils.get_payload_format, input_dict[specs.EXAMPLES_KEY])
    other = [kind for kind in kinds if kind != example_gen_pb2.FORMAT_PARQUET]
    if other:
        return f"examples in {example_gen_pb2.PayloadFormat.Name(other[0])}"
    return None


def _beyond_parameters(exec_properties: Mapping[str, Any]) -> str | None:
    for key, what in _BEYOND.items():
        if exec_properties.get(key):
            return what
    if not exec_properties.get(specs.DISABLE_STATISTICS_KEY):
        return "statistics before and after"
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


def _shards(examples: Sequence[Artifact], splits: Sequence[str]) -> list[Shard]:
    return [
        shard
        for split in splits
        for each in by_span(examples)
        for shard in shards.shards_of(artifact_utils.get_split_uri([each], split))
    ]


def _cache(
    input_dict: Mapping[str, list[Artifact]], output_dict: Mapping[str, list[Artifact]]
) -> Cache:
    earlier = input_dict.get(specs.ANALYZER_CACHE_KEY) or []
    (written,) = output_dict[specs.UPDATED_ANALYZER_CACHE_KEY]
    return Cache(earlier[0].uri if earlier else None, written.uri)


def spans_of(
    input_dict: Mapping[str, list[Artifact]],
    splits: Sequence[str],
    exec_properties: Mapping[str, Any],
) -> list[Span]:
    """Returns the rows to analyze by span, each with its key in the cache.

    Args:
        input_dict: `examples` and `schema`.
        splits: The splits that are analyzed.
        exec_properties: What the stock executor takes.
    """
    function = exec_properties.get(specs.PREPROCESSING_FN_KEY)
    executor = f"{Executor.__module__}.{Executor.__qualname__}"
    # TFT's own keys of cached values know the analyzed graph, but neither how rows
    # become tensors nor its own version.
    behind = {
        **code_behind(filter(None, [executor, function])),
        "tensorflow-transform": tft.__version__,
        "schema": str(_schema(input_dict)),
        "function": function,
        "module": _text_of(exec_properties.get(specs.MODULE_FILE_KEY)),
        "custom_config": exec_properties.get(specs.CUSTOM_CONFIG_KEY),
    }
    found: list[Span] = []
    times: Counter[str] = Counter()
    for each in by_span(input_dict[specs.EXAMPLES_KEY]):
        rows = _shards([each], splits)
        contents = digest("".join(files.sha256(shard.file) for shard in rows))
        # Two spans with the same rows count twice, so they need two keys.
        times[contents] += 1
        text = json.dumps([behind, contents, times[contents]], sort_keys=True)
        found.append(Span(digest(text), tuple(rows)))
    return found


def _text_of(file: str | None) -> str | None:
    return files.read_text(file) if file else None


def _mark(artifact: Artifact) -> None:
    """Notes what kind of files they are, as an ExampleGen does."""
    examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_PARQUET)
    name = example_gen_pb2.FileFormat.Name(example_gen_pb2.FILE_FORMAT_PARQUET)
    examples_utils.set_file_format(artifact, name)
