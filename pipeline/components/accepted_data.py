"""What new data is compared with: the data accepted before, and the live model's.

Both are verdicts that let data in, with the profiles of its rows. Data that was refused
is never a baseline.
"""

import logging
from collections.abc import Collection, Iterable

from ml_metadata.metadata_store.metadata_store import MetadataStore
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.types import Artifact

from pipeline.components.gate_executor import EXAMPLES, LIVE, LIVE_MODEL, PREVIOUS
from pipeline.components.live_model import MODEL, LiveModelStrategy
from pipeline.components.span_order import span_of
from pipeline.store import properties, upkeep
from pipeline.store.graph import Execution, Graph
from pipeline.store.properties import VERDICT

_LOG = logging.getLogger(__name__)


class AcceptedDataStrategy(ResolverStrategy):
    """Resolves to the verdicts about the data that new data is compared with.

    Of the spans that were accepted, and of those that the live model was trained on,
    the nearest one before these Examples counts: seasons and trends are no defects.
    Nothing is before a span that came late as the oldest, so there it is the nearest
    one after. Without spans it is what was accepted last.

    The choice is the same whenever the same Examples are judged, or each run would
    judge, transform and train again what it has already accepted: the verdicts must be
    older than the first one about these Examples, and once a model trained on them is
    live, the comparison with the model before it stays.
    """

    def __init__(self, serving_directory: str) -> None:
        """Creates the strategy.

        Args:
            serving_directory: Of the model; its versions are in there.
        """
        self._serving = serving_directory

    def resolve_artifacts(
        self, store: MetadataStore, input_dict: dict[str, list[Artifact]]
    ) -> dict[str, list[Artifact]]:
        """Chooses from all verdicts of the pipeline.

        Args:
            store: The metadata store.
            input_dict: "examples" of this run; as "live_model" all models; and as
                "previous" and as "live" all verdicts.

        Returns:
            At most one verdict as "previous" and one as "live", none as "live" if it
            is the same one; and the live model, or none, as "live_model".
        """
        (examples,) = input_dict[EXAMPLES][-1:]
        verdicts = sorted(input_dict[PREVIOUS], key=lambda each: each.id)
        previous = _previous(store, verdicts, examples)
        models, learned = self._live(store, input_dict, verdicts, examples)
        # MLMD 1.21 stores only one event for an artifact that an execution reads twice.
        live = [
            verdict
            for verdict in learned
            if verdict.id not in {each.id for each in previous}
        ]
        _LOG.info(
            "Baselines: verdict %s about the previous data, %s about the live model's, "
            "answers of model %s",
            [each.id for each in previous],
            [each.id for each in live],
            [each.id for each in models],
        )
        return {**input_dict, PREVIOUS: previous, LIVE: live, LIVE_MODEL: models}

    def _live(
        self,
        store: MetadataStore,
        input_dict: dict[str, list[Artifact]],
        verdicts: Collection[Artifact],
        examples: Artifact,
    ) -> tuple[list[Artifact], list[Artifact]]:
        """Returns the live model, and the nearest verdict that it learned from.

        If it has learned from these Examples, both are those of when they were judged.
        """
        models = LiveModelStrategy(self._serving).resolve_artifacts(
            store, {MODEL: input_dict[LIVE_MODEL]}
        )[MODEL]
        graph = Graph(store)
        trainers = graph.makers([model.id for model in models])
        read = _read(trainers, VERDICT)
        if any(v.id in read and _about(v) == examples.id for v in verdicts):
            gates = [
                user for user in graph.users([examples.id]) if VERDICT in user.outputs
            ]
            read = _read(gates[-1:], LIVE)
            asked = _read(gates[-1:], LIVE_MODEL)
            models = [
                model
                for model in input_dict[LIVE_MODEL]
                if model.id in asked and upkeep.is_whole(store, model.id)
            ]
        learned = [verdict for verdict in verdicts if verdict.id in read]
        return models, _nearest(store, learned, span_of(examples))


def _previous(
    store: MetadataStore, verdicts: Collection[Artifact], examples: Artifact
) -> list[Artifact]:
    about_these = [v.id for v in verdicts if _about(v) == examples.id]
    accepted = [
        verdict
        for verdict in verdicts
        if _about(verdict) != examples.id
        and (not about_these or verdict.id < about_these[0])
    ]
    return _nearest(store, accepted, span_of(examples))


def _nearest(
    store: MetadataStore, verdicts: Collection[Artifact], span: int
) -> list[Artifact]:
    """Returns the verdict about the nearest span before, else after; one or none."""

    def distance(verdict: Artifact) -> tuple[int, int, int]:
        other = span_of(verdict)
        # By id last: of several deliveries of a span, the one that was accepted last.
        # The same span is that of another delivery, or without spans 0.
        side = 0 if other < span else 1 if other > span else 2
        return side, abs(other - span), -verdict.id

    # One by one: what is whole is looked up on disk, and a year has hundreds.
    ordered = sorted(verdicts, key=distance)
    return next(([v] for v in ordered if upkeep.is_whole(store, v.id)), [])


def _about(verdict: Artifact) -> int:
    """Returns the id of the Examples that a verdict is about."""
    return int(verdict.get_int_custom_property(properties.EXAMPLES_ID))


def _read(executions: Iterable[Execution], name: str) -> set[int]:
    """Returns the ids of the artifacts that executions read as an input."""
    return {i for execution in executions for i in execution.inputs.get(name, ())}
