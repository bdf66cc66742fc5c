"""The window: the Examples and verdicts of all the spans that a run learns from.

ExampleGen ingests the newest span only; the earlier ones are artifacts of their own,
ingested and judged once. What an earlier run's Transform has cached of its analysis is
found here too.
"""

import logging
from collections.abc import Collection

from ml_metadata.metadata_store.metadata_store import MetadataStore
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.types import Artifact, artifact_utils
from tfx.types.standard_component_specs import (
    ANALYZER_CACHE_KEY as ANALYZER_CACHE,
)
from tfx.types.standard_component_specs import (
    UPDATED_ANALYZER_CACHE_KEY as UPDATED_ANALYZER_CACHE,
)

from pipeline.components.gate_executor import EXAMPLES
from pipeline.components.span_order import by_span, span_of
from pipeline.store import upkeep, windows
from pipeline.store.graph import Graph
from pipeline.store.properties import VERDICT

_LOG = logging.getLogger(__name__)

TEST = "test"
"""Examples of the spans that are only tested on."""


class SpanWindowStrategy(ResolverStrategy):
    """Resolves to the accepted spans of the run's window.

    Which these are was recorded when the run ingested its newest span. Without spans,
    the window is the run's own Examples.
    """

    def __init__(self, test_spans: int) -> None:
        """Creates the strategy.

        Args:
            test_spans: Number of the newest spans that are only tested on.
        """
        self._test_spans = test_spans

    def resolve_artifacts(
        self, store: MetadataStore, input_dict: dict[str, list[Artifact]]
    ) -> dict[str, list[Artifact]]:
        """Adds the earlier spans to the run's own.

        Args:
            store: The metadata store.
            input_dict: The run's "examples" and "verdict"; again the examples as
                "test" if there are spans to test on; and every "analyzer_cache" of the
                pipeline if the analysis of Transform is cached.

        Returns:
            Examples to learn from, oldest span first, and the verdicts of all spans;
            the Examples to test on as "test" and one "analyzer_cache" or none, if they
            were asked for.
        """
        (examples,), (verdict,) = input_dict[EXAMPLES], input_dict[VERDICT]
        caches = input_dict.get(ANALYZER_CACHE)
        window = windows.of_examples(store, examples.id)
        earlier = window.accepted if window else ()
        found = [*_read(store, [s.examples for s in earlier if s.examples]), examples]
        verdicts = [*_read(store, [s.verdict for s in earlier if s.verdict]), verdict]
        found = by_span(found)
        _LOG.info("The window has the spans %s", list(map(span_of, found)))
        result = {EXAMPLES: found, VERDICT: verdicts}
        if TEST in input_dict:
            result[TEST] = found[-self._test_spans :]
            result[EXAMPLES] = found[: -self._test_spans]
        if caches is not None:
            result[ANALYZER_CACHE] = _analyzed(store, caches, result[EXAMPLES])
        return result


def _analyzed(
    store: MetadataStore, caches: Collection[Artifact], examples: Collection[Artifact]
) -> list[Artifact]:
    """Returns the cache of the newest analysis, or none.

    For Examples that were transformed before it is what that Transform has read, not
    what it has written: with another input it would not be cached, and run again.
    """
    wanted = sorted(each.id for each in examples)
    graph = Graph(store)
    before = [
        user
        for user in graph.users(wanted)
        if user.succeeded
        and UPDATED_ANALYZER_CACHE in user.outputs
        and sorted(user.inputs[EXAMPLES]) == wanted
    ]
    if before:
        read = before[-1].inputs.get(ANALYZER_CACHE, ())
        caches = [cache for cache in caches if cache.id in read]
    newest = sorted(caches, key=lambda cache: -cache.id)
    return next(([c] for c in newest if upkeep.is_whole(store, c.id)), [])


def _read(store: MetadataStore, ids: Collection[int]) -> list[Artifact]:
    """Loads artifacts as TFX's resolvers return them."""
    found = store.get_artifacts_by_id(ids) if ids else []
    types = store.get_artifact_types_by_id([each.type_id for each in found])
    return [
        artifact_utils.deserialize_artifact(kind, each)
        for kind, each in zip(types, found, strict=True)
    ]
