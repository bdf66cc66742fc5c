"""The baseline: the model that is live, whatever was blessed since."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from tfx.types import artifact_utils

from pipeline.components.live_model import BestModelStrategy, LiveModelStrategy
from pipeline.components.versioned_pusher import origin_of
from pipeline.config import Config
from pipeline.registry import changes, history, versions
from pipeline.store import upkeep
from pipeline.store.connection import open_store
from tests.pipeline.tfx_store import StockStore

Resolved = dict[str, list[int]]


class _Trainings:
    """Trained and blessed models in a store, some of them pushed."""

    def __init__(self, config: Config, store: StockStore) -> None:
        self.base = config.serving_directory
        self.fake = store
        self.store = MetadataStore(open_store(config.metadata_url))

    def model(self) -> int:
        """Trains and blesses a model, which is not pushed; returns its id."""
        model = self.fake.artifact("Model")
        (self.fake.path(model) / "saved_model.pb").write_text(f"model {model}")
        run = f"run-{model}"
        execution = self.fake.ran(run, "Trainer", outputs={"model": model})
        (trained,) = self.store.get_executions_by_id([execution])
        upkeep.note_execution(self.store, trained, {})
        self.fake.artifact("ModelBlessing", {"blessed": 1, "current_model_id": model})
        return model

    def push(self, model: int) -> int:
        """Makes a model live; returns the version."""
        (found,) = self.artifacts([model])
        return changes.push(self.fake.path(model), self.base, origin_of(found))

    def artifacts(self, ids: list[int]) -> list:  # type: ignore[type-arg]
        """Returns artifacts as TFX hands them over."""
        found = self.store.get_artifacts_by_id(ids)
        kinds = {t.id: t for t in self.store.get_artifact_types()}
        return [artifact_utils.deserialize_artifact(kinds[a.type_id], a) for a in found]

    def resolve(self) -> Resolved:
        """Returns the ids of what the strategy chooses."""
        everything = {
            name: self.artifacts([a.id for a in self.store.get_artifacts_by_type(kind)])
            for name, kind in (("model", "Model"), ("model_blessing", "ModelBlessing"))
        }
        chosen = LiveModelStrategy(str(self.base)).resolve_artifacts(
            self.store, everything
        )
        return {name: [artifact.id for artifact in a] for name, a in chosen.items()}

    def best(self) -> list[int]:
        """Returns the ids of what the strategy for the best model chooses."""
        models = [a.id for a in self.store.get_artifacts_by_type("Model")]
        chosen = BestModelStrategy(str(self.base), 5).resolve_artifacts(
            self.store, {"model": self.artifacts(models)}
        )
        return [artifact.id for artifact in chosen["model"]]


@pytest.fixture
def trainings(config: Config, store: StockStore) -> _Trainings:
    """A store without a model."""
    return _Trainings(config, store)


def test_the_live_model_is_the_baseline(trainings: _Trainings) -> None:
    """Neither a model that was blessed later nor one that was live before counts."""
    before, live, later = (trainings.model() for _ in range(3))
    trainings.push(before)
    trainings.push(live)

    resolved = trainings.resolve()

    assert later > live
    # Each model is followed by its blessing.
    assert resolved == {"model": [live], "model_blessing": [live + 1]}


def test_after_a_rollback_the_earlier_model_is_the_baseline(
    trainings: _Trainings,
) -> None:
    """The model that a rollback restored is to be beaten, under its new number too."""
    first, second = trainings.model(), trainings.model()
    trainings.push(first)
    trainings.push(second)

    changes.rollback(trainings.base, None, changes.Author(because="a test"))

    assert trainings.resolve()["model"] == [first]


def test_a_version_removed_by_hand_is_no_baseline(trainings: _Trainings) -> None:
    """When the newest version is removed, the one before it is to be beaten."""
    first, second = trainings.model(), trainings.model()
    trainings.push(first)
    newest = trainings.base / str(trainings.push(second))

    newest.rename(trainings.base / ".withdrawn")

    assert trainings.resolve()["model"] == [first]


def _nothing(trainings: _Trainings) -> None:
    trainings.model()


def _by_hand(trainings: _Trainings) -> None:
    trainings.model()
    (trainings.base / "5").mkdir(parents=True)


def _of_another_store(trainings: _Trainings) -> None:
    model = trainings.model()
    (found,) = trainings.artifacts([model])
    origin = origin_of(found) | {versions.MODEL_CREATED: 1}
    changes.push(trainings.fake.path(model), trainings.base, origin)


def _files_gone(trainings: _Trainings) -> None:
    model = trainings.model()
    trainings.push(model)
    (trainings.fake.path(model) / "saved_model.pb").unlink()


@pytest.mark.parametrize(
    "arrange", [_nothing, _by_hand, _of_another_store, _files_gone]
)
def test_without_a_live_model_of_ours_there_is_no_baseline(
    trainings: _Trainings, arrange: Callable[[_Trainings], None]
) -> None:
    """No version, one of unknown or foreign origin, a damaged model: no baseline."""
    arrange(trainings)

    assert trainings.resolve() == {"model": [], "model_blessing": []}


def test_a_store_without_models_has_no_baseline(tmp_path: Path) -> None:
    """The first run of all has nothing to beat."""
    store = MetadataStore(open_store(f"sqlite://{tmp_path}/metadata.db"))
    strategy = LiveModelStrategy(str(tmp_path / "serving"))

    resolved = strategy.resolve_artifacts(store, {"model": [], "model_blessing": []})

    assert resolved == {"model": [], "model_blessing": []}


def test_the_best_recent_model_is_compared_with_unless_it_is_live(
    trainings: _Trainings,
) -> None:
    """The highest AUC counts; without one, or if it is live's, there is nothing."""
    first, second = trainings.model(), trainings.model()
    versions_of = [trainings.push(first), trainings.push(second)]

    def known(*areas: float) -> None:
        facts = zip(versions_of, areas, strict=True)
        history.note_facts(
            trainings.base, {n: {"metrics": {"auc": auc}} for n, auc in facts}
        )

    assert trainings.best() == []
    known(0.9, 0.8)
    assert trainings.best() == [first]
    known(0.8, 0.9)
    assert trainings.best() == []


def test_a_best_model_without_files_is_not_compared_with(
    trainings: _Trainings, caplog: pytest.LogCaptureFixture
) -> None:
    """Its files are gone, which the log says."""
    first, second = trainings.model(), trainings.model()
    best, _ = trainings.push(first), trainings.push(second)
    history.note_facts(trainings.base, {best: {"metrics": {"auc": 0.9}}})
    (trainings.fake.path(first) / "saved_model.pb").unlink()

    assert trainings.best() == []
    assert f"Version {best} was the best of the last 5 live models" in caplog.text
