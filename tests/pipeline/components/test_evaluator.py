"""The Evaluator's executor does what the stock one does, on either format."""

import copy
import json
import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx.components.evaluator import executor as stock
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import json_utils, proto_utils
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from models.names import RULE_FILE
from models.signatures import COLUMNAR
from pipeline.columnar.engine import cores, limit_workers
from pipeline.columnar.progress import Progress
from pipeline.columnar.shards import ShardWriter
from pipeline.components.data_gate import DataVerdict
from pipeline.components.evaluator import Executor
from pipeline.config import IN_PROCESS_BEAM_RUNNER
from pipeline.ingestion.splitting import AppliedRule, SplitRule, unseen
from pipeline.quality.gates import Settings
from pipeline.quality.results import (
    OVERALL,
    read_gates,
    read_metrics,
    read_reasons,
)
from pipeline.store import properties
from pipeline.trust.coverage import Cells, Counts, to_bytes

ROWS = 80
SPEC = {
    "fare": tf.io.VarLenFeature(tf.float32),
    "color": tf.io.VarLenFeature(tf.string),
}
TENSORS = {
    "fare": tf.SparseTensorSpec([None, None], tf.float32),
    "color": tf.SparseTensorSpec([None, None], tf.string),
}


class Scorer(tf.Module):
    """Scores by the fare; high fares are positive, and blue ones weigh half."""

    def __init__(self, slope: float, *, columns: bool) -> None:
        """Sets what a dollar adds, and whether the model takes columns."""
        super().__init__()
        self.slope = tf.Variable(slope)
        if columns:
            function = tf.function(self._answers, input_signature=[TENSORS])
            setattr(self, COLUMNAR, function)

    def signatures(self) -> dict[str, Any]:
        """Returns the signatures that an EvalConfig names."""
        examples = tf.TensorSpec([None], tf.string, name="examples")
        return {
            name: tf.function(
                lambda examples, name=name: self._answers(
                    tf.io.parse_example(examples, SPEC)
                )[name]
            ).get_concrete_function(examples)
            for name in ("serving_default", "transform_features")
        }

    def _answers(self, raw: dict[str, tf.SparseTensor]) -> dict[str, Any]:
        fare = tf.sparse.to_dense(raw["fare"])[:, 0]
        color = tf.sparse.to_dense(raw["color"])[:, 0]
        return {
            "serving_default": {"probability": tf.sigmoid(self.slope * (fare - 5.0))},
            "transform_features": {
                "label": tf.cast(fare > 4.5, tf.int64),
                "weight": tf.where(color == "blue", 0.5, 1.0),
            },
        }


@dataclass(frozen=True)
class Inputs:
    """What the node is given."""

    artifacts: dict[str, list[Any]]
    properties: dict[str, Any]


@dataclass(frozen=True)
class Outputs:
    """What the node made."""

    artifacts: dict[str, list[Any]]

    @property
    def evaluation(self) -> Path:
        """The evaluation's directory."""
        return Path(self.artifacts["evaluation"][0].uri)

    @property
    def blessing(self) -> tuple[dict[str, Any], list[str]]:
        """The verdict's properties and files."""
        (artifact,) = self.artifacts["blessing"]
        noted = artifact.mlmd_artifact.custom_properties
        values = {k: v.string_value or v.int_value for k, v in noted.items()}
        return values, [path.name for path in Path(artifact.uri).iterdir()]


def eval_config(*more: str, least: float = 0.5) -> config_pb2.EvalConfig:
    """Metrics with thresholds on AUC, by color."""
    names = ("AUC", "BinaryAccuracy", "Calibration", "ExampleCount", *more)
    metrics = [config_pb2.MetricConfig(class_name=name) for name in names]
    metrics[0].threshold.value_threshold.lower_bound.value = least
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name="serving_default",
                prediction_key="probability",
                preprocessing_function_names=["transform_features"],
                label_key="label",
                example_weight_key="weight",
            )
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=["color"]),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
    )


