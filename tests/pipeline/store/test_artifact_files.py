"""Reading TFX's files without TFX."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.columnar import files
from pipeline.quality import results
from pipeline.store import artifact_files
from tests.pipeline.tfx_store import StockStore, write_records


@pytest.mark.parametrize(
    ("uri", "there"),
    [("{}", True), ("file://{}", True), ("{}/gone", False), ("what://b{}", False)],
)
def test_only_what_is_there_has_a_location(
    tmp_path: Path, uri: str, *, there: bool
) -> None:
    """An artifact that is gone, or in a store that we can't read, has no location."""
    found = artifact_files.location(uri.format(tmp_path))

    assert found == (str(tmp_path) if there else None)


def test_a_bucket_that_does_not_answer_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its artifacts count as gone, with one warning for all of them."""
    asked = []

    def fail(uri: str) -> bool:
        asked.append(uri)
        raise OSError("no answer")

    monkeypatch.setattr(files, "exists", fail)

    found = [artifact_files.location(f"s3://silent/{name}") for name in "ab"]

    assert found == [None, None]
    assert asked == ["s3://silent/a"]
    assert caplog.messages == ["s3://silent can't be read: no answer"]


def test_artifacts_in_a_bucket_are_read(store: StockStore, bucket: str) -> None:
    """Files in a bucket read as the same files in a directory."""
    statistics = store.path(store.statistics(train=40, eval=5))
    evaluation = store.path(store.evaluation({"Cash": 0.5}, auc=0.75))
    files.copy_tree(statistics, f"{bucket}/statistics")
    files.copy_tree(evaluation, f"{bucket}/evaluation")
    files.write_text(f"{bucket}/curves/history.json", '{"step": [1]}')

    place = artifact_files.location(f"{bucket}/statistics")

    assert place == f"{bucket}/statistics"
    assert artifact_files.location(f"{bucket}/absent") is None
    assert artifact_files.row_counts(place) == {"train": 40, "eval": 5}
    assert results.read_metrics(f"{bucket}/evaluation") == results.read_metrics(
        evaluation
    )
    assert artifact_files.read_learning_curves(f"{bucket}/curves") == {"step": [1]}


def test_metrics_by_model_and_slice(store: StockStore) -> None:
    """Metrics come by model, slice and name."""
    evaluation = store.evaluation({"Cash": 0.5}, auc=0.75)

    metrics = results.read_metrics(store.path(evaluation))

    assert metrics == {
        "candidate": {
            (): {"auc": 0.75},
            (("payment_type", "Cash"),): {"auc": 0.5, "example_count": 10.0},
        }
    }


def test_an_empty_directory_has_nothing(tmp_path: Path) -> None:
    """Readers of deleted artifacts return empty results."""
    assert results.read_metrics(tmp_path) == {}
    assert artifact_files.read_statistics(tmp_path) == {}
    assert artifact_files.read_anomalies(tmp_path) == {}
    assert results.read_reasons(tmp_path) == []
    assert artifact_files.read_learning_curves(tmp_path) == {}
    assert artifact_files.read_schema(tmp_path) is None


def test_reasons_name_value_and_bound(tmp_path: Path) -> None:
    """A missed threshold is reported with its value and bound."""
    protos = results.tfma_proto("validation_result_pb2")
    result = protos.ValidationResult()
    failure = result.metric_validations_per_slice.add().failures.add()
    failure.metric_key.name = "auc"
    failure.metric_value.double_value.value = 0.8
    failure.metric_threshold.value_threshold.lower_bound.value = 0.9
    write_records(tmp_path / "validations.tfrecord", [result.SerializeToString()])

    assert results.read_reasons(tmp_path) == [
        "overall: auc is 0.8; it must be at least 0.9"
    ]


def test_real_tfma_works_after_its_protos_alone() -> None:
    """Importing the protos doesn't import TFMA, which can still be imported later."""
    check = (
        "import sys; from pipeline.quality import results;"
        "ours = results.tfma_proto('metrics_for_slice_pb2').MetricsForSlice();"
        "assert 'tensorflow' not in sys.modules;"
        "import tensorflow_model_analysis as tfma;"
        "assert tfma.load_eval_result;"
        "theirs = results.tfma_proto('metrics_for_slice_pb2').MetricsForSlice();"
        "theirs.CopyFrom(ours)"
    )

    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("direction", "order"), [("max", [1, 0, 2]), ("min", [0, 1, 2])]
)
def test_the_best_trial_comes_first(direction: str, order: list[int]) -> None:
    """An AUC is to be high and an error low; failed trials come last."""
    trials = [
        {"trial": 2, "error": "no memory"},
        {"trial": 0, "score": 0.1},
        {"trial": 1, "score": 0.2},
    ]

    found = artifact_files.best_first({"direction": direction, "trials": trials})

    assert [each["trial"] for each in found] == order


def test_another_tuners_results_have_no_trials(tmp_path: Path) -> None:
    """TFX's own executor writes other files; nor has every training a warm start."""
    assert artifact_files.read_trials(tmp_path) == {}
    assert artifact_files.read_warm_start(tmp_path) == {}
    assert artifact_files.read_best_hyperparameters(tmp_path) is None
