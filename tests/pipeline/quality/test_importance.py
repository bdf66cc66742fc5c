"""Permutation importance: what a metric loses without a column."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from tensorflow_model_analysis.proto import config_pb2

from pipeline.quality.importance import Judge, importance
from pipeline.quality.scoring import EvaluationError

ROWS = 2000
COLUMNS = ("strong", "noise", "twin", "other_twin")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of a strong column and of the mean of two; noise it ignores."""
    path = str(tmp_path_factory.mktemp("model"))
    spec = [tf.TensorSpec([None], tf.float32, name=name) for name in COLUMNS]

    @tf.function(input_signature=spec)
    def score(
        strong: tf.Tensor, noise: tf.Tensor, twin: tf.Tensor, other_twin: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        del noise
        return {"score": tf.sigmoid(3 * strong + (twin + other_twin) / 2)}

    tf.saved_model.save(tf.Module(), path, signatures={"serving_default": score})
    return path


@pytest.fixture(scope="module")
def batch() -> pa.RecordBatch:
    """Rows whose label is random with the model's own probability."""
    chance = np.random.default_rng(1)
    strong, noise, twin = chance.normal(size=(3, ROWS)).astype(np.float32)
    positive = chance.random(ROWS) < 1 / (1 + np.exp(-(3 * strong + twin)))
    columns = dict(zip(COLUMNS, (strong, noise, twin, twin), strict=True))
    lists = {name: pa.array([[v] for v in value]) for name, value in columns.items()}
    large = pa.large_list(pa.float32())
    return pa.RecordBatch.from_pydict(
        {
            **{name: column.cast(large) for name, column in lists.items()},
            "label": pa.array([[int(p)] for p in positive]),
        }
    )


def config(*metrics: config_pb2.MetricConfig) -> config_pb2.EvalConfig:
    """An EvalConfig of two models and some slices, as a run has it."""
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(label_key="label"),
            config_pb2.ModelSpec(name="baseline", label_key="label", is_baseline=True),
        ],
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=["strong"])],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
    )


def auc() -> config_pb2.MetricConfig:
    """The metric that a blessing depends on."""
    metric = config_pb2.MetricConfig(class_name="AUC")
    metric.threshold.value_threshold.lower_bound.value = 0.6
    return metric


def test_what_the_model_uses_is_important(saved: str, batch: pa.RecordBatch) -> None:
    """In the order of its effect; what the model ignores loses exactly nothing."""
    judge = Judge(
        saved, config(config_pb2.MetricConfig(class_name="MeanLabel"), auc()), batch
    )

    found = importance(judge, COLUMNS, tolerance=0.002)

    assert found.metric == "auc"
    assert found.value == pytest.approx(0.93, abs=0.02)
    assert found.losses["noise"].mean == found.losses["noise"].spread == 0.0
    assert found.losses["strong"].mean > 0.2
    assert 0.01 < found.losses["twin"].mean < 0.05
    assert (found.useless, found.together) == (("noise",), 0.0)


def test_of_two_columns_that_repeat_each_other_one_is_needed(
    saved: str, batch: pa.RecordBatch
) -> None:
    """Each alone may go, so they are also shuffled together."""
    judge = Judge(saved, config(auc()), batch)
    alone = judge.without(["twin"], np.random.default_rng(1))

    found = importance(judge, COLUMNS, tolerance=1.5 * alone / judge.value)

    assert found.useless[0] == "noise"
    assert len(set(found.useless) & {"twin", "other_twin"}) == 1
    assert found.together <= 1.5 * alone


def test_lower_may_be_better(saved: str, batch: pa.RecordBatch) -> None:
    """A loss of the log loss is its rise."""
    metric = config_pb2.MetricConfig(class_name="BinaryCrossEntropy")
    metric.threshold.value_threshold.upper_bound.value = 0.5

    judge = Judge(saved, config(metric), batch)

    assert judge.metric == "binary_crossentropy"
    assert judge.without(["strong"], np.random.default_rng(1)) > 0.3
    assert judge.loss_of(judge.answers.scored.predictions) == 0.0


def test_labels_stay_those_of_the_rows(saved: str, batch: pa.RecordBatch) -> None:
    """A column that the label is made of can be shuffled like any other."""
    named = config(auc())
    named.model_specs[0].label_key = "strong"
    binary = pa.array([[float(v > 0)] for (v,) in batch["strong"].to_pylist()])
    rows = batch.set_column(0, "strong", binary.cast(pa.large_list(pa.float32())))

    judge = Judge(saved, named, rows)

    assert judge.value > 0.95
    assert judge.without(["strong"], np.random.default_rng(1)) > 0.3


def test_a_metric_is_needed(saved: str, batch: pa.RecordBatch) -> None:
    """Without one, the EvalConfig is what has to change."""
    with pytest.raises(EvaluationError, match="has no metrics"):
        Judge(saved, config(), batch)

    plot = config_pb2.MetricConfig(class_name="CalibrationPlot")
    with pytest.raises(EvaluationError, match="no metric that is one number"):
        Judge(saved, config(plot), batch)
