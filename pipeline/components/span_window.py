"""The window: the Examples and verdicts of all the spans that a run learns from.

ExampleGen ingests the newest span only; the earlier ones are artifacts of their own,
ingested and judged once.
"""

import logging
from collections.abc import Collection

from ml_metadata.metadata_store.metadata_store import MetadataStore
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.types import Artifact, artifact_utils

from pipeline.components.gate_executor import EXAMPLES
from pipeline.components.span_order import by_span, span_of
from pipeline.store import windows
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
            input_dict: The run's "examples" and "verdict"; and again the examples as
                "test" if there are spans to test on.

        Returns:
            Examples to learn from, oldest span first, and the verdicts of all spans;
            and the Examples to test on as "test" if that was asked for.
        """
        (examples,), (verdict,) = input_dict[EXAMPLES], input_dict[VERDICT]
        window = windows.of_examples(store, examples.id)
        earlier = window.accepted if window else ()
        found = [*_read(store, [s.examples for s in earlier if s.examples]), examples]
        verdicts = [*_read(store, [s.verdict for s in earlier if s.verdict]), verdict]
        found = by_span(found)
        _LOG.info("The window has the spans %s", list(map(span_of, found)))
        if TEST not in input_dict:
            return {EXAMPLES: found, VERDICT: verdicts}
        learned, tested = found[: -self._test_spans], found[-self._test_spans :]
        return {EXAMPLES: learned, TEST: tested, VERDICT: verdicts}


def _read(store: MetadataStore, ids: Collection[int]) -> list[Artifact]:
    """Loads artifacts as TFX's resolvers return them."""
    found = store.get_artifacts_by_id(ids) if ids else []
    types = store.get_artifact_types_by_id([each.type_id for each in found])
    return [
        artifact_utils.deserialize_artifact(kind, each)
        for kind, each in zip(types, found, strict=True)
    ]