def batch() -> pa.RecordBatch:
    """The rows of the split "test"."""
    numbers = np.random.default_rng(1)
    fares = [[fare] for fare in numbers.uniform(0, 10, ROWS).astype(np.float32)]
    colors = [[c.encode()] for c in numbers.choice(["red", "blue"], ROWS)]
    return pa.RecordBatch.from_arrays(
        [
            pa.array(fares, pa.large_list(pa.float32())),
            pa.array(colors, pa.large_list(pa.large_binary())),
        ],
        ["fare", "color"],
    )


def write_examples(path: Path, *, parquet: bool) -> Any:
    """Writes the rows, in two shards."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(path)
    artifact.split_names = artifact_utils.encode_split_names(["test"])
    formats = example_gen_pb2.PayloadFormat
    examples_utils.set_payload_format(
        artifact, formats.FORMAT_PARQUET if parquet else formats.FORMAT_TF_EXAMPLE
    )
    split = path / "Split-test"
    split.mkdir(parents=True)
    rows = batch()
    for number, part in enumerate((rows.slice(0, 30), rows.slice(30))):
        if parquet:
            name = f"{split}/data-{number}.parquet"
            with ShardWriter(name, part.schema) as writer:
                writer.write(part)
        else:
            with tf.io.TFRecordWriter(f"{split}/data-{number}.gz", "GZIP") as records:
                for example in RecordBatchToExamplesEncoder().encode(part):
                    records.write(example)
    return artifact


def save_model(path: Path, slope: float, number: int, *, columns: bool) -> Any:
    """Saves a model as Trainer does."""
    scorer = Scorer(slope, columns=columns)
    tf.saved_model.save(
        scorer, str(path / "Format-Serving"), signatures=scorer.signatures()
    )
    model = standard_artifacts.Model()
    model.uri, model.id = str(path), number
    return model


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Inputs]:
    """Makes the node's inputs; models and examples are written once."""
    path = tmp_path_factory.mktemp("inputs")
    models = {
        columns: [
            save_model(path / f"{columns}-{at}", slope, at, columns=columns)
            for at, slope in ((1, 0.8), (2, -0.1))
        ]
        for columns in (False, True)
    }
    examples = {
        parquet: write_examples(path / f"examples-{parquet}", parquet=parquet)
        for parquet in (False, True)
    }

    def make(
        config: config_pb2.EvalConfig,
        *,
        parquet: bool = True,
        columns: bool = True,
        baseline: bool = True,
    ) -> Inputs:
        first, second = models[columns]
        return Inputs(
            {
                "examples": [examples[parquet]],
                "model": [first],
                **({"baseline_model": [second]} if baseline else {}),
            },
            {
                "eval_config": proto_utils.proto_to_json(config),
                "example_splits": json_utils.dumps(["test"]),
                "current_component_id": "Evaluator",
            },
        )

    return make


Make = Callable[..., Inputs]


def run(
    executor: type[BaseBeamExecutor],
    given: Inputs,
    path: Path,
    engine: str = IN_PROCESS_BEAM_RUNNER,
) -> Outputs:
    """Runs the node."""
    made = {
        "evaluation": [standard_artifacts.ModelEvaluation()],
        "blessing": [standard_artifacts.ModelBlessing()],
    }
    for name, (artifact,) in made.items():
        artifact.uri = str(path / name)
        (path / name).mkdir(parents=True)
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=[engine],
        tmp_dir=str(path / "tmp"),
        unique_id="1",
    )
    executor(context).Do(given.artifacts, made, given.properties)
    return Outputs(made)


