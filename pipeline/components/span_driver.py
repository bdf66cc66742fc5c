"""Driver of ExampleGen: selects the spans to ingest, and fingerprints their contents.

The stock driver reads the newest span, silently skips the others, and identifies files
by their times of modification. This one reads as many spans as requested, logs what it
skips, and sets the same properties. It accepts a `RangeConfig` with a static range of
several spans; `num_spans` of a rolling range counts the spans that exist.
"""

import json
import logging
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.components.example_gen import driver, utils
from tfx.orchestration.data_types import ComponentInfo, PipelineInfo
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto import example_gen_pb2, range_config_pb2
from tfx.proto.orchestration import driver_output_pb2, pipeline_pb2
from tfx.types import standard_component_specs as specs
from tfx.utils import proto_utils

from pipeline.ingestion import digests, spans
from pipeline.ingestion.spans import Between, Newest, Selection, Wanted
from pipeline.store import properties, upkeep
from pipeline.store.graph import Graph

_LOG = logging.getLogger(__name__)


class SpanDriver(driver.FileBasedDriver):
    """The driver of a FileBasedExampleGen whose input has one split."""

    # Between the two calls that TFX makes: a driver is created for one execution.
    _selection: Selection
    _memory: Path | None = None

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: PipelineInfo,
        component_info: ComponentInfo,
    ) -> dict[str, Any]:
        """Resolves the input patterns, and adds span, version and fingerprint.

        Args:
            exec_properties: Properties of the execution; modified in place.
            pipeline_info: Not used.
            component_info: Not used.

        Returns:
            The same mapping; `input_config` has one split per span.

        Raises:
            DataRefusedError: No file matches, or a requested span does not exist.
        """
        del pipeline_info, component_info
        base = Path(exec_properties[specs.INPUT_BASE_KEY])
        settings = example_gen_pb2.Input()
        proto_utils.json_to_proto(exec_properties[specs.INPUT_CONFIG_KEY], settings)
        # Our component declares one; rows are split by the executor, not by files.
        (split,) = settings.splits
        wanted = _wanted(exec_properties.get(specs.RANGE_CONFIG_KEY))
        self._selection = spans.select(base, split.pattern, wanted)
        for line in self._selection.lines():
            _LOG.info("ExampleGen %s", line)
        patterns = digests.splits_of(self._selection)
        newest = self._selection.taken[-1]
        exec_properties[specs.INPUT_CONFIG_KEY] = proto_utils.proto_to_json(
            example_gen_pb2.Input(
                splits=[
                    example_gen_pb2.Input.Split(name=name, pattern=pattern)
                    for name, pattern in patterns.items()
                ]
            )
        )
        # What was resolved, not what was asked for: "the newest two" names other spans
        # tomorrow, and would have the same cache key.
        if specs.RANGE_CONFIG_KEY in exec_properties:
            exec_properties[specs.RANGE_CONFIG_KEY] = _range_of(self._selection)
        # Stock properties, so that TFX's own resolvers by span keep working.
        exec_properties[utils.SPAN_PROPERTY_NAME] = newest.number
        exec_properties[utils.VERSION_PROPERTY_NAME] = newest.version
        exec_properties[utils.FINGERPRINT_PROPERTY_NAME] = digests.fingerprint(
            base, patterns, self._memory
        )
        return exec_properties

    def run(self, execution_info: ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Resolves the input, and records the spans on the output artifact."""
        (examples,) = execution_info.output_dict[specs.EXAMPLES_KEY]
        # Digests of large files are kept next to the artifacts, whatever runner this
        # is.
        self._memory = digests.memory_beside(examples.uri)
        result = super().run(execution_info)
        if self._selection.pattern.has_spans:
            outputs = result.output_artifacts[specs.EXAMPLES_KEY]
            _note(outputs.artifacts[0], self._selection)
        return result


def record_skipped_spans(
    store: MetadataStore, node: pipeline_pb2.PipelineNode, execution: mlmd.Execution
) -> None:
    """Records the skipped spans on the Examples that a node has just written.

    The driver can't do this: its output is part of the cache key, and data that is not
    read must not make a node run again.

    Args:
        store: The metadata store.
        node: The node; nodes other than ExampleGen are ignored.
        execution: The node's execution.
    """
    parameters = node.parameters.parameters
    for examples in Graph(store).outputs_of(execution.id).get(specs.EXAMPLES_KEY, []):
        taken = examples.properties.get(properties.SPANS)
        noted = properties.SPANS_SKIPPED in examples.properties
        # A cached execution has the earlier one's artifact, which has the note.
        if taken and not noted and specs.INPUT_BASE_KEY in parameters:
            base = parameters[specs.INPUT_BASE_KEY].field_value.string_value
            settings = parameters[specs.INPUT_CONFIG_KEY].field_value.string_value
            (split,) = json.loads(settings)["splits"]
            pattern = spans.Pattern(split["pattern"])
            numbers = {entry["span"] for entry in taken}
            there = [s.number for s in spans.available(Path(base), pattern)]
            left = tuple(number for number in there if number not in numbers)
            text = Selection(pattern, (), left).names_of_skipped()
            upkeep.note_artifact(store, examples.id, properties.SPANS_SKIPPED, text)


def _wanted(range_config: str | None) -> Wanted | None:
    if not range_config:
        return None
    settings = range_config_pb2.RangeConfig()
    proto_utils.json_to_proto(range_config, settings)
    if settings.HasField("static_range"):
        fixed = settings.static_range
        return Between(fixed.start_span_number, fixed.end_span_number)
    return Newest(settings.rolling_range.num_spans)


def _range_of(selection: Selection) -> str:
    """Returns the range in one canonical form, because it is part of the cache key."""
    fixed = range_config_pb2.StaticRange(
        start_span_number=selection.taken[0].number,
        end_span_number=selection.taken[-1].number,
    )
    return str(
        proto_utils.proto_to_json(range_config_pb2.RangeConfig(static_range=fixed))
    )


def _note(examples: mlmd.Artifact, selection: Selection) -> None:
    taken = [
        {"span": span.number, "version": span.version, "pattern": span.pattern}
        for span in selection.taken
    ]
    examples.custom_properties[properties.SPANS].string_value = json.dumps(taken)
    if selection.missing:
        missing = selection.names_of_missing()
        examples.custom_properties[properties.SPANS_MISSING].string_value = missing
