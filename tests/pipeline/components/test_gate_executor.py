"""The gate's executor: from artifacts to a verdict, or a refusal."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import Artifact
from tfx.types.standard_artifacts import ExampleAnomalies, Model

from data import taxi
from models import kept_scores
from models.kept_predictions import EXTRAS
from models.names import SCORES_FILE
from pipeline.components import gate_executor
from pipeline.components.data_gate import DataVerdict
from pipeline.components.example_gen import Quarantine
from pipeline.config import Config
from pipeline.errors import DataRefusedError
from pipeline.store import properties
from pipeline.trust import coverage
from pipeline.trust.past import read_cells
from pipeline.trust.policy import Policy, Verdict
from schema import SCHEMA_PATH
from tests.pipeline.components.small_examples import schema_artifact, write_examples
from tests.pipeline.prediction import small_model

ROWS = 2000
POLICY = Policy(crosses=("payment_type", "trip_start_hour*payment_type"))
SCHEMA = SCHEMA_PATH.read_text()
SPLITS = {"train": 7, "eval": 1, "test": 2}
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Random rows of the sample, which is sorted by area."""
    every = list(csv.DictReader(io.StringIO(taxi.read_sample().decode())))
    chosen = np.random.default_rng(1).choice(len(every), ROWS, replace=False)
    return [every[number] for number in chosen]


class _Gate:
    """Runs the executor on rows; each run has directories of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.runs = 0
        self.refused = directory / "working"

    def run(self, rows: Rows, **inputs: list[Artifact]) -> Artifact:
        """Returns the verdict's artifact."""
        self.runs += 1
        root = self.directory / str(self.runs)
        root.mkdir()
        with (root / "trips.csv").open("w") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        examples = write_examples(root / "trips.csv", root / "examples", SPLITS, SCHEMA)
        examples.id = self.runs
        spans = json.dumps([{"span": self.runs}])
        examples.set_string_custom_property(properties.SPANS, spans)
        anomalies = ExampleAnomalies()
        anomalies.uri, anomalies.split_names = str(root), json.dumps(list(SPLITS))
        for name in SPLITS:
            (root / f"Split-{name}").mkdir()
            nothing = anomalies_pb2.Anomalies().SerializeToString()
            (root / f"Split-{name}" / "SchemaDiff.pb").write_bytes(nothing)
        verdict = DataVerdict()
        verdict.uri, verdict.id = str(root / "verdict"), 100 + self.runs
        executor = gate_executor.Executor(
            BaseBeamExecutor.Context(
                beam_pipeline_args=Config().beam_pipeline_args,
                stateful_working_dir=str(self.refused),
            )
        )
        executor.Do(
            {
                "examples": [examples],
                "anomalies": [anomalies],
                "schema": [schema_artifact(root / "schema", SCHEMA)],
                "quarantine": [Quarantine()],
                **inputs,
            },
            {"verdict": [verdict]},
            {"policy": POLICY.to_json(), "label_policy": "all-trips"},
        )
        return verdict


@pytest.fixture
def gate(tmp_path: Path) -> _Gate:
    """A gate in an empty directory."""
    return _Gate(tmp_path)


def _read(directory: str | Path) -> Verdict:
    return Verdict.from_json((Path(directory) / "verdict.json").read_text())


