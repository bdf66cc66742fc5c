"""Driver of ExampleGen: selects the span to ingest, and fingerprints its contents.

The stock driver reads the newest span, silently skips the others, and identifies files
by their times of modification. With this one, a run is about a window of spans: the
newest is ingested here, and earlier ones by `pipeline.runners.backlog`, each once.
Before there is a reviewed schema no span can be judged; then the whole window is
ingested together, as one artifact, from which SchemaGen proposes a schema.

It accepts a `RangeConfig` with a static range of several spans; `num_spans` of a
rolling range counts the spans that exist.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.components.example_gen import driver, utils
from tfx.orchestration.data_types import ComponentInfo, PipelineInfo
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto import example_gen_pb2, range_config_pb2
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import standard_component_specs as specs
from tfx.utils import proto_utils

from pipeline.components.ingestion import Settings
from pipeline.ingestion import digests, spans
from pipeline.ingestion.spans import Between, Newest, Selection, Wanted
from pipeline.store import properties

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What an ExampleGen was asked to read.

    Attributes:
        base: The data directory.
        pattern: Pattern of its files, with placeholders.
        wanted: The spans; `None` if the pattern has none.
        settings: The settings of the executor.
    """

    base: Path
    pattern: str
    wanted: Wanted | None
    settings: Settings

    @classmethod
    def of(cls, exec_properties: Mapping[str, Any]) -> "Request":
        """Reads the parameters of an ExampleGen as they are in the pipeline."""
        given = example_gen_pb2.Input()
        proto_utils.json_to_proto(exec_properties[specs.INPUT_CONFIG_KEY], given)
        # Our component declares one; rows are split by the executor, not by files.
        (split,) = given.splits
        return cls(
            Path(exec_properties[specs.INPUT_BASE_KEY]),
            split.pattern,
            _wanted(exec_properties.get(specs.RANGE_CONFIG_KEY)),
            Settings.of(exec_properties),
        )

    @property
    def is_span_by_span(self) -> bool:
        """Whether each span of the window is ingested and judged by itself."""
        return bool(self.settings.schema_file)

    def select(self) -> Selection:
        """Finds the spans of the window; see `spans.select`."""
        return spans.select(self.base, self.pattern, self.wanted)

    def select_to_ingest(self) -> Selection:
        """Finds what ExampleGen ingests itself: the newest span, or the window."""
        window = self.select()
        if not self.is_span_by_span:
            return window
        return Selection(window.pattern, window.taken[-1:], left_out=window.left_out)


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
        request = Request.of(exec_properties)
        self._selection = request.select_to_ingest()
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
            request.base, patterns, self._memory
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
