"""`throughline lineage` on the metadata store of a stock TFX pipeline."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.runs import lineage
from tests.e2e.warm import WarmProcess

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


def test_store_of_a_stock_pipeline(
    tmp_path: Path, small_data: Callable[..., Path], warm: WarmProcess
) -> None:
    """A store that stock TFX wrote answers too: file, rows and model."""
    data, program = small_data(), tmp_path / "stock.py"
    program.write_text(STOCK_PIPELINE)

    code, text = warm.run_script(program, data, tmp_path)
    assert code == 0, text

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
