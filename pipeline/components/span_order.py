"""Puts the artifacts of several spans into the order of their spans."""

from collections.abc import Iterable

from tfx.types import Artifact

from pipeline.store import properties


def span_of(artifact: Artifact) -> int:
    """Returns the span of Examples or of a DataVerdict; 0 without spans."""
    # A custom property, as stock TFX's driver sets it: the standard type's own `span`
    # stays 0.
    return int(artifact.get_int_custom_property(properties.SPAN))


def by_span(artifacts: Iterable[Artifact]) -> list[Artifact]:
    """Returns artifacts with the oldest span first.

    MLMD returns an execution's inputs by id, and a span that came late has a high one.
    The order of the rows decides about the weights.
    """
    return sorted(artifacts, key=lambda artifact: (span_of(artifact), artifact.id))