def _in_minutes(rows: Rows) -> Rows:
    return [
        {**row, "trip_seconds": str(int(row["trip_seconds"] or 0) // 60)}
        for row in rows
    ]


def test_good_data_gets_a_verdict(gate: _Gate, rows: Rows) -> None:
    """The first data passes; the verdict says that nothing was compared."""
    artifact = gate.run(rows)

    verdict = _read(artifact.uri)
    assert verdict.findings == ()
    assert sum(verdict.rows.values()) == ROWS
    assert verdict.spans == (1,)
    assert set(verdict.without_baseline) == {
        "previous",
        "live model's",
        "live model's eval",
    }
    assert "no baseline yet" in (Path(artifact.uri) / "verdict.txt").read_text()
    assert artifact.get_int_custom_property(properties.EXAMPLES_ID) == 1
    cells = read_cells(artifact.uri)
    assert cells.keys() == SPLITS.keys()
    assert {
        cross: each.total for cross, each in cells["train"].items()
    } == dict.fromkeys(coverage.parse(POLICY.crosses), verdict.rows["train"])


def test_a_verdict_is_the_baseline_of_the_next(gate: _Gate, rows: Rows) -> None:
    """Later data is compared with profiles alone, and both baselines are named."""
    first, second = gate.run(rows[:1000]), gate.run(rows[500:1500])

    third = gate.run(rows[1000:], previous=[second], live=[first])

    verdict = _read(third.uri)
    assert verdict.findings == ()
    assert verdict.compared_with == {
        "previous": "span 2, 1,000 rows",
        "live model's": "span 1, 1,000 rows",
    }
    assert {value.against for value in verdict.measured} == {"", *verdict.compared_with}


@pytest.fixture(scope="module")
def live_model(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A model that answers a tenth of the fare, with its answers for the rows."""
    root = tmp_path_factory.mktemp("live")
    directory = small_model.save(root / "Format-Serving")
    (directory / EXTRAS).mkdir()
    fares = np.array([row["fare"] for row in rows if row["fare"]], np.float32)
    text = kept_scores.to_json({"probability": fares / 10})
    (directory / EXTRAS / SCORES_FILE).write_text(text)
    artifact = Model()
    artifact.uri = str(root)
    return artifact


def test_answers_of_the_live_model_are_compared(
    gate: _Gate, rows: Rows, live_model: Artifact
) -> None:
    """The same rows give the same answers, and others a warning, with how many."""
    raised = [{**row, "fare": f"{float(row['fare'] or 0) * 1.3}"} for row in rows]
    # The stored answers are for rows with a label.
    some = [
        {**row, "tips": "" if n < 10 else row["tips"]} for n, row in enumerate(rows)
    ]

    same = _read(gate.run(some, live_model=[live_model]).uri)
    other = _read(gate.run(raised, live_model=[live_model]).uri)

    assert same.findings == ()
    assert same.compared_with["live model's eval"] == "2,000 answers, and 1,990 now"
    assert same.without_baseline.keys() == {"previous", "live model's"}
    (value,) = [v for v in same.measured if v.against == "live model's eval"]
    assert value.column == "predicted probability"
    assert value.value < 0.001
    (finding,) = other.findings
    assert finding.anomaly == "PREDICTION_DRIFT"
    assert finding.severity == "warn"
    (exhibit,) = other.exhibits
    assert exhibit.bins


def test_a_model_that_can_not_be_asked_is_told(
    gate: _Gate, rows: Rows, live_model: Artifact, tmp_path: Path
) -> None:
    """The verdict says why its answers weren't compared; the data is judged."""
    broken, older, small = Model(), Model(), Model()
    for artifact, name in ((broken, "broken"), (older, "older"), (small, "small")):
        artifact.uri = str(tmp_path / name)
        shutil.copytree(live_model.uri, artifact.uri)
    (tmp_path / "broken" / "Format-Serving" / "saved_model.pb").unlink()
    shutil.rmtree(tmp_path / "older" / "Format-Serving" / EXTRAS)
    few = tmp_path / "small" / "Format-Serving" / EXTRAS / SCORES_FILE
    few.write_text(json.dumps({"probability": [[0.1, 200], [0.9, 49]]}))

    texts = [
        _read(gate.run(rows[:200], live_model=[model]).uri).without_baseline[
            "live model's eval"
        ]
        for model in (broken, older, small)
    ]

    assert all(f"the live model in {tmp_path}" in text for text in texts)
    assert "SavedModel file does not exist" in texts[0]
    assert "it was trained before the distribution of its answers" in texts[1]
    assert "it answered 249 rows of its eval split, and a comparison needs" in texts[2]


def test_drifted_data_is_refused(gate: _Gate, rows: Rows) -> None:
    """A refusal names the column; its verdict stays, and the output is empty."""
    first = gate.run(rows[:1000])

    with pytest.raises(DataRefusedError, match=r"trip_seconds .*: jensen shannon"):
        gate.run(_in_minutes(rows[1000:]), previous=[first])

    verdict = _read(gate.refused)
    (finding,), (exhibit,) = verdict.blocking, verdict.exhibits
    assert (finding.anomaly, finding.column) == ("DRIFT", "trip_seconds")
    assert sum(now for _, _, now in exhibit.bins) == pytest.approx(1)
    assert exhibit.bins[0][2] > exhibit.bins[0][1]
    assert len(exhibit.rows) == 3
    assert exhibit.high is not None
    assert all(float(row["trip_seconds"]) < exhibit.high for row in exhibit.rows)
    assert not (gate.directory / "2" / "verdict" / "verdict.json").exists()


def test_what_example_validator_found_is_judged(
    gate: _Gate, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TFDV's anomalies of each split are among the findings."""
    low = anomalies_pb2.AnomalyInfo.FLOAT_TYPE_SMALL_FLOAT
    reason = anomalies_pb2.AnomalyInfo.Reason(type=low, description="-5<0")
    info = anomalies_pb2.AnomalyInfo(reason=[reason])

    def found(_: Any) -> anomalies_pb2.Anomalies:
        return anomalies_pb2.Anomalies(anomaly_info={"fare": info})

    monkeypatch.setattr(anomalies_pb2.Anomalies, "FromString", found)

    with pytest.raises(DataRefusedError, match=r"fare \(train, eval, test\): .*-5<0"):
        gate.run(rows[:500])
