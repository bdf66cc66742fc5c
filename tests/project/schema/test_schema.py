"""What the reviewed schema accepts and what it reports, by TFDV itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from data.taxi import write_sample
from schema import SCHEMA_PATH

SCHEMA = text_format.Parse(SCHEMA_PATH.read_text(), schema_pb2.Schema())
ARROW_TYPES = {
    schema_pb2.FLOAT: pa.float32(),
    schema_pb2.INT: pa.int64(),
    schema_pb2.BYTES: pa.binary(),
}

Columns = dict[str, list[Any]]


def read_sample(directory: Path) -> Columns:
    """Reads the taxi sample with the schema's types; None is a missing value."""
    types = {f.name: ARROW_TYPES[f.type] for f in SCHEMA.feature}
    convert = pyarrow.csv.ConvertOptions(
        column_types=types, null_values=[""], strings_can_be_null=True
    )
    table = pyarrow.csv.read_csv(write_sample(directory), convert_options=convert)
    return dict(table.to_pydict())


def statistics(
    columns: Columns, *, missing: list[Any] | None = None
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Computes statistics as StatisticsGen does of tf.Examples with these values.

    `missing` is what a missing value is in the Examples: None if the feature is left
    out, [] if it is there with an empty list, as stock CsvExampleGen writes it.
    """
    types = {f.name: pa.large_list(ARROW_TYPES[f.type]) for f in SCHEMA.feature}
    lists = {
        name: pa.array(
            [missing if v is None else [v] for v in values],
            # A column of text where numbers belong keeps the type it has.
            None if any(isinstance(v, str) for v in values) else types.get(name),
        )
        for name, values in columns.items()
    }
    batch = pa.RecordBatch.from_pydict(lists)
    return stats_impl.generate_statistics_in_memory(batch, tfdv.StatsOptions())


def anomalies(
    columns: Columns, *, missing: list[Any] | None = None, environment: str = "TRAINING"
) -> dict[str, set[str]]:
    """Returns the types of the anomalies of each column."""
    found = tfdv.validate_statistics(
        statistics(columns, missing=missing), SCHEMA, environment=environment
    )
    return {
        name: {anomalies_pb2.AnomalyInfo.Type.Name(r.type) for r in info.reason}
        for name, info in found.anomaly_info.items()
    }


@pytest.fixture(scope="module", name="sample")
def _sample(tmp_path_factory: pytest.TempPathFactory) -> Columns:
    return read_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(name="trips")
def _trips(sample: Columns) -> Columns:
    return {name: values[:2000] for name, values in sample.items()}


@pytest.mark.parametrize(
    "missing", [pytest.param(None, id="left out"), pytest.param([], id="empty list")]
)
def test_the_sample_has_no_anomaly(sample: Columns, missing: list[Any] | None) -> None:
    """The sample is accepted, however missing values are written."""
    found = anomalies(sample, missing=missing)

    assert found == {}


@pytest.mark.parametrize(
    ("first", "end"),
    [
        pytest.param(0, 7, id="train"),
        pytest.param(7, 8, id="eval"),
        pytest.param(8, 10, id="test"),
    ],
)
@pytest.mark.parametrize(
    "missing", [pytest.param(None, id="left out"), pytest.param([], id="empty list")]
)
def test_no_split_has_an_anomaly(
    sample: Columns, first: int, end: int, missing: list[Any] | None
) -> None:
    """Each split of 70, 10 and 20 % is accepted, with and without a pickup tract."""
    rows = [n for n in range(15_002) if first <= n % 10 < end]
    split = {name: [values[n] for n in rows] for name, values in sample.items()}

    found = anomalies(split, missing=missing)

    assert found == {}


def test_tips_are_not_expected_in_serving(trips: Columns) -> None:
    """A request has no tip, and a training set that has none is reported."""
    del trips["tips"]

    assert anomalies(trips, environment="SERVING") == {}
    assert anomalies(trips) == {"tips": {"SCHEMA_MISSING_COLUMN"}}


def _first(value: object) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [value, *values[1:]]


def _every(step: int, value: object) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [
        value if n % step == 0 else old for n, old in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("column", "edit", "expected"),
    [
        pytest.param("fare", _first(-5.0), "FLOAT_TYPE_SMALL_FLOAT", id="negative"),
        pytest.param("fare", _first(1e5), "FLOAT_TYPE_BIG_FLOAT", id="high fare"),
        pytest.param("fare", _first(float("nan")), "FLOAT_TYPE_HAS_NAN", id="nan"),
        pytest.param(
            "fare", _first(None), "FEATURE_TYPE_LOW_FRACTION_PRESENT", id="no fare"
        ),
        pytest.param("tips", _first(-1.0), "FLOAT_TYPE_SMALL_FLOAT", id="tip"),
        pytest.param("trip_miles", _first(-1.0), "FLOAT_TYPE_SMALL_FLOAT", id="miles"),
        pytest.param("trip_seconds", _first(90_000), "INT_TYPE_BIG_INT", id="seconds"),
        pytest.param("trip_start_hour", _first(24), "INT_TYPE_BIG_INT", id="hour 24"),
        pytest.param("trip_start_day", _first(0), "INT_TYPE_SMALL_INT", id="day 0"),
        pytest.param("trip_start_month", _first(13), "INT_TYPE_BIG_INT", id="month 13"),
        pytest.param(
            "trip_start_timestamp",
            _first(1_400_269_500_000),
            "INT_TYPE_BIG_INT",
            id="milliseconds",
        ),
        pytest.param(
            "pickup_latitude", _first(-87.6), "FLOAT_TYPE_SMALL_FLOAT", id="swapped"
        ),
        pytest.param(
            "pickup_longitude", _first(87.6), "FLOAT_TYPE_BIG_FLOAT", id="unsigned"
        ),
        pytest.param(
            "dropoff_community_area", _first(78), "INT_TYPE_BIG_INT", id="area 78"
        ),
        pytest.param(
            "payment_type",
            _every(20, None),
            "FEATURE_TYPE_LOW_FRACTION_PRESENT",
            id="5 % without payment",
        ),
        pytest.param(
            "payment_type",
            _every(1, None),
            "FEATURE_TYPE_NOT_PRESENT",
            id="no payment at all",
        ),
        pytest.param(
            "payment_type",
            _every(20, b"Barter"),
            "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
            id="5 % of an unknown payment",
        ),
        pytest.param(
            "company",
            _every(1, None),
            "FEATURE_TYPE_NOT_PRESENT",
            id="no company at all",
        ),
    ],
)
def test_bad_values_are_anomalies(
    trips: Columns,
    column: str,
    edit: Callable[[list[Any]], list[Any]],
    expected: str,
) -> None:
    """Each kind of bad value is reported for its column, and for no other."""
    trips[column] = edit(trips[column])

    found = anomalies(trips)

    assert found == {column: {expected}}


@pytest.mark.parametrize(
    ("column", "edit"),
    [
        pytest.param("payment_type", _first(b"Barter"), id="one unknown payment"),
        pytest.param("payment_type", _every(200, None), id="0.5 % without payment"),
        pytest.param("company", _first(b"A company founded today"), id="new company"),
        pytest.param("pickup_census_tract", _every(1, None), id="no pickup tract"),
        pytest.param("fare", _every(1, 7.0), id="whole fares"),
    ],
)
def test_what_is_tolerated_is_no_anomaly(
    trips: Columns, column: str, edit: Callable[[list[Any]], list[Any]]
) -> None:
    """What happens in good data does not stop it."""
    trips[column] = edit(trips[column])

    found = anomalies(trips)

    assert found == {}


@pytest.mark.parametrize("column", ["fare", "payment_type", "company"])
def test_a_missing_column_is_an_anomaly(trips: Columns, column: str) -> None:
    """A column that is not there at all is reported."""
    del trips[column]

    found = anomalies(trips)

    assert found == {column: {"SCHEMA_MISSING_COLUMN"}}


def test_a_new_column_is_an_anomaly(trips: Columns) -> None:
    """A column that nobody reviewed is reported."""
    trips["tolls"] = [0.5] * 2000

    found = anomalies(trips)

    assert found == {"tolls": {"SCHEMA_NEW_COLUMN"}}


def test_text_in_a_number_is_an_anomaly(trips: Columns) -> None:
    """Fares as text are reported as the wrong type, and with an example."""
    trips["fare"] = [f"${fare}" for fare in trips["fare"]]

    found = anomalies(trips)

    assert found == {"fare": {"UNEXPECTED_DATA_TYPE", "FLOAT_TYPE_STRING_NOT_FLOAT"}}


def test_one_empty_list_in_a_required_column_is_an_anomaly(trips: Columns) -> None:
    """Where presence is blind, in Examples of stock CsvExampleGen, the count is not."""
    trips["payment_type"] = _first(None)(trips["payment_type"])

    found = anomalies(trips, missing=[])

    assert found == {"payment_type": {"FEATURE_TYPE_LOW_NUMBER_VALUES"}}


def test_a_shift_of_payment_is_drift(sample: Columns) -> None:
    """A span without cash differs from the one before it."""
    kept = [n for n, v in enumerate(sample["payment_type"]) if v != b"Cash"]
    span = {name: [values[n] for n in kept] for name, values in sample.items()}

    found = tfdv.validate_statistics(
        statistics(span), SCHEMA, previous_statistics=statistics(sample)
    )

    reasons = found.anomaly_info["payment_type"].reason
    assert [r.type for r in reasons] == [
        anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH
    ]


def test_ordinary_years_do_not_drift(sample: Columns) -> None:
    """From 2013 to 2014 nothing changes enough to be reported."""
    start_of_2014, start_of_2015 = 1_388_534_400, 1_420_070_400
    times = sample["trip_start_timestamp"]
    old = [n for n, t in enumerate(times) if t < start_of_2014]
    new = [n for n, t in enumerate(times) if start_of_2014 <= t < start_of_2015]

    found = tfdv.validate_statistics(
        statistics({name: [v[n] for n in new] for name, v in sample.items()}),
        SCHEMA,
        previous_statistics=statistics(
            {name: [v[n] for n in old] for name, v in sample.items()}
        ),
    )

    assert dict(found.anomaly_info) == {}
