"""Ingests and judges the earlier spans of a run's window, each once.

Each of these spans goes through the nodes up to DataGate as a part of the run, oldest
first, so that it is compared with the span before it as if it had come by itself. What
was settled about a span, accepted or refused, is recorded on its DataGate execution
under a key of its contents and of everything that judged it. Later runs find it there.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ml_metadata.metadata_store.metadata_store import MetadataStore
from tfx.orchestration import data_types_utils
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import inputs_utils
from tfx.proto import range_config_pb2
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import standard_component_specs as specs
from tfx.utils import proto_utils

from pipeline.columnar import progress
from pipeline.components.span_driver import Request
from pipeline.config import DATA_NODE, GATE_NODE
from pipeline.errors import DataRefusedError, ThroughlineError
from pipeline.ingestion import digests
from pipeline.ingestion.spans import Selection, Span
from pipeline.runners import compiler
from pipeline.store import properties, upkeep
from pipeline.store.graph import NEVER_CACHED, Artifact, Graph
from pipeline.store.names import span_run
from pipeline.store.windows import EarlierSpan, Window

_LOG = logging.getLogger(__name__)
_LONGEST_REASON = 300

RunNode = Callable[[pipeline_pb2.Pipeline, str, str], object]
"""Runs a node of a pipeline under the name of a run."""


@dataclass(frozen=True)
class Backlog:
    """The spans of a run's window, and their recorded verdicts.

    Attributes:
        pipeline: The compiled pipeline; the run id is still a runtime parameter.
        run_id: Name of the run.
        store: The metadata store.
        memory: File that caches digests of data files.
    """

    pipeline: pipeline_pb2.Pipeline
    run_id: str
    store: MetadataStore
    memory: Path | None

    def take_in(self, run_node: RunNode) -> Window | None:
        """Ingests and judges the earlier spans that no run has settled yet.

        Args:
            run_node: Runs one node.

        Returns:
            The window; `None` if the data has no spans.

        Raises:
            DataRefusedError: The window has no span to learn from besides those to test
                on, or a requested span does not exist.
            ThroughlineError: A node failed for another reason than the data; names the
                span.
        """
        request = self._request
        if request is None or request.wanted is None:
            return None
        window = request.select()
        for line in window.lines():
            _LOG.info("The window %s", line)
        earlier: tuple[EarlierSpan, ...] = ()
        if request.is_span_by_span and self._nodes:
            earlier = tuple(self._settled(window, run_node))
        found = Window(
            window.pattern.name_of(window.taken[-1].number),
            earlier,
            window.names_of_missing(),
            window.names_of_skipped(),
        )
        _require_training(found, request.settings.rule.test_spans)
        for line in found.lines():
            progress.note(line)
        return found

    def note(self, execution: int, *, refused: str = "") -> None:
        """Records that the run's span is accepted, or why it was refused.

        Args:
            execution: Id of the DataGate execution.
            refused: The refusal's message; empty if the span was accepted.
        """
        request = self._request
        if request and request.wanted is not None and request.is_span_by_span:
            outputs = Graph(self.store).outputs_of_run(self.run_id)
            for examples in outputs.get(DATA_NODE, {}).get(specs.EXAMPLES_KEY, []):
                content = str(examples.properties.get(properties.FINGERPRINT))
                span = int(examples.properties.get(properties.SPAN, 0))
                self._record(execution, self._key(span, content), refused)

    def _settled(self, window: Selection, run_node: RunNode) -> Iterator[EarlierSpan]:
        """Yields each earlier span, after it has been taken in if need be."""
        known = {} if self._is_uncached else self._known()
        *earlier, _ = window.taken
        for span in earlier:
            name = window.pattern.name_of(span.number)
            key = self._key(span.number, self._content(span))
            found = self._reusable(known.get(key), span, name)
            yield found or self._taken_in(span, name, key, run_node)

    def _taken_in(
        self, span: Span, name: str, key: str, run_node: RunNode
    ) -> EarlierSpan:
        """Runs the nodes up to DataGate for a span, as a part of the run."""
        part, own = span_run(self.run_id, span.number), self._for_span(span)
        _LOG.info("Takes in span %s as %s", name, part)
        progress.note(f"takes in span {name}")
        for node_id in self._nodes:
            try:
                run_node(own, node_id, part)
            except DataRefusedError as error:
                newest = Graph(self.store).run(part)[-1]
                self._record(newest.id, key, str(error))
                return EarlierSpan(span.number, name, refused=_in_short(str(error)))
            except ThroughlineError as error:
                named = ThroughlineError(f"span {name}, {node_id}: {error}")
                named.exit_code = error.exit_code
                raise named from error
        outputs = Graph(self.store).outputs_of_run(part)
        (examples,) = outputs[DATA_NODE][specs.EXAMPLES_KEY]
        (verdict,) = outputs[GATE_NODE]["verdict"]
        return EarlierSpan(span.number, name, examples.id, verdict.id)

    def _reusable(
        self, execution: int | None, span: Span, name: str
    ) -> EarlierSpan | None:
        """Returns what an execution has settled; `None` if its outputs are gone."""
        if execution is None:
            return None
        graph = Graph(self.store)
        refused = graph.noted([execution], properties.REFUSED).get(execution, "")
        if refused:
            return EarlierSpan(span.number, name, refused=_in_short(refused))
        (verdict,) = graph.outputs_of(execution)["verdict"]
        examples = graph.by_id([int(verdict.properties[properties.EXAMPLES_ID])])
        if all(self._is_usable(artifact) for artifact in (verdict, *examples)):
            return EarlierSpan(span.number, name, examples[0].id, verdict.id)
        return None

    def _is_usable(self, artifact: Artifact) -> bool:
        return artifact.live and upkeep.is_whole(self.store, artifact.id)

    def _known(self) -> dict[str, int]:
        """Returns the newest execution that has settled each key."""
        graph, name = Graph(self.store), self.pipeline.pipeline_info.id
        ids = graph.ids_of_node(name, GATE_NODE) | graph.ids_of_node(name, DATA_NODE)
        noted = graph.noted(ids, properties.SPAN_KEY)
        return {noted[execution]: execution for execution in sorted(noted)}

    def _record(self, execution: int, key: str, refused: str) -> None:
        (found,) = self.store.get_executions_by_id([execution])
        found.custom_properties[properties.SPAN_KEY].string_value = key
        if refused:
            found.custom_properties[properties.REFUSED].string_value = refused
        self.store.put_executions([found])

    def _content(self, span: Span) -> str:
        """Returns the fingerprint that the driver computes for a span."""
        request = self._request
        assert request  # noqa: S101 - callers have asked for it
        return digests.fingerprint(request.base, {"all": span.pattern}, self.memory)

    def _key(self, span: int, content: str) -> str:
        """Returns what the verdict about a span depends on, as a digest.

        The baselines are not part of it: a span that was accepted stays accepted.
        """
        return hashlib.sha256(
            f"{self._definition} {span} {content}".encode()
        ).hexdigest()

    def _for_span(self, span: Span) -> pipeline_pb2.Pipeline:
        """Returns the pipeline with an ExampleGen that ingests one span."""
        found = pipeline_pb2.Pipeline()
        found.CopyFrom(self.pipeline)
        fixed = range_config_pb2.RangeConfig(
            static_range=range_config_pb2.StaticRange(
                start_span_number=span.number, end_span_number=span.number
            )
        )
        for node in found.nodes:
            if node.pipeline_node.node_info.id == DATA_NODE:
                parameters = node.pipeline_node.parameters.parameters
                parameters[
                    specs.RANGE_CONFIG_KEY
                ].field_value.string_value = proto_utils.proto_to_json(fixed)
        return found

    @cached_property
    def _by_id(self) -> Mapping[str, pipeline_pb2.PipelineNode]:
        nodes = [node.pipeline_node for node in self.pipeline.nodes]
        return {node.node_info.id: node for node in nodes}

    @cached_property
    def _nodes(self) -> list[str]:
        """The nodes up to DataGate, in running order; none if there is no DataGate."""
        upstream = compiler.upstream_of(self.pipeline)
        needed, waiting = set(), [GATE_NODE] if GATE_NODE in upstream else []
        while waiting:
            node_id = waiting.pop()
            needed.add(node_id)
            waiting += [name for name in upstream[node_id] if name not in needed]
        return [node_id for node_id in upstream if node_id in needed]

    @cached_property
    def _request(self) -> Request | None:
        """What ExampleGen is asked for; `None` in a part of a run, which has a span."""
        if DATA_NODE not in self._by_id:
            return None
        schemas = inputs_utils.resolve_parameters_with_schema(
            node_parameters=self._by_id[DATA_NODE].parameters
        )
        return Request.of(data_types_utils.build_parsed_value_dict(schemas))

    @property
    def _is_uncached(self) -> bool:
        """Whether the user has disabled the cache of one of the nodes."""
        return any(
            not node.execution_options.caching_options.enable_cache
            for node_id, node in self._by_id.items()
            if node_id in self._nodes and node.node_info.type.name not in NEVER_CACHED
        )

    @cached_property
    def _definition(self) -> str:
        """Digest of settings, code and files behind the nodes, without the window."""
        deployment = runner_utils.extract_local_deployment_config(self.pipeline)
        digest = hashlib.sha256()
        for node_id in self._nodes:
            node = self._by_id[node_id]
            parameters = {
                name: value.SerializeToString(deterministic=True).hex()
                for name, value in node.parameters.parameters.items()
                if name != specs.RANGE_CONFIG_KEY
            }
            digest.update(json.dumps([node_id, parameters], sort_keys=True).encode())
            if node_id in deployment.executor_specs:
                spec = deployment.executor_specs[node_id]
                digest.update(spec.SerializeToString(deterministic=True))
        return digest.hexdigest()


def _require_training(window: Window, test_spans: int) -> None:
    """Rejects a window in which every span is to be tested on."""
    there = len(window.accepted) + 1
    if test_spans and there <= test_spans:
        raise DataRefusedError(
            f"splits.test-spans is {test_spans}, and {there} "
            f"span{'' if there == 1 else 's'} of the window can be read: none is left "
            "to learn from; widen --window, or lower --splits.test-spans"
        )


def _in_short(refusal: str) -> str:
    """Returns the findings of a refusal in one line, without the advice."""
    first, *rest = refusal.splitlines()
    findings = [line.strip() for line in rest if line.startswith("  ")]
    text = "; ".join(findings) if findings else first
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} …"
