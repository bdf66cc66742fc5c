"""Writes request logs as the server does, and training data to learn from next."""

import functools
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from data import taxi
from models import declared
from pipeline.ingestion.columns import kinds_of_schema
from pipeline.ingestion.source import expected_columns
from pipeline.trust import schema_review
from schema import SCHEMA_PATH
from serving import request_log

PATTERN = "span-{SPAN:3}/*.csv"
START = datetime(2026, 3, 1, tzinfo=UTC)
TRIP: Mapping[str, Any] = {
    "payment_type": "Credit Card",
    "fare": 12.05,
    "company": "Blue Cab",
    "trip_miles": 2.5,
    "trip_seconds": 780,
    "trip_start_hour": 19,
    "trip_start_day": 6,
    "trip_start_month": 5,
    "pickup_community_area": 8,
    "dropoff_community_area": 32,
    "pickup_latitude": 41.9,
    "pickup_longitude": -87.63,
    "dropoff_latitude": 41.8,
    "dropoff_longitude": -87.6,
}


def request(number: int, **values: Any) -> dict[str, Any]:
    """One predicted trip, `number` minutes after `START`; its id is `r<number>`.

    Args:
        number: Its number.
        values: Features, or other columns of the log, that are different.
    """
    given = {name: values.pop(name, value) for name, value in TRIP.items()}
    return {
        "request_id": f"r{number}",
        "row": 0,
        "time": START + timedelta(minutes=number),
        "version": 1,
        "signature": "serving_raw",
        **{f"features.{name}": value for name, value in given.items()},
        "prediction": 0.5,
        "scores": None,
        "threshold": 0.5,
        "latency_ms": 1.0,
        "status": request_log.OK,
        **values,
    }


def write(directory: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Writes a segment of a request log; returns its path."""
    kinds = kinds_of_schema(schema_review.read(SCHEMA_PATH))
    schema = request_log.schema({name: kinds[name] for name in declared.RAW_COLUMNS})
    first = min(row["time"] for row in rows)
    name = request_log.name_of(first, f"writer-{len(rows)}")
    path = directory / request_log.SEGMENTS / f"{first:%Y-%m-%d}" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(list(rows), schema), path)
    return path


def write_ten(directory: Path) -> Path:
    """Writes two segments with ten trips, a minute apart: r0 to r9."""
    rows = [request(n, trip_seconds=600 + n) for n in range(10)]
    write(directory, rows[:5])
    write(directory, rows[5:])
    return directory


def write_training_data(directory: Path) -> Path:
    """Writes training data of one span, number 7, by `PATTERN`."""
    names = expected_columns(schema_review.read(SCHEMA_PATH))
    (directory / "span-007").mkdir(parents=True)
    # In an order of its own, which a new span has to take.
    header = ",".join(reversed(names))
    (directory / "span-007" / "trips.csv").write_text(f"{header}\n{',' * 17}\n")
    return directory


@functools.cache
def sample() -> pd.DataFrame:
    """Returns all trips of the sample; copy them before changing any."""
    return pd.read_csv(io.BytesIO(taxi.read_sample()))


Trips: TypeAlias = Any
"""Trips of the sample, as a frame of its columns."""


def trips(count: int, seed: int = 1) -> Trips:
    """Returns random trips of the sample, the same for the same seed."""
    return sample().sample(count, random_state=seed).reset_index(drop=True)


def batch_of(rows: Trips) -> pa.RecordBatch:
    """Gives the features of trips the types of the reviewed schema."""
    kinds = kinds_of_schema(schema_review.read(SCHEMA_PATH))
    types = {"INT": pa.int64(), "FLOAT": pa.float32(), "BYTES": pa.binary()}
    arrays = [
        pa.array(rows[name], types[kinds[name]], from_pandas=True)
        for name in declared.RAW_COLUMNS
    ]
    return pa.RecordBatch.from_arrays(arrays, list(declared.RAW_COLUMNS))


def write_trips(
    directory: Path, rows: Trips, since: datetime, until: datetime, **values: Any
) -> None:
    """Logs trips at equal distances from a time on, and before another.

    Args:
        directory: The log.
        rows: The trips.
        since: Time of the first one.
        until: Time after the last one.
        values: Columns of the log with a value per trip, or one for all.
    """
    step = (until - since) / len(rows)
    batch = batch_of(rows)
    named = f"t{since:%d%H}"
    columns: dict[str, Any] = {
        "request_id": [f"{named}-{n}" for n in range(len(rows))],
        "row": pa.array([0] * len(rows), pa.int32()),
        "time": [since + n * step for n in range(len(rows))],
        "version": [1] * len(rows),
        "signature": ["serving_raw"] * len(rows),
        **{
            f"features.{n}": c.cast(pa.string()) if pa.types.is_binary(c.type) else c
            for n, c in zip(batch.schema.names, batch.columns, strict=True)
        },
        # As of a model whose scores are right for live_models.BUCKETS.
        "prediction": np.random.default_rng(1).random(len(rows)),
        "scores": pa.nulls(len(rows)),
        "threshold": [0.5] * len(rows),
        "latency_ms": [1.0] * len(rows),
        "status": [request_log.OK] * len(rows),
    }
    for name, given in values.items():
        columns[name] = given if isinstance(given, list) else [given] * len(rows)
    kinds = kinds_of_schema(schema_review.read(SCHEMA_PATH))
    schema = request_log.schema({name: kinds[name] for name in declared.RAW_COLUMNS})
    path = (
        directory
        / request_log.SEGMENTS
        / f"{since:%Y-%m-%d}"
        / f"{request_log.name_of(since, 'trips')}.parquet"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = [pa.array(columns[f.name]).cast(f.type) for f in schema]
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), path)
