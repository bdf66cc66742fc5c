"""Windows: the spans that a run learns from, as recorded on its ExampleGen execution.

Each earlier span of a window has Examples and a DataVerdict of its own, which the run
reuses or which a part of it has made; or it was refused, and stays out.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.store import properties
from pipeline.store.graph import Execution, Graph


@dataclass(frozen=True)
class EarlierSpan:
    """A span of a window that is older than its newest one.

    Attributes:
        number: Its number.
        name: Its number or date, for display.
        examples: Id of its Examples; `None` if it was refused.
        verdict: Id of the DataVerdict that let it in; `None` if it was refused.
        refused: Why it was refused, in one line; empty if it was accepted.
    """

    number: int
    name: str
    examples: int | None = None
    verdict: int | None = None
    refused: str = ""


@dataclass(frozen=True)
class Window:
    """The spans that a run was asked to learn from.

    Attributes:
        newest: Name of the newest span, which the run itself ingests and judges.
        earlier: The others, oldest first.
        missing: Gaps among them, such as "7, 9 to 11"; empty if there is none.
        skipped: Existing spans that are not in the window, such as "1 to 8".
    """

    newest: str
    earlier: tuple[EarlierSpan, ...] = ()
    missing: str = ""
    skipped: str = ""

    @property
    def refused(self) -> tuple[EarlierSpan, ...]:
        """The spans that stay out of it."""
        return tuple(span for span in self.earlier if span.refused)

    @property
    def accepted(self) -> tuple[EarlierSpan, ...]:
        """The earlier spans that are in it."""
        return tuple(span for span in self.earlier if not span.refused)

    def lines(self) -> list[str]:
        """Returns one sentence for each span that stays out, with the reason."""
        return [f"span {span.name} stays out: {span.refused}" for span in self.refused]

    def to_json(self) -> str:
        """Formats it as a property of an execution."""
        return json.dumps(asdict(self))

    @classmethod
    def from_mapping(cls, noted: Mapping[str, Any]) -> Self:
        """Restores a window from the decoded JSON of `to_json`."""
        earlier = tuple(EarlierSpan(**span) for span in noted["earlier"])
        return cls(**{**noted, "earlier": earlier})


def of_run(steps: Collection[Execution]) -> Window | None:
    """Returns the window of a run from its executions; `None` without spans."""
    noted = [step.parameters.get(properties.WINDOW) for step in steps]
    found = [window for window in noted if isinstance(window, Mapping)]
    return Window.from_mapping(found[-1]) if found else None


def of_examples(store: MetadataStore, examples: int) -> Window | None:
    """Returns the window that was recorded last with Examples as its newest span.

    Args:
        store: The metadata store.
        examples: Id of the Examples that a run has ingested or reused.
    """
    # A later run with the same newest span reuses the Examples in an execution of its
    # own, which has the run's own window.
    events = store.get_events_by_artifact_ids([examples])
    noted = Graph(store).noted({e.execution_id for e in events}, properties.WINDOW)
    return Window.from_mapping(json.loads(noted[max(noted)])) if noted else None


def artifacts_of(graph: Graph, executions: Collection[int]) -> set[int]:
    """Returns the ids of the artifacts in the windows that executions have recorded."""
    noted = graph.noted(executions, properties.WINDOW).values()
    spans = [
        span
        for text in noted
        for span in Window.from_mapping(json.loads(text)).accepted
    ]
    found = {i for span in spans for i in (span.examples, span.verdict)}
    return {i for i in found if i is not None}
