"""The API for notebooks, on stores as TFX writes them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from tfx_bsl.coders.example_coder import (
    ExamplesToRecordBatchDecoder,
    RecordBatchToExamplesEncoder,
)

from pipeline import artifacts, cli
from pipeline.columnar.shards import ShardWriter
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.ingestion.tfrecord import read_records
from tests.pipeline.tfx_store import StockStore, train, write_records

BUCKETS = [(0.0, 0.5, 60.0, 6.0), (0.5, 1.0, 40.0, 30.0)]


def run_of(config: Config, name: str = "monday") -> artifacts.Run:
    """Opens a run of the test's store."""
    return artifacts.of_run(name, output=config.output)


def test_newest_run_is_the_last_that_evaluated(
    config: Config, store: StockStore
) -> None:
    """A run that stopped before it had a model isn't the one that notebooks show."""
    train(store, "monday")
    store.ran("tuesday", "CsvExampleGen", outputs={"examples": store.examples()})

    assert artifacts.newest(output=config.output).run_id == "monday"


def test_newest_run_of_a_store_without_models(
    config: Config, store: StockStore
) -> None:
    """Where no run has evaluated a model, the last one is the newest."""
    for run in ("monday", "tuesday"):
        store.ran(run, "CsvExampleGen", outputs={"examples": store.examples()})

    assert artifacts.newest(output=config.output).run_id == "tuesday"


def test_run_by_model_version(config: Config, store: StockStore) -> None:
    """A version leads to the run that trained it."""
    train(store, "monday", version="101")
    train(store, "tuesday", version="102")

    assert artifacts.of_model("101", output=config.output).run_id == "monday"
    assert artifacts.of_model(output=config.output).run_id == "tuesday"


def test_unknown_run_is_told(config: Config, store: StockStore) -> None:
    """An unknown run ends in a sentence with the known ones."""
    train(store, "monday")

    with pytest.raises(UsageError, match="the newest are monday"):
        run_of(config, "sunday")


def test_all_runs_with_their_outcome(config: Config, store: StockStore) -> None:
    """Each run has a row with version, blessing and metrics."""
    train(store, "monday", version="101", auc=0.8)
    train(store, "tuesday", auc=0.7)

    runs = artifacts.all_runs(output=config.output)

    assert list(runs.index) == ["monday", "tuesday"]
    assert runs["version"].tolist() == ["101", None]
    assert runs["blessed"].tolist() == [True, False]
    assert runs["auc"].tolist() == [0.8, 0.7]


def test_path_of_an_output(config: Config, store: StockStore) -> None:
    """An output is found by node and name, a cached one too; another one is told."""
    first = train(store, "monday")
    train(store, "tuesday", examples=first.examples)
    run = run_of(config, "tuesday")

    assert run.path("CsvExampleGen", "examples") == store.path(first.examples)
    with pytest.raises(UsageError, match=r"no output Trainer\.weights.*Trainer\.model"):
        run.path("Trainer", "weights")


def test_missing_artifact_is_told(config: Config, store: StockStore) -> None:
    """Asking a run for what it never wrote names what it wrote."""
    train(store, "monday")

    with pytest.raises(UsageError, match=r"no ModelRun; it has .*Model"):
        run_of(config).learning_curves()


def test_gone_files_are_told(config: Config, store: StockStore) -> None:
    """An artifact whose directory is gone ends in a sentence."""
    train(store, "monday")
    for path in (store.root / "ModelEvaluation").glob("*/*"):
        path.unlink()
    for path in (store.root / "ModelEvaluation").iterdir():
        path.rmdir()

    with pytest.raises(UsageError, match="not there any more"):
        run_of(config).metrics()


def test_feature_table(config: Config, store: StockStore) -> None:
    """The statistics are a row a feature and split."""
    train(store, "monday")

    table = run_of(config).feature_table()

    assert table.loc[("payment_type", "train"), "missing"] == 0.1
    assert table.loc[("payment_type", "eval"), "most frequent"] == "Cash"
    assert table.loc[("fare", "train"), "mean"] == 5


