"""400 taxi trips written by rule, and everything made from them once."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata.dataset_metadata import DatasetMetadata
from tensorflow_transform.tf_metadata.metadata_io import write_metadata

from models import features, trainer
from models.declared import RAW_COLUMNS
from models.names import HISTORY_FILE
from models.preprocessing import preprocessing_fn
from pipeline.columnar import progress
from pipeline.columnar.progress import Progress
from pipeline.columnar.shards import ShardWriter

Row = dict[str, Any]
Spec = dict[str, Any]
Analyze = Callable[..., tft.TFTransformOutput]

BEAM_RUNNER = "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
TEXTS = (features.PAYMENT_TYPE, features.COMPANY)
WHOLE_NUMBERS = (
    features.TRIP_SECONDS,
    features.TRIP_START_MONTH,
    features.TRIP_START_DAY,
    features.TRIP_START_HOUR,
    features.PICKUP_COMMUNITY_AREA,
    features.DROPOFF_COMMUNITY_AREA,
)


def _trip(index: int) -> Row:
    """By card 3 dollars up to a fare of 14, then 1; every 20th tip is lost."""
    by_card = index % 2 == 0
    fare = 4.0 + index * 7 % 40 / 2
    tips = (3.0 if fare < 14 else 1.0) if by_card else 0.0
    return {
        features.FARE: fare,
        features.TIPS: None if index % 20 == 19 else tips,
        features.PAYMENT_TYPE: "Credit Card" if by_card else "Cash",
        features.COMPANY: ("Blue Cab", "Green Cab", None)[index % 3]
        if index != 5
        else "Seen Once",
        features.TRIP_MILES: index % 9 / 2,
        features.TRIP_SECONDS: 60 * (index % 30) if index % 50 else None,
        features.TRIP_START_MONTH: 1 + index % 12,
        features.TRIP_START_DAY: 1 + index % 7,
        features.TRIP_START_HOUR: index % 24,
        # Mean 42 and standard deviation 1.
        features.PICKUP_LATITUDE: 41.0 if index % 4 < 2 else 43.0,
        features.PICKUP_LONGITUDE: -87.6 - index % 5 / 100,
        features.DROPOFF_LATITUDE: 41.9 if index % 10 else None,
        features.DROPOFF_LONGITUDE: -87.7 if index % 10 else None,
        features.PICKUP_COMMUNITY_AREA: 1 + index % 77,
        features.DROPOFF_COMMUNITY_AREA: 1 + index % 77 if index % 10 else None,
    }


def raw_spec() -> Spec:
    """Every column may be missing, as in the reviewed schema."""
    dtypes = dict.fromkeys((*RAW_COLUMNS, features.TIPS), tf.float32)
    dtypes |= dict.fromkeys(TEXTS, tf.string) | dict.fromkeys(WHOLE_NUMBERS, tf.int64)
    return {name: tf.io.VarLenFeature(dtype) for name, dtype in dtypes.items()}


def encode(row: Row) -> bytes:
    """Serializes a row as a tf.Example; None is left out."""
    example = tf.train.Example()
    for name, value in row.items():
        values = value if isinstance(value, list) else [value]
        lists = example.features.feature[name]
        match value:
            case None:
                del example.features.feature[name]
            case bytes() | str():
                lists.bytes_list.value.append(tf.compat.as_bytes(value))
            case int():
                lists.int64_list.value.extend(values)
            case _:
                lists.float_list.value.extend(values)
    return example.SerializeToString()


def write_shard(path: Path, rows: Sequence[Row], group_rows: int = 50_000) -> None:
    """Writes transformed rows as Transform does."""
    batch = pa.RecordBatch.from_pylist(list(rows))
    with ShardWriter(path, batch.schema, rows=group_rows) as writer:
        writer.write(batch)


def transform_rows(transform: tft.TFTransformOutput, rows: Sequence[Row]) -> list[Row]:
    """Runs rows through the transform graph, as Transform and serving do."""
    examples = tf.constant([encode(row) for row in rows])
    parsed = tf.io.parse_example(examples, transform.raw_feature_spec())
    columns = {
        name: tensor.numpy().tolist()
        for name, tensor in transform.transform_features_layer()(parsed).items()
    }
    return [
        dict(zip(columns, values, strict=True))
        for values in zip(*columns.values(), strict=True)
    ]


@pytest.fixture(scope="session")
def trips() -> list[Row]:
    """400 raw rows."""
    return [_trip(index) for index in range(400)]


@pytest.fixture(scope="session")
def analyze(tmp_path_factory: pytest.TempPathFactory) -> Analyze:
    """Makes a transform graph of rows with TFT on Beam, as Transform does."""

    def run(
        rows: Sequence[Row],
        spec: Spec,
        batch_rows: int | None = None,
        policy: str = "all-trips",
    ) -> tft.TFTransformOutput:
        directory = tmp_path_factory.mktemp("transform")
        metadata = DatasetMetadata.from_feature_spec(spec)
        with (
            beam.Pipeline(argv=[f"--runner={BEAM_RUNNER}"]) as pipeline,
            tft_beam.Context(
                temp_dir=str(directory / "tmp"), desired_batch_size=batch_rows
            ),
        ):
            graph = (
                pipeline | beam.Create(list(rows), reshuffle=False),
                metadata,
            ) | tft_beam.AnalyzeDataset(
                lambda inputs: preprocessing_fn(inputs, {"label_policy": policy})
            )
            graph | tft_beam.WriteTransformFn(str(directory))
        write_metadata(metadata, str(directory / "metadata"))
        return tft.TFTransformOutput(str(directory))

    return run


@pytest.fixture(scope="session")
def transform(analyze: Analyze, trips: list[Row]) -> tft.TFTransformOutput:
    """The transform graph of the 400 trips, under the policy "all-trips"."""
    return analyze(trips, raw_spec())


@dataclass(frozen=True)
class Records:
    """Globs of transformed rows: 320 to train on in two files, 80 to evaluate."""

    train: str
    evaluation: str


@pytest.fixture(scope="session")
def records(
    transform: tft.TFTransformOutput,
    trips: list[Row],
    tmp_path_factory: pytest.TempPathFactory,
) -> Records:
    """The transformed trips as the Trainer finds them."""
    directory = tmp_path_factory.mktemp("records")
    rows = transform_rows(transform, trips)
    write_shard(directory / "train" / "part-0.parquet", rows[:160], group_rows=50)
    write_shard(directory / "train" / "part-1.parquet", rows[160:320], group_rows=50)
    write_shard(directory / "eval" / "part-0.parquet", rows[320:])
    return Records(str(directory / "train" / "*"), str(directory / "eval" / "*"))


RunTrainer = Callable[..., SimpleNamespace]


@pytest.fixture(scope="session")
def run_trainer(
    transform: tft.TFTransformOutput,
    records: Records,
    tmp_path_factory: pytest.TempPathFactory,
) -> RunTrainer:
    """Runs `run_fn` as the Trainer does, and returns its arguments."""

    def run(
        seed: int = 1,
        train_steps: int = 100,
        base_model: str | None = None,
        *,
        warm_start: bool = False,
    ) -> SimpleNamespace:
        directory = tmp_path_factory.mktemp("run")
        arguments = SimpleNamespace(
            train_files=[records.train],
            eval_files=[records.evaluation],
            transform_graph_path=transform._transform_output_dir,
            train_steps=train_steps,
            eval_steps=0,
            serving_model_dir=str(directory / "model"),
            model_run_dir=str(directory / "logs"),
            custom_config={
                "hyperparameters": {"hidden_layers": [16], "steps_per_evaluation": 10},
                "batch_size": 64,
                "seed": seed,
                "warm_start": warm_start,
                "fingerprint": "keys that are not the trainer's are left alone",
            },
            hyperparameters=None,
            base_model=base_model,
        )
        trainer.run_fn(arguments)
        return arguments

    return run


@dataclass(frozen=True)
class TrainedModel:
    """What one run of the trainer left behind."""

    directory: str
    history: dict[str, list[float]]
    reports: list[Progress | str]
    """What it reported on the way."""


@pytest.fixture(scope="session")
def trained(run_trainer: RunTrainer) -> TrainedModel:
    """A model trained for at most 100 steps on the 400 trips."""
    reports: list[Progress | str] = []
    progress.listen(reports.append)
    arguments = run_trainer()
    progress.listen(None)
    history = Path(arguments.model_run_dir, HISTORY_FILE).read_text()
    return TrainedModel(arguments.serving_model_dir, json.loads(history), reports)
