"""What data is compared with, and that the choice stays."""

from collections.abc import Sequence

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.types import Artifact, artifact_utils, standard_artifacts

from pipeline.components.accepted_data import AcceptedDataStrategy
from pipeline.components.versioned_pusher import origin_of
from pipeline.config import Config
from pipeline.registry import changes
from pipeline.store.connection import open_store
from tests.pipeline.tfx_store import StockStore


class _Runs:
    """Runs of a pipeline: data is judged, and a model is trained and pushed."""

    def __init__(self, config: Config, store: StockStore) -> None:
        self.base = config.serving_directory
        self.models: list[int] = []
        """The live model of the last baselines."""
        self.pushed: list[int] = []
        self.fake = store
        self.store = MetadataStore(open_store(config.metadata_url))

    def judge(
        self,
        examples: int,
        live: Sequence[int] = (),
        span: int = 0,
        model: Sequence[int] = (),
    ) -> int:
        """Accepts examples; returns the verdict."""
        about = {"examples_id": examples, "span": span}
        verdict = self.fake.artifact("DataVerdict", about)
        self.fake.ran(
            f"run-{verdict}",
            "DataGate",
            inputs={"examples": [examples], "live": live, "live_model": model},
            outputs={"verdict": verdict},
        )
        return verdict

    def push(self, *verdicts: int) -> int:
        """Trains a model on accepted data, and makes it live."""
        model = self.fake.artifact("Model")
        self.pushed.append(model)
        (self.fake.path(model) / "saved_model.pb").write_text(f"model {model}")
        inputs = {"verdict": verdicts}
        self.fake.ran(
            f"run-{model}", "Trainer", inputs=inputs, outputs={"model": model}
        )
        (found,) = self.artifacts("Model", [model])
        return changes.push(self.fake.path(model), self.base, origin_of(found))

    def artifacts(self, kind: str, ids: Sequence[int] = ()) -> list[Artifact]:
        """Returns artifacts as TFX hands them over; all if no ids are given."""
        found = self.store.get_artifacts_by_type(kind)
        if kind == "Examples":
            return [_examples(a) for a in found if not ids or a.id in ids]
        (artifact_type,) = [
            t for t in self.store.get_artifact_types() if t.name == kind
        ]
        return [
            artifact_utils.deserialize_artifact(artifact_type, a)
            for a in found
            if not ids or a.id in ids
        ]

    def baselines(self, examples: int) -> tuple[list[int], list[int]]:
        """Returns what examples are compared with: previous and live."""
        kinds = [t.name for t in self.store.get_artifact_types()]
        verdicts = self.artifacts("DataVerdict") if "DataVerdict" in kinds else []
        models = self.artifacts("Model") if "Model" in kinds else []
        chosen = AcceptedDataStrategy(str(self.base)).resolve_artifacts(
            self.store,
            {
                "examples": self.artifacts("Examples", [examples]),
                "previous": verdicts,
                "live": verdicts,
                "live_model": models,
            },
        )
        self.models = [a.id for a in chosen["live_model"]]
        previous, live = chosen["previous"], chosen["live"]
        return [a.id for a in previous], [a.id for a in live]


def _examples(found: mlmd.Artifact) -> Artifact:
    """Returns ingested examples as TFX has them: with the span as a property."""
    examples = standard_artifacts.Examples()
    examples.id, examples.uri = found.id, found.uri
    examples.set_int_custom_property("span", found.custom_properties["span"].int_value)
    return examples


@pytest.fixture
def runs(config: Config, store: StockStore) -> _Runs:
    """A store without a run."""
    return _Runs(config, store)


def test_the_first_data_has_no_baseline(runs: _Runs) -> None:
    """Before any data was accepted there is nothing to compare with."""
    assert runs.baselines(runs.fake.examples()) == ([], [])


def test_the_data_before_and_the_live_models_are_the_baselines(runs: _Runs) -> None:
    """The newest verdict about other data, and that which let the live model's in."""
    oldest, older, new = (runs.fake.examples() for _ in range(3))
    accepted = runs.judge(oldest)
    runs.push(accepted)
    newest = runs.judge(older)

    assert runs.baselines(new) == ([newest], [accepted])


