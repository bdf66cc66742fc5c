"""Literal metrics, written and read back by TFMA and by our own reader."""

from pathlib import Path

import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2, validation_result_pb2

from pipeline.quality.intervals import Interval
from pipeline.quality.results import OVERALL, read_intervals, read_metrics
from pipeline.quality.tfma_files import Evaluated, Origin, write

AUC = metric_types.MetricKey(name="auc")
LOSS = metric_types.MetricKey(name="loss")
RED = (("color", b"red"),)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """An evaluation of all rows and of red ones, which have no AUC."""
    evaluated = Evaluated(
        config_pb2.EvalConfig(model_specs=[config_pb2.ModelSpec()]),
        [((), {AUC: 0.75, LOSS: 0.5}), (RED, {AUC: float("nan"), LOSS: 0.25})],
        {(): {AUC: Interval(0.7, 0.8)}},
        validation_result_pb2.ValidationResult(validation_ok=True),
    )
    write(str(tmp_path / "out"), evaluated, Origin("rows", {"": "model"}))
    return tmp_path / "out"


def test_metrics_are_read_as_they_were_written(written: Path) -> None:
    """An undefined metric is absent; an interval doesn't change the metric."""
    assert read_metrics(written)["candidate"] == {
        OVERALL: {"auc": 0.75, "loss": 0.5},
        (("color", "red"),): {"loss": 0.25},
    }


def test_intervals_are_beside_their_metrics(written: Path) -> None:
    """Only the metric with an interval has one."""
    assert read_intervals(written) == {"candidate": {OVERALL: {"auc": (0.7, 0.8)}}}


def test_tfma_reads_the_files(written: Path) -> None:
    """TFMA has the metrics, the verdict and what was evaluated."""
    result = tfma.load_eval_result(str(written))

    metrics = {key: found[""][""] for key, found in result.slicing_metrics}
    assert metrics[()]["auc"]["boundedValue"]["value"] == 0.75
    assert metrics[("color", "red"),] == {"loss": {"doubleValue": 0.25}}
    assert result.data_location == "rows"
    assert tfma.load_validation_result(str(written)).validation_ok
