"""The gate between data and training, on what TFDV really writes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.types.standard_artifacts import ExampleAnomalies, ExampleStatistics

from pipeline.components import anomaly_gate
from pipeline.errors import DataRefusedError

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
NEW: Columns = {**GOOD, "bonus": [1.0, 2.0]}
NEGATIVE: Columns = {**GOOD, "fare": [-5.0, 7.5]}
EMPTY: Columns = {"fare": [], "payment": []}
RunGate = Callable[..., list[dict[str, Any]]]
TOO_LOW = (
    "Out-of-range values: Unexpectedly low values: -5<0(upto six significant digits)"
)
ADVICE = (
    "Fix the data, or, if the data is right, review schema/schema.pbtxt; "
    "`throughline schema diff` shows where they differ."
)


@pytest.fixture
def gate(tmp_path: Path) -> RunGate:
    """Runs the gate on splits of literal columns; returns the verdict's findings."""

    def run(
        splits: Mapping[str, Columns],
        tolerated: str = "SCHEMA_NEW_COLUMN",
        schema: schema_pb2.Schema = SCHEMA,
    ) -> list[dict[str, Any]]:
        statistics, anomalies = ExampleStatistics(), ExampleAnomalies()
        verdict = anomaly_gate.DataVerdict()
        names = json.dumps(list(splits))
        statistics.uri, statistics.split_names = str(tmp_path / "s"), names
        anomalies.uri, anomalies.split_names = str(tmp_path / "a"), names
        verdict.uri = str(tmp_path / "v")
        Path(verdict.uri).mkdir()
        for split, columns in splits.items():
            found = tfdv.generate_statistics_from_dataframe(pd.DataFrame(columns))
            report = tfdv.validate_statistics(found, schema)
            _write(tmp_path / "s" / f"Split-{split}" / "FeatureStats.pb", found)
            _write(tmp_path / "a" / f"Split-{split}" / "SchemaDiff.pb", report)
        # What the decorator puts into the module, and what the launcher runs.
        executor = anomaly_gate.__dict__["AnomalyGate_Executor"]
        executor().Do(
            {"anomalies": [anomalies], "statistics": [statistics]},
            {"verdict": [verdict]},
            {"tolerated": tolerated},
        )
        return json.loads((tmp_path / "v" / "verdict.json").read_text())

    return run


def _write(path: Path, proto: Any) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(proto.SerializeToString())


def test_good_data_passes(gate: RunGate) -> None:
    """Data that fits the schema passes, with nothing to say."""
    assert gate({"train": GOOD, "eval": GOOD}) == []


def test_tolerated_anomalies_pass_and_are_told(gate: RunGate) -> None:
    """An anomaly of a tolerated type is in the verdict and stops nothing."""
    findings = gate({"train": NEW})

    (finding,) = findings
    assert finding.pop("text").startswith("New column: ")
    assert finding == {
        "split": "train",
        "column": "bonus",
        "anomaly": "SCHEMA_NEW_COLUMN",
        "blocking": False,
    }


@pytest.mark.parametrize("tolerated", ["", "FLOAT_TYPE_SMALL_FLOAT"])
def test_types_that_are_not_tolerated_block(gate: RunGate, tolerated: str) -> None:
    """An anomaly whose type is not in the list stops the run."""
    with pytest.raises(DataRefusedError) as refused:
        gate({"train": NEW}, tolerated)

    assert "  bonus (train): New column: " in str(refused.value)


def test_several_types_can_be_tolerated(gate: RunGate) -> None:
    """Each type in the list is tolerated."""
    both = {**NEGATIVE, "bonus": [1.0, 2.0]}

    findings = gate({"train": both}, "FLOAT_TYPE_SMALL_FLOAT,SCHEMA_NEW_COLUMN")

    assert [(f["column"], f["anomaly"]) for f in findings] == [
        ("bonus", "SCHEMA_NEW_COLUMN"),
        ("fare", "FLOAT_TYPE_SMALL_FLOAT"),
    ]


def test_a_blocking_anomaly_is_told(gate: RunGate, tmp_path: Path) -> None:
    """A blocking anomaly names column, split, what is wrong and what to do."""
    with pytest.raises(DataRefusedError) as refused:
        gate({"train": NEGATIVE, "eval": GOOD})

    assert str(refused.value).splitlines() == [
        "The data doesn't fit the reviewed schema (1 blocking):",
        f"  fare (train): {TOO_LOW}",
        ADVICE,
    ]
    assert refused.value.exit_code == 3
    assert not (tmp_path / "v" / "verdict.json").exists()