def test_drift_between_equal_splits_is_zero(config: Config, store: StockStore) -> None:
    """Splits of equal shares, and two runs on them, have not drifted."""
    train(store, "monday")
    train(store, "tuesday")

    within = run_of(config).drift()
    since = run_of(config, "tuesday").drift(run_of(config))

    assert within["eval"].tolist() == pytest.approx([0, 0], abs=1e-9)
    assert since["since then"].tolist() == pytest.approx([0, 0], abs=1e-9)


def test_examples_are_rows(config: Config, store: StockStore) -> None:
    """Ingested rows come as a frame: texts as strings, missing values as null."""
    examples = train(store, "monday").examples
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([[1.5], None, [2.0]], pa.list_(pa.float32())),
            pa.array([[b"Cash"], [b"Card"], None], pa.list_(pa.binary())),
        ],
        ["fare", "payment_type"],
    )
    split = store.path(examples) / "Split-train"
    split.mkdir()
    encoded = RecordBatchToExamplesEncoder().encode(batch)
    write_records(split / "data.gz", encoded)

    frame = run_of(config).examples("train")
    two = run_of(config).examples_table("train", rows=2)

    assert frame["fare"].tolist()[::2] == [1.5, 2.0]
    assert frame["fare"].isna().tolist() == [False, True, False]
    assert frame["payment_type"].tolist() == ["Cash", "Card", None]
    assert two.num_rows == 2
    with pytest.raises(UsageError, match="train"):
        run_of(config).examples("test")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[b""], [b"Cash"], [], None], ["", "Cash", None, None]),
        ([[b""], [b""]], ["", ""]),
        ([[], None], [None, None]),
        ([[b"\xff"]], ["\ufffd"]),
    ],
)
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_texts_are_strings_whatever_is_missing(
    values: list[Any], expected: list[Any], kind: pa.DataType
) -> None:
    """Empty and missing texts don't make bytes of a column."""
    column = artifacts._values(pa.array(values, pa.list_(kind)))

    assert column.type == pa.string()
    assert column.to_pylist() == expected


@pytest.fixture
def ingested(config: Config, store: StockStore) -> Path:
    """A run whose examples are shards of Parquet; returns their directory."""
    examples = store.examples()
    store.ran("monday", "ExampleGen", outputs={"examples": examples})
    for split in ("eval", "train"):
        path = store.path(examples) / f"Split-{split}" / "data-00000-of-00001.parquet"
        batch = pa.RecordBatch.from_pydict(
            {
                "fare": pa.array([1.5, None, 2.0], pa.float32()),
                "payment_type": ["Cash", "Größe", None],
                "areas": [[8, 32], None, [7]],
            }
        )
        with ShardWriter(path, batch.schema) as writer:
            writer.write(batch)
    return store.path(examples)


@pytest.mark.usefixtures("ingested")
def test_examples_of_shards(config: Config) -> None:
    """Shards are read as values; a column of several values stays one of lists."""
    table = run_of(config).examples_table("train", rows=2)

    assert table.to_pylist() == [
        {"fare": 1.5, "payment_type": "Cash", "areas": [8, 32]},
        {"fare": None, "payment_type": "Größe", "areas": None},
    ]
    with pytest.raises(UsageError, match="train"):
        run_of(config).examples("test")


@pytest.mark.usefixtures("ingested")
def test_export_writes_tf_examples(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`throughline export examples` writes TFRecords that TFX's readers read."""
    arguments = ["examples", "--out", str(tmp_path), "--output", str(config.output)]

    code = cli.COMMANDS["export"](arguments)

    assert code == 0
    assert f"3 rows in {tmp_path / 'Split-train'}" in capsys.readouterr().out
    (file,) = (tmp_path / "Split-train").iterdir()
    assert file.name == "data-00000-of-00001.tfrecord.gz"
    decoded = ExamplesToRecordBatchDecoder().DecodeBatch(list(read_records(file)))
    assert decoded.to_pylist() == [
        {"areas": [8, 32], "fare": [1.5], "payment_type": [b"Cash"]},
        {"areas": None, "fare": None, "payment_type": ["Größe".encode()]},
        {"areas": [7], "fare": [2.0], "payment_type": None},
    ]


@pytest.fixture
def evaluated(config: Config, store: StockStore) -> artifacts.Run:
    """A run with slices and a calibration plot."""
    evaluation = store.evaluation(
        {"Cash": 0.5, "Card": 0.7}, BUCKETS, auc=0.8, example_count=100.0
    )
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})
    return run_of(config)


