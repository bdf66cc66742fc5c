"""`throughline lineage` on the main job's runs."""

from pathlib import Path

import pytest
import tensorflow_model_analysis as tfma

from pipeline.caching.fingerprint import digest
from pipeline.quality import results
from tests.e2e.runs import Finished, lineage

pytestmark = pytest.mark.e2e


def test_live_model_of_the_main_job(second_run: Finished) -> None:
    """The live model has its data's content, its settings, its code and its metrics."""
    version = second_run.versions[-1].name
    model = lineage(second_run.output, "model", version)

    (data,) = model["data"]
    (file,) = data["files"]
    assert model["live"]
    # Other tests run in the same place, and may have pushed the same model again.
    assert version in model["versions"]
    assert file["sha256"] == digest(Path(file["path"]).read_bytes())
    assert sum(data["rows"].values()) == 15_002
    assert model["parameters"]["Trainer"]["custom_config"]["seed"] == 2
    assert set(model["code"]) >= {"ExampleGen", "Transform", "Trainer"}
    assert model["metrics"] == second_run.metrics()
    assert [v["passed"] for v in model["verdicts"]] == [True] * 5


def test_two_models_of_the_main_job_differ_in_the_seed(
    main_run: Finished, second_run: Finished
) -> None:
    """The first and the second model differ in seed and metrics, in nothing else."""
    versions = [path.name for path in second_run.versions]

    found = lineage(second_run.output, "diff", *versions)

    changed = {"what": "Trainer.seed", "before": "1", "after": "2"}
    assert found["parameters"] == [changed]
    assert {c["what"] for c in found["metrics"]} >= {"auc", "binary_accuracy"}
    for same in ("data", "schema", "code", "packages"):
        assert found[same] == []


def test_sample_leads_to_both_models(second_run: Finished) -> None:
    """The sample's file leads to both models."""
    found = lineage(second_run.output, "data", "taxi.csv")

    assert len(found["models"]) >= 2
    versions = {version for model in found["models"] for version in model["versions"]}
    assert versions >= {path.name for path in second_run.versions}


def test_readers_agree_with_tfma(second_run: Finished) -> None:
    """What is read without TFMA is what TFMA itself reads."""
    directory = second_run.output_of("Evaluator", "evaluation")

    ours = results.read_metrics(directory)

    theirs = {
        (entry.key.model_name, entry.key.name, str(record.slice_key)): repr(
            entry.value.double_value.value
        )
        for record in tfma.load_metrics(str(directory))
        for entry in record.metric_keys_and_values
        if not entry.key.is_diff and entry.value.HasField("double_value")
    }
    # As text, because some slices have no calibration: NaN is not equal to itself.
    values = [
        repr(value)
        for model in ours.values()
        for metrics in model.values()
        for value in metrics.values()
    ]
    assert sorted(values) == sorted(theirs.values())
    assert len(ours["candidate"]) > 20