def test_one_anomaly_of_several_splits_is_one_line(gate: RunGate) -> None:
    """The same anomaly in several splits is told once, with the splits."""
    with pytest.raises(DataRefusedError) as refused:
        gate({"train": NEGATIVE, "eval": GOOD, "test": NEGATIVE})

    assert str(refused.value).splitlines()[:-1] == [
        "The data doesn't fit the reviewed schema (1 blocking):",
        f"  fare (train, test): {TOO_LOW}",
    ]


def test_what_is_tolerated_is_not_told_among_what_blocks(gate: RunGate) -> None:
    """A refusal names only what blocks."""
    with pytest.raises(DataRefusedError) as refused:
        gate({"train": {**NEGATIVE, "bonus": [1.0, 2.0]}})

    assert "(1 blocking)" in str(refused.value)
    assert "bonus" not in str(refused.value)


def test_several_reasons_of_one_column_are_all_told(gate: RunGate) -> None:
    """A column with two things wrong is told twice."""
    with pytest.raises(DataRefusedError) as refused:
        gate({"train": {**GOOD, "fare": [-5.0, None]}})

    text = str(refused.value)
    assert "(2 blocking)" in text
    assert "fare (train): Out-of-range values" in text
    assert "fare (train): Column dropped" in text


def test_a_missing_column_blocks(gate: RunGate) -> None:
    """A column that the schema requires and the data lacks stops the run."""
    with pytest.raises(DataRefusedError, match=r"  fare \(train\): Column dropped"):
        gate({"train": {"payment": ["Cash"]}})


def test_an_empty_split_blocks(gate: RunGate) -> None:
    """A split without rows stops the run, also where nothing else is wrong with it."""
    with pytest.raises(DataRefusedError) as refused:
        gate({"train": GOOD, "eval": EMPTY}, schema=schema_pb2.Schema())

    assert "  all columns (eval): the split has no rows" in str(refused.value)


@pytest.mark.parametrize(("wrong", "more"), [(5, None), (6, 1), (8, 3)])
def test_five_anomalies_are_told(gate: RunGate, wrong: int, more: int | None) -> None:
    """A refusal tells five anomalies, and how many more there are."""
    columns = {f"c{number}": [1.0] for number in range(wrong)}

    with pytest.raises(DataRefusedError) as refused:
        gate({"train": {"fare": [1.0], "payment": ["Cash"], **columns}}, "")

    first, *lines, last = str(refused.value).splitlines()
    assert first.endswith(f"({wrong} blocking):")
    assert [line.split()[0] for line in lines[:5]] == ["c0", "c1", "c2", "c3", "c4"]
    assert lines[5:] == ([] if more is None else [f"  … and {more} more"])
    assert last == ADVICE


def test_an_anomaly_of_a_whole_data_set_blocks(gate: RunGate) -> None:
    """An anomaly of the whole data set, not of one column, stops the run too."""
    schema = schema_pb2.Schema()
    schema.CopyFrom(SCHEMA)
    schema.dataset_constraints.min_examples_count = 3

    with pytest.raises(DataRefusedError) as refused:
        gate({"train": GOOD}, schema=schema)

    assert "  all columns (train): Low num examples" in str(refused.value)


def test_a_schema_without_columns_blocks(gate: RunGate) -> None:
    """An empty schema tolerates every column as new, and is therefore refused."""
    with pytest.raises(DataRefusedError) as refused:
        gate({"train": GOOD, "eval": GOOD}, schema=schema_pb2.Schema())

    _, line, _ = str(refused.value).splitlines()
    assert line.startswith("  all columns (train, eval): the reviewed schema has none")


def test_a_column_cannot_forge_a_line(gate: RunGate) -> None:
    """A column's name with a line end in it is shown in one line."""
    with pytest.raises(DataRefusedError) as refused:
        gate({"train": {**GOOD, "x\nBlessed": [1.0, 2.0]}}, "")

    assert "Blessed" not in [line[:7] for line in str(refused.value).splitlines()]
    assert "'x\\nBlessed' (train): New column" in str(refused.value)