@pytest.mark.parametrize(("parquet", "total"), [(True, ROWS), (False, None)])
def test_rows_are_reported(
    inputs: Make,
    tmp_path: Path,
    reports: list[Progress | str],
    parquet: bool,  # noqa: FBT001 - a parameter of the test
    total: int | None,
) -> None:
    """Rows are counted once for all models; only columnar files know the total."""
    run(Executor, inputs(eval_config(), parquet=parquet), tmp_path)

    assert [(r.done, r.total) for r in reports[-1:] if isinstance(r, Progress)] == [
        (ROWS, total)
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_are_bounded(
    inputs: Make, tmp_path: Path, threads: set[int], workers: int
) -> None:
    """--workers 1 leaves all shards to the node's own thread."""
    limit_workers(workers)

    run(Executor, inputs(eval_config()), tmp_path)

    assert len(threads) <= workers
    assert (threads == {threading.get_ident()}) == (workers == 1 or cores() == 1)


def test_outputs_are_those_of_the_stock_evaluator(inputs: Make, tmp_path: Path) -> None:
    """The same verdict, properties, files' contents; on columns as on tf.Examples."""
    config = eval_config()
    theirs = run(stock.Executor, inputs(config, parquet=False), tmp_path / "stock")

    ours = run(Executor, inputs(config), tmp_path / "ours")

    (their_properties, their_files), (properties, files) = (
        theirs.blessing,
        ours.blessing,
    )
    assert files == their_files == ["BLESSED"]
    # The models differ in their place only.
    for name in ("current_model", "baseline_model"):
        del properties[name], their_properties[name]
    assert properties == their_properties
    assert properties["baseline_model_id"] == 2
    expected = read_metrics(theirs.evaluation)
    found = read_metrics(ours.evaluation)
    assert found.keys() == expected.keys() == {"candidate", "baseline"}
    for model, slices in expected.items():
        assert found[model].keys() == slices.keys()
        for where, metrics in slices.items():
            assert found[model][where] == pytest.approx(metrics, abs=1e-6)
    loaded = tfma.load_eval_result(str(ours.evaluation), model_name="candidate")
    assert (
        loaded.config
        == tfma.load_eval_result(str(theirs.evaluation), model_name="candidate").config
    )
    assert len(loaded.slicing_metrics) == 3


@pytest.fixture(scope="module")
def of_columns(inputs: Make, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    """What comes of columnar files and a model that takes columns, without Beam."""
    config = eval_config("MeanSquaredError")
    return run(Executor, inputs(config), tmp_path_factory.mktemp("columns"))


@pytest.mark.parametrize(
    ("given", "engine"),
    [
        ({"parquet": False}, IN_PROCESS_BEAM_RUNNER),
        ({"columns": False}, IN_PROCESS_BEAM_RUNNER),
        ({}, "--runner=BundleBasedDirectRunner"),
    ],
    ids=str,
)
def test_any_format_model_and_engine_gives_the_same(
    inputs: Make,
    of_columns: Outputs,
    tmp_path: Path,
    given: dict[str, bool],
    engine: str,
) -> None:
    """TFRecord files, models that only take tf.Examples, and Beam, all the same."""
    config = eval_config("MeanSquaredError")

    found = run(Executor, inputs(config, **given), tmp_path / "other", engine)

    metrics = read_metrics(found.evaluation)
    assert metrics["candidate"].keys() == {
        (),
        (("color", "red"),),
        (("color", "blue"),),
    }
    for model, slices in read_metrics(of_columns.evaluation).items():
        for where, values in slices.items():
            assert metrics[model][where] == pytest.approx(values, abs=1e-6)


def test_a_missed_threshold_blesses_nothing(inputs: Make, tmp_path: Path) -> None:
    """The verdict's file, property and reason, for a first model."""
    given = inputs(eval_config(least=1.1), baseline=False)

    made = run(Executor, given, tmp_path)

    properties, files = made.blessing
    assert files == ["NOT_BLESSED"]
    assert properties["blessed"] == 0
    assert "baseline_model_id" not in properties
    reasons = read_reasons(made.evaluation)
    assert len(reasons) == 3
    assert all(reason.endswith("it must be at least 1.1") for reason in reasons)


@pytest.mark.parametrize("all_rows", [True, False])
def test_rare_conditions_are_slices(
    inputs: Make, tmp_path: Path, *, all_rows: bool
) -> None:
    """Cells that training hardly has, by the gate; all rows stay a slice."""
    config = eval_config()
    del config.slicing_specs[1 if all_rows else 0 :]
    given = inputs(config, baseline=False)
    verdict = DataVerdict()
    verdict.uri = str(tmp_path / "verdict")
    verdict.set_int_custom_property(properties.MIN_ROWS_OF_CELL, 10)
    cells: dict[str, Counts] = {
        "train": {("color",): Cells({("blue",): 90, ("red",): 9})},
        "test": {("color",): Cells({("blue",): 40, ("red",): 40})},
    }
    (tmp_path / "verdict").mkdir()
    (tmp_path / "verdict" / "cells.parquet").write_bytes(to_bytes(cells))

    made = run(
        Executor,
        replace(given, artifacts={**given.artifacts, "verdict": [verdict]}),
        tmp_path,
    )

    slices = read_metrics(made.evaluation)["candidate"]
    assert slices.keys() == {OVERALL, (("color", "red"),)}
    assert 0 < slices[("color", "red"),]["example_count"] < ROWS


def test_a_config_without_thresholds_blesses_nothing(
    inputs: Make, tmp_path: Path
) -> None:
    """Metrics without thresholds are measured, and there is no verdict."""
    config = eval_config()
    config.metrics_specs[0].metrics[0].ClearField("threshold")

    made = run(Executor, inputs(config), tmp_path)

    assert made.blessing == ({}, [])
    assert read_metrics(made.evaluation)["candidate"][()]["example_count"] > 0


def test_an_unknown_metric_is_computed_by_tfma_and_named(
    inputs: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It has a value in every slice, and the log says that it is slow."""
    config = eval_config("MeanSquaredLogarithmicError")

    with caplog.at_level(logging.WARNING):
        made = run(Executor, inputs(config), tmp_path)

    assert "TFMA computes MeanSquaredLogarithmicError row by row" in caplog.text
    for slices in read_metrics(made.evaluation).values():
        values = [m["mean_squared_logarithmic_error"] for m in slices.values()]
        assert min(values) > 0


def test_what_only_tfx_does_tfx_does(
    inputs: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Cross slices of columnar examples are compared by TFX, and the log says so."""
    config = eval_config()
    config.cross_slicing_specs.add(
        baseline_spec=config_pb2.SlicingSpec(),
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=["color"])],
    )

    with caplog.at_level(logging.WARNING):
        made = run(Executor, inputs(config), tmp_path)

    assert "The EvalConfig has cross_slicing_specs: TFX's Evaluator" in caplog.text
    records = tfma.load_metrics(str(made.evaluation))
    assert any(record.HasField("cross_slice_key") for record in records)
    # A difference between slices is not taken for a metric of all rows.
    assert read_metrics(made.evaluation)["candidate"][()]["auc"] > 0.9


def test_a_label_that_is_nowhere_is_named(inputs: Make, tmp_path: Path) -> None:
    """The message names it, its place in the EvalConfig, and what there is."""
    config = eval_config()
    config.model_specs[0].label_key = "tip"

    with pytest.raises(ValueError, match="label_key 'tip' is neither an output of"):
        run(Executor, inputs(config), tmp_path)


def test_a_signature_that_is_nowhere_is_named(inputs: Make, tmp_path: Path) -> None:
    """The message names it and those that the model has."""
    config = eval_config()
    config.model_specs[0].signature_name = "score"

    with pytest.raises(ValueError, match="no signature score; it has serving_default"):
        run(Executor, inputs(config), tmp_path)


def rule(*columns: str) -> str:
    """A rule by which rows are split, as ingestion notes it."""
    parts = {"train": 1, "eval": 1, "test": 2}
    applied = SplitRule(parts, hash_columns=columns)
    return AppliedRule.of(applied, {"fare": "FLOAT", "color": "BYTES"}).to_json()


def evaluated_rows(given: Inputs, before: str, path: Path) -> tuple[Outputs, Any]:
    """Evaluates with a baseline that was trained under another split."""
    examples = copy.deepcopy(given.artifacts["examples"][0])
    baseline = copy.deepcopy(given.artifacts["baseline_model"][0])
    examples.set_string_custom_property(properties.SPLIT_RULE, rule("fare", "color"))
    shutil.copytree(baseline.uri, path / "baseline")
    baseline.uri = str(path / "baseline")
    extras = path / "baseline" / "Format-Serving" / "assets.extra"
    extras.mkdir(exist_ok=True)
    (extras / RULE_FILE).write_text(before)
    moved = {"examples": [examples], "baseline_model": [baseline]}
    inputs = replace(given, artifacts={**given.artifacts, **moved})
    made = run(Executor, inputs, path / "out")
    return made, read_metrics(made.evaluation)


def weight_of(mask: Any) -> float:
    """What some of the rows weigh: blue ones half."""
    colors = [cell[0] for cell in batch().column("color").to_pylist()]
    return float(np.where(np.array(colors) == b"blue", 0.5, 1.0)[mask].sum())


def test_rows_that_the_baseline_may_have_seen_do_not_count(
    inputs: Make, tmp_path: Path
) -> None:
    """When the split has moved, only what is a test row by both splits is evaluated."""
    before, now = rule("fare"), rule("fare", "color")
    rules = [AppliedRule.from_mapping(json.loads(text)) for text in (before, now)]
    mask = unseen(rules, batch())

    made, metrics = evaluated_rows(inputs(eval_config()), before, tmp_path)

    assert 0 < mask.sum() < ROWS
    for model in ("candidate", "baseline"):
        assert metrics[model][OVERALL]["example_count"] == weight_of(mask)
    assert made.blessing[0]["baseline_model_id"] == 2


def test_the_same_split_leaves_every_row(inputs: Make, tmp_path: Path) -> None:
    """A baseline whose rows were split in the same way is compared on all of them."""
    _, metrics = evaluated_rows(inputs(eval_config()), rule("fare", "color"), tmp_path)

    assert metrics["baseline"][OVERALL]["example_count"] == weight_of(
        np.ones(ROWS, bool)
    )


def test_without_unseen_rows_nothing_is_compared(inputs: Make, tmp_path: Path) -> None:
    """Rows that are all known to the baseline judge the candidate alone."""
    gone = json.loads(rule("fare")) | {"kinds": {"a column that is gone": "INT"}}

    made, metrics = evaluated_rows(inputs(eval_config()), json.dumps(gone), tmp_path)

    assert set(metrics) == {"candidate"}
    assert metrics["candidate"][OVERALL]["example_count"] == weight_of(
        np.ones(ROWS, bool)
    )
    assert "baseline_model_id" not in made.blessing[0]


def gated(given: Inputs, *rules: str, best: Any = None) -> Inputs:
    """Adds rules to what the node is given, and a third model."""
    settings = Settings(rules, 0.95, 5)
    more = {"best_model": [best]} if best else {}
    return Inputs(
        {**given.artifacts, **more}, {**given.properties, "gates": settings.to_json()}
    )


@pytest.mark.parametrize(
    ("rule", "blessed"),
    [("accuracy >= 0.4", 1), ("accuracy >= 1", 0), ("auc by color loss <= 0", 1)],
)
def test_rules_decide_beside_the_thresholds(
    inputs: Make, tmp_path: Path, rule: str, blessed: int
) -> None:
    """A broken rule withholds the blessing, and is the reason that is read."""
    made = run(Executor, gated(inputs(eval_config(), baseline=True), rule), tmp_path)

    properties_of, _ = made.blessing
    reasons = read_reasons(made.evaluation)
    assert properties_of["blessed"] == blessed
    assert bool(reasons) is not bool(blessed)
    found = read_gates(made.evaluation)
    assert {each["rule"] for each in found["findings"]} == {rule}
    assert found["threshold"] == 0.5


def test_the_best_recent_model_is_compared_with_on_the_same_rows(
    inputs: Make, tmp_path: Path
) -> None:
    """It is a third model that is scored, and the rule names it."""
    given = inputs(eval_config(), baseline=True)
    (best,) = given.artifacts["baseline_model"]

    made = run(Executor, gated(given, "auc loss <= 0.1", best=best), tmp_path)

    findings = read_gates(made.evaluation)["findings"]
    assert [each["against"] for each in findings] == ["live", "best"]
    assert findings[0]["other"] == findings[1]["other"]