def test_metrics_and_slices(evaluated: artifacts.Run) -> None:
    """Overall metrics are by model, slices by name, largest first."""
    assert evaluated.metrics().loc["auc", "candidate"] == 0.8
    assert evaluated.slices().index[0] == "overall"
    assert evaluated.slices("payment_type")["auc"].to_dict() == {
        "payment_type Cash": 0.5,
        "payment_type Card": 0.7,
    }


def test_thresholds_follow_from_the_calibration(evaluated: artifacts.Run) -> None:
    """At 0.5 the 40 rows above it are flagged, and 30 of the 36 positives found."""
    thresholds = evaluated.thresholds()

    row = thresholds.loc[0.5]
    assert (row["flagged"], row["precision"]) == (40, 0.75)
    assert row["recall"] == pytest.approx(30 / 36)
    assert thresholds.loc[0.0, "recall"] == 1


def test_learning_curves(config: Config, store: StockStore) -> None:
    """The curves are by step."""
    model_run = store.artifact("ModelRun")
    curves = {"step": [50, 100], "loss": [0.4, 0.3], "eval_loss": [0.5, 0.4]}
    (store.path(model_run) / "history.json").write_text(json.dumps(curves))
    store.ran("monday", "Trainer", outputs={"model_run": model_run})

    frame = run_of(config).learning_curves()

    assert frame.loc[100].to_dict() == {"loss": 0.3, "eval_loss": 0.4}


def record(config: Config, **values: Any) -> Path:
    """Writes what our runner notes of the run; returns its directory."""
    directory = config.runs_directory / "monday"
    (directory / "logs").mkdir(parents=True)
    dag = [{"id": "Reader", "upstream": []}, {"id": "Gate", "upstream": ["Reader"]}]
    (directory / "dag.json").write_text(json.dumps(dag))
    (directory / "run.json").write_text(json.dumps(values))
    return directory


def test_states_and_failures_of_our_runs(config: Config, store: StockStore) -> None:
    """The record gives states in order; a failed node's log gives the whole cause."""
    store.ran("monday", "Reader", outputs={"examples": store.examples()})
    nodes = {
        "Gate": {"state": "failed", "seconds": 1.5},
        "Reader": {"state": "cached", "seconds": 0.5},
    }
    directory = record(config, outcome="failed", exit_code=3, nodes=nodes)
    (directory / "logs" / "Gate.log").write_text(
        "2026-01-01 10:00:00 E failed\nTraceback (most recent call last):\n"
        "pipeline.errors.DataRefusedError: bad data:\n  fare: too large\n"
        "2026-01-01 10:00:01 I over\n"
    )

    run = run_of(config)

    assert run.ending() == "data refused"
    assert run.node_states() == {"Reader": ("cached", 0.5), "Gate": ("failed", 1.5)}
    assert run.failures() == {"Gate": "bad data:\n  fare: too large"}


def test_states_of_another_runner_s_run(config: Config, store: StockStore) -> None:
    """Without a record, states and order come from the metadata store."""
    train(store, "monday")

    run = run_of(config)

    assert run.ending() == "not blessed"
    assert run.upstream()["Trainer"] == ["CsvExampleGen", "SchemaGen"]
    assert run.node_states()["Trainer"][0] == "done"


def test_no_live_model_is_told(config: Config) -> None:
    """Without a model in serving there is nothing to ask."""
    with pytest.raises(UsageError, match="No model is live"):
        artifacts.live_model(output=config.output)


def test_missing_values_become_what_the_model_expects() -> None:
    """Nulls are sent as values that no column holds, by the type of the input."""
    import tensorflow as tf

    values = pd.Series([None, 3])

    assert artifacts._filled(values, tf.int64) == [-(2**63), 3]
    assert artifacts._filled(pd.Series([None, "Cash"]), tf.string) == ["", "Cash"]
    assert str(artifacts._filled(values, tf.float32)) == "[nan, 3.0]"