def test_data_that_was_refused_is_no_baseline(runs: _Runs) -> None:
    """Examples without a verdict don't count."""
    accepted = runs.judge(runs.fake.examples())
    runs.fake.examples()

    assert runs.baselines(runs.fake.examples()) == ([accepted], [])


def test_the_same_data_is_compared_with_the_same(runs: _Runs) -> None:
    """Neither its own model nor later data changes what data is compared with."""
    oldest, older, data, later = (runs.fake.examples() for _ in range(4))
    accepted = runs.judge(oldest)
    runs.push(accepted)
    before = runs.judge(older)
    first = runs.baselines(data)
    runs.push(runs.judge(data, live=[accepted]))
    runs.judge(later)

    assert first == ([before], [accepted])
    assert runs.baselines(data) == first


def test_the_live_model_answers_for_new_data(runs: _Runs) -> None:
    """Without one nobody does; with several versions it is the live one."""
    first, second, new = (runs.fake.examples() for _ in range(3))
    runs.baselines(first)
    none = runs.models
    runs.push(runs.judge(first))
    runs.push(runs.judge(second))

    runs.baselines(new)

    assert none == []
    assert runs.models == runs.pushed[-1:]


def test_the_same_data_is_answered_by_the_same_model(runs: _Runs) -> None:
    """A model that has learned from it doesn't judge it: the one before it did."""
    older, data = (runs.fake.examples() for _ in range(2))
    accepted = runs.judge(older)
    runs.push(accepted)
    runs.baselines(data)
    asked = runs.models
    runs.push(runs.judge(data, live=[accepted], model=asked))

    runs.baselines(data)

    assert runs.models == asked == runs.pushed[:1]


def test_data_that_was_judged_without_a_model_stays_so(runs: _Runs) -> None:
    """The first data's own model doesn't make its verdict another one."""
    data = runs.fake.examples()
    runs.push(runs.judge(data))

    runs.baselines(data)

    assert runs.models == []


def test_one_baseline_is_not_used_twice(runs: _Runs) -> None:
    """If the live model has learned from the previous data, there is one baseline."""
    accepted = runs.judge(runs.fake.examples())
    runs.push(accepted)

    assert runs.baselines(runs.fake.examples()) == ([accepted], [])


def test_after_a_rollback_the_live_models_data_counts(runs: _Runs) -> None:
    """When an earlier version is live again, new data is compared with its data."""
    first, second, new = (runs.fake.examples() for _ in range(3))
    accepted = runs.judge(first)
    runs.push(accepted)
    later = runs.judge(second, live=[accepted])
    runs.push(later)

    changes.rollback(runs.base, None, changes.Author(because="a test"))

    assert runs.baselines(new) == ([later], [accepted])


def test_a_verdict_without_files_is_no_baseline(runs: _Runs) -> None:
    """A verdict whose files were freed can't be compared with."""
    kept, freed = (runs.judge(runs.fake.examples()) for _ in range(2))
    runs.fake.path(freed).rmdir()

    assert runs.baselines(runs.fake.examples()) == ([kept], [])


def test_a_late_span_is_compared_with_the_one_before_it(runs: _Runs) -> None:
    """Not with the newest, from which it differs by seasons and trends."""
    verdicts = {n: runs.judge(runs.fake.examples(span=n), span=n) for n in (2, 4, 6)}
    runs.push(*verdicts.values())

    between = runs.baselines(runs.fake.examples(span=5))
    oldest = runs.baselines(runs.fake.examples(span=1))
    newest = runs.baselines(runs.fake.examples(span=7))

    assert between == ([verdicts[4]], [])
    assert oldest == ([verdicts[2]], [])
    assert newest == ([verdicts[6]], [])


def test_the_live_models_nearest_span_counts(runs: _Runs) -> None:
    """When later spans were accepted without a new model, both are compared with."""
    first, second, later = (
        runs.judge(runs.fake.examples(span=n), span=n) for n in (1, 2, 3)
    )
    runs.push(first, second)

    assert runs.baselines(runs.fake.examples(span=4)) == ([later], [second])


def test_of_two_deliveries_the_last_accepted_counts(runs: _Runs) -> None:
    """A span that came again replaces what it was before."""
    runs.judge(runs.fake.examples(span=1), span=1)
    again = runs.judge(runs.fake.examples(span=1), span=1)

    assert runs.baselines(runs.fake.examples(span=2)) == ([again], [])
