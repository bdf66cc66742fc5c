"""Findings from what TFDV really writes."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from pipeline.trust import anomalies
from pipeline.trust.checks import Check
from pipeline.trust.policy import Finding

SCHEMA = text_format.Parse(
    """
    string_domain { name: "payment" value: "Cash" value: "Card" }
    feature {
      name: "fare" type: FLOAT value_count { min: 1 max: 1 }
      presence { min_fraction: 1 }
      float_domain { min: 0 }
    }
    feature { name: "payment" type: BYTES domain: "payment"
      presence { min_fraction: 0 }
    }
    """,
    schema_pb2.Schema(),
)
Columns = Mapping[str, list[Any]]
GOOD: Columns = {"fare": [5.0, 7.5], "payment": ["Cash", "Card"]}
TOO_LOW = (
    "Out-of-range values: Unexpectedly low values: -5<0(upto six significant digits)"
)


def _found(columns: Columns, schema: schema_pb2.Schema = SCHEMA) -> list[Finding]:
    statistics = tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns))
    report: anomalies_pb2.Anomalies = tfdv.validate_statistics(statistics, schema)
    return list(anomalies.find_anomalies("train", report))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (GOOD, []),
        ({**GOOD, "bonus": [1.0, 2.0]}, [("bonus", "SCHEMA_NEW_COLUMN")]),
        ({**GOOD, "fare": [-5.0, 7.5]}, [("fare", "FLOAT_TYPE_SMALL_FLOAT")]),
        (
            {**GOOD, "fare": [-5.0, None]},
            [
                ("fare", "FEATURE_TYPE_LOW_FRACTION_PRESENT"),
                ("fare", "FLOAT_TYPE_SMALL_FLOAT"),
            ],
        ),
        ({"payment": ["Cash"]}, [("fare", "SCHEMA_MISSING_COLUMN")]),
    ],
)
def test_anomalies_are_findings(
    columns: Columns, expected: list[tuple[str, str]]
) -> None:
    """Each reason of each column's anomaly is a finding with its type."""
    found = _found(columns)

    assert sorted((f.column, f.anomaly) for f in found) == expected
    assert all(finding.split == "train" for finding in found)


def test_a_finding_has_what_tfdv_says() -> None:
    """The text is TFDV's description."""
    (finding,) = _found({**GOOD, "fare": [-5.0, 7.5]})

    assert finding.text == TOO_LOW


def test_an_anomaly_of_a_whole_data_set_is_a_finding() -> None:
    """An anomaly of the whole data set has no column."""
    schema = schema_pb2.Schema()
    schema.CopyFrom(SCHEMA)
    schema.dataset_constraints.min_examples_count = 3

    (finding,) = _found(GOOD, schema)

    assert finding.column == ""
    assert finding.text.startswith("Low num examples")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(0, [Check.EMPTY_SPLIT]), (4, [Check.FEW_ROWS]), (5, [])],
)
def test_too_few_rows(rows: int, expected: list[Check]) -> None:
    """A split needs rows, and as many as the policy wants."""
    found = anomalies.find_few_rows("eval", rows, 5)

    assert [finding.anomaly for finding in found] == expected


def test_a_schema_without_columns_is_a_finding() -> None:
    """An empty schema would let every column pass as new."""
    found = _found(GOOD, schema_pb2.Schema())

    (finding,) = anomalies.find_empty_schema("train", found, 2)
    none = list(anomalies.find_empty_schema("train", found, 3))

    assert finding.anomaly == Check.EMPTY_SCHEMA
    assert none == []
