"""Resolves the baseline to the live model, not to the one that was blessed last.

After a rollback, or when a version was removed by hand, the two are different models,
and a candidate has to be compared with what it would replace.
"""

import logging
from pathlib import Path

from ml_metadata.metadata_store.metadata_store import MetadataStore
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.types import Artifact

from pipeline.components.versioned_pusher import origin_of
from pipeline.registry import history, versions
from pipeline.store import properties, upkeep

_LOG = logging.getLogger(__name__)

MODEL = "model"
BLESSING = "model_blessing"


class LiveModelStrategy(ResolverStrategy):
    """Resolves to the Model artifact behind the live version, and its blessing.

    Resolves to nothing, so that there is no baseline, if no version is live or if the
    live one was not pushed from this metadata store, or its artifact is no longer
    whole; the log says which.
    """

    def __init__(self, serving_directory: str) -> None:
        """Creates the strategy.

        Args:
            serving_directory: Directory of the model's versions.
        """
        self._base = Path(serving_directory)

    def resolve_artifacts(
        self, store: MetadataStore, input_dict: dict[str, list[Artifact]]
    ) -> dict[str, list[Artifact]]:
        """Chooses from all models and blessings of the pipeline.

        Args:
            store: The metadata store.
            input_dict: Artifacts of the store by name, "model" and "model_blessing".

        Returns:
            One model or none, and the blessing that it got, if it is in the store.
        """
        model = self._live_model(store, input_dict[MODEL])
        if model is None:
            return {name: [] for name in input_dict}
        blessings = [
            blessing
            for blessing in input_dict.get(BLESSING, [])
            if blessing.get_int_custom_property(properties.BLESSED)
            and blessing.get_int_custom_property(properties.BLESSED_MODEL_ID)
            == model.id
        ]
        # A model that was evaluated again has several; none is fine, since the
        # Evaluator's baseline input is the model alone.
        newest = sorted(blessings, key=lambda blessing: blessing.id)[-1:]
        return {MODEL: [model], BLESSING: newest}

    def _live_model(
        self, store: MetadataStore, models: list[Artifact]
    ) -> Artifact | None:
        live = versions.live(self._base)
        if live is None:
            _LOG.info("No baseline: %s has no version", self._base)
            return None
        origin = live.origin()
        # By origin rather than by path: a version is a copy, and the artifact's
        # directory may be reused by another store.
        found = [m for m in models if versions.is_same_model(origin, origin_of(m))]
        if not found:
            _LOG.warning(
                "No baseline: version %d is live, and its model (%s) is not in this "
                "metadata store",
                live.number,
                origin.get(versions.MODEL_URI, "of unknown origin"),
            )
            return None
        (model,) = found
        if not upkeep.is_whole(store, model.id):
            _LOG.warning(
                "No baseline: version %d is live, and the files of its model in %s are "
                "gone or incomplete",
                live.number,
                model.uri,
            )
            return None
        _LOG.info("The baseline is model %d, live as %d", model.id, live.number)
        return model


class BestModelStrategy(ResolverStrategy):
    """Resolves to the Model of the best recent version, if that isn't live.

    Compared with the live model alone, a model a little worse could be pushed again and
    again. Best is what had the highest metric in the evaluation before it was pushed.
    """

    def __init__(
        self, serving_directory: str, best_of: int, metric: str = "auc"
    ) -> None:
        """Creates the strategy.

        Args:
            serving_directory: Directory of the model's versions.
            best_of: How many models count, of those that were live last.
            metric: Name of the metric by which one is the best.
        """
        self._base = Path(serving_directory)
        self._count, self._metric = best_of, metric

    def resolve_artifacts(
        self, store: MetadataStore, input_dict: dict[str, list[Artifact]]
    ) -> dict[str, list[Artifact]]:
        """Chooses from all models of the pipeline.

        Args:
            store: The metadata store.
            input_dict: Artifacts of the store by name, "model".

        Returns:
            One model, or none if the live one is the best, or nothing is known.
        """
        registry = history.read(self._base)
        number = history.best(registry, self._count, self._metric)
        if number is None or number == registry.live:
            return {MODEL: []}
        origin = registry.added[number].origin
        found = [
            model
            for model in input_dict[MODEL]
            if versions.is_same_model(origin, origin_of(model))
            and upkeep.is_whole(store, model.id)
        ]
        if not found:
            _LOG.warning(
                "Version %d was the best of the last %d live models, and its files are "
                "gone: nothing is compared with it",
                number,
                self._count,
            )
        return {MODEL: found[:1]}
