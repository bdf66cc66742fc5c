"""`throughline lineage` on real runs: ours, and one of a stock TFX pipeline."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow_model_analysis as tfma

from pipeline.caching.fingerprint import digest
from pipeline.quality import results
from tests.e2e.runs import PROJECT, Finished

pytestmark = pytest.mark.e2e

STOCK_PIPELINE = """
import sys
from tfx.components import CsvExampleGen, StatisticsGen
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.types.standard_artifacts import Examples, Model

@component
def Counter(examples: InputArtifact[Examples], model: OutputArtifact[Model]):
    pass

data, output = sys.argv[1:]
runner = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
examples = CsvExampleGen(input_base=data)
LocalDagRunner().run(Pipeline(
    pipeline_name="counting",
    pipeline_root=output + "/root",
    components=[examples, StatisticsGen(examples=examples.outputs["examples"]),
                Counter(examples=examples.outputs["examples"])],
    metadata_connection_config=sqlite_metadata_connection_config(
        output + "/metadata.db"),
    beam_pipeline_args=["--runner=" + runner],
))
"""


def lineage(output: Path, *asked: str) -> dict[str, Any]:
    """Asks the installed command for JSON."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pipeline.cli", "lineage", *asked),
            *("--json", "--output", output),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


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
    assert [v["passed"] for v in model["verdicts"]] == [True] * 4


def test_two_models_of_the_main_job_differ_in_the_seed(
    main_run: Finished, second_run: Finished
) -> None:
    """The first and the second model differ in seed and metrics, in nothing else."""
    versions = [path.name for path in second_run.versions]

    found = lineage(second_run.output, "diff", *versions)

    # The first run is a clone's, whose schema has another path.
    told = [c for c in found["parameters"] if not c["what"].endswith("schema_file")]
    assert told == [{"what": "Trainer.seed", "before": "1", "after": "2"}]
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


def test_store_of_a_stock_pipeline(
    tmp_path: Path, small_data: Callable[..., Path]
) -> None:
    """A store that stock TFX wrote answers too: file, rows and model."""
    data = small_data()
    subprocess.run(
        [sys.executable, "-c", STOCK_PIPELINE, data, tmp_path],
        check=True,
        capture_output=True,
    )

    model = lineage(tmp_path, "model")
    found = lineage(tmp_path, "data", "trips.csv")

    assert (model["pipeline"], model["versions"]) == ("counting", [])
    assert {step["node"] for step in model["steps"]} == {
        "CsvExampleGen",
        "StatisticsGen",
        "Counter",
    }
    assert model["data"][0]["files"][0]["path"] == str(data / "trips.csv")
    assert model["data"][0]["files"][0]["unchanged"] is True
    assert sum(model["data"][0]["rows"].values()) == 600
    assert [use["artifact"] for use in found["models"]] == [model["artifact"]]
