"""What stops a run, with which exit code and which message."""

import codecs
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import COMMANDS
from pipeline.ingestion.quarantine import read_rows
from schema import SCHEMA_PATH
from tests.e2e.places import Place
from tests.e2e.runs import Finished, Rows, finished
from tests.e2e.warm import WarmProcess

pytestmark = pytest.mark.e2e

MakeData = Callable[..., Path]
SMOKE = ("--preset", "smoke")


def run_warm(warm: WarmProcess, output: Path, *flags: object) -> Finished:
    """Runs `run_local.py` in a fork of a process that has imported TFX."""
    return finished(*warm.run(output, *flags), output)


def refused(run: Finished, *texts: str) -> None:
    """Checks that a run ended with 3 before training, and said why in plain words."""
    assert run.exit_code == 3, run.text
    for text in texts:
        assert text in run.text
    assert "Traceback" not in run.text
    assert "Trainer" not in run.states()
    assert not run.versions


def test_empty_file_is_refused(
    tmp_path: Path, small_data: MakeData, warm: WarmProcess
) -> None:
    """A file without a byte stops the run, though another one is good."""
    data = small_data()
    (data / "empty.csv").touch()

    run = run_warm(warm, tmp_path / "out", *SMOKE, "--data", data)

    refused(run, "empty.csv", "ExampleGen")


def test_byte_order_mark_is_never_misread(
    tmp_path: Path, small_data: MakeData, warm: WarmProcess
) -> None:
    """A byte order mark is left out, which the log says; all columns are there."""
    data = small_data()
    file = data / "trips.csv"
    file.write_bytes(codecs.BOM_UTF8 + file.read_bytes())

    run = run_warm(warm, tmp_path / "out", "--only", "ExampleGen", "--data", data)

    assert run.exit_code == 0, run.text
    log = (run.run / "logs" / "ExampleGen.log").read_text()
    assert f"{file} begins with a byte order mark, which is left out" in log


def _with_a_text(rows: Rows) -> Rows:
    rows[40]["fare"] = "twelve"
    return rows


def test_text_in_a_number_is_refused(
    tmp_path: Path, small_data: MakeData, warm: WarmProcess
) -> None:
    """Where no row may be set aside, one is named with file, line, column and value."""
    data = small_data(_with_a_text)

    run = run_warm(
        warm, tmp_path / "out", *SMOKE, "--data", data, "--gate.max-quarantined", 0
    )

    refused(run, "trips.csv", "line 42", "fare", "twelve", "--gate.max-quarantined")


def test_a_row_that_does_not_fit_is_set_aside(
    tmp_path: Path, small_data: MakeData, warm: WarmProcess
) -> None:
    """The run goes on without it, says so, and keeps the row with its reason."""
    data = small_data(_with_a_text)

    run = run_warm(warm, tmp_path / "out", "--only", "ExampleGen", "--data", data)

    (refuge,) = (run.output / "artifacts" / "ExampleGen" / "quarantine").iterdir()
    (row,) = read_rows(refuge)
    assert run.exit_code == 0, run.text
    assert "rows don't fit" in run.text
    assert str(refuge) in run.text
    assert (row["line"], row["column"]) == (42, "fare")


def test_missing_column_is_refused(
    tmp_path: Path, small_data: MakeData, warm: WarmProcess
) -> None:
    """A column that the schema wants and the file lacks is named with the file."""

    def change(rows: Rows) -> Rows:
        return [{k: v for k, v in row.items() if k != "trip_miles"} for row in rows]

    run = run_warm(warm, tmp_path / "out", *SMOKE, "--data", small_data(change))

    refused(run, "trips.csv", "trip_miles")


def test_blocking_anomaly_stops_the_run(
    tmp_path: Path, small_data: MakeData, warm: WarmProcess
) -> None:
    """A value out of the schema's range stops the run at the gate, which names it."""

    def change(rows: Rows) -> Rows:
        for row in rows:
            row["trip_start_hour"] = "24"
        return rows

    run = run_warm(warm, tmp_path / "out", *SMOKE, "--data", small_data(change))

    refused(run, "DataGate", "trip_start_hour")
    assert run.states()["DataGate"] == "FAILED"


def _in_minutes(rows: Rows) -> Rows:
    for row in rows:
        row["trip_seconds"] = str(int(row["trip_seconds"] or 0) // 60)
    return rows


def test_drifted_data_is_refused_until_it_is_accepted(
    tmp_path: Path,
    small_data: MakeData,
    warm: WarmProcess,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Minutes after seconds stop the run, `gate` shows why, and `gate accept` helps."""
    output, schema = tmp_path / "out", tmp_path / "schema" / "schema.pbtxt"
    schema.parent.mkdir()
    schema.write_text(SCHEMA_PATH.read_text())
    flags = (*SMOKE, "--to", "DataGate", "--schema", schema, "--data")
    accept = ["accept", "DRIFT", "--feature", "trip_seconds", "--until", "9999-12-31"]
    first = run_warm(warm, output, *flags, small_data())

    drifted = run_warm(warm, output, *flags, small_data(_in_minutes))
    shown = COMMANDS["gate"](["--output", str(output)])
    COMMANDS["gate"]([*accept, "--because", "as agreed", "--schema", str(schema)])
    accepted = run_warm(warm, output, *flags, tmp_path / "data")
    shown_again = COMMANDS["gate"](["--output", str(output)])

    assert first.exit_code == 0, first.text
    refused(drifted, "DataGate", "trip_seconds (all splits): jensen shannon against")
    assert accepted.exit_code == 0, accepted.text
    assert (shown, shown_again) == (3, 0)
    printed = capsys.readouterr().out
    assert "block     DRIFT    trip_seconds" in printed
    assert "[as agreed (until 9999-12-31)]" in printed


def test_directory_without_csv_is_refused(tmp_path: Path, warm: WarmProcess) -> None:
    """A data directory without a CSV file is refused by name."""
    (tmp_path / "data").mkdir()

    run = run_warm(warm, tmp_path / "out", "--data", tmp_path / "data")

    assert run.exit_code == 3
    assert str(tmp_path / "data") in run.text


def test_candidate_below_the_threshold_is_not_pushed(settled: Place) -> None:
    """All nodes run, nothing is pushed, and the missed threshold is given: exit 4."""
    before = finished(0, "", settled.output)

    run = settled.run("--min-auc", 0.9999)

    assert run.exit_code == 4, run.text
    assert "it must be at least 0.9999" in run.text
    assert run.states()["Pusher"] == "COMPLETE"
    assert run.versions == before.versions


def test_failing_node_is_explained(
    tmp_path: Path, small_data: MakeData, warm: WarmProcess
) -> None:
    """A node that fails ends the run with 1, its name, the cause and its log."""
    (tmp_path / "out" / "artifacts").mkdir(parents=True)
    (tmp_path / "out" / "artifacts" / "StatisticsGen").write_text("in the way")

    run = run_warm(warm, tmp_path / "out", *SMOKE, "--data", small_data())

    assert run.exit_code == 1, run.text
    log = run.run / "logs" / "StatisticsGen.log"
    assert "StatisticsGen failed" in run.text
    assert "NotADirectoryError" in run.text
    assert str(log) in run.text
    assert "Traceback" not in run.text
    assert "Traceback" in log.read_text()


def test_unreviewed_data_gets_a_proposal(
    tmp_path: Path, small_data: MakeData, warm: WarmProcess
) -> None:
    """Without a reviewed schema a run stops after proposing one, and says what next."""
    run = run_warm(
        warm,
        tmp_path / "out",
        "--data",
        small_data(),
        "--schema",
        tmp_path / "new.pbtxt",
    )

    assert run.exit_code == 2, run.text
    accept = f"throughline schema accept --output {run.output} --schema {tmp_path}"
    assert f"next       {accept}/new.pbtxt, when" in run.text
    assert "Stopped as planned" in run.text
    assert "failed" not in run.text
    record = json.loads((run.run / "run.json").read_text())
    assert record["outcome"] == "schema proposed"
    assert run.states()["SchemaGen"] == "COMPLETE"
    assert "Trainer" not in run.states()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data", "/nowhere"], "/nowhere"),
        (["--batch-size", "0"], "batch-size is 0; it must be at least 1"),
        (["--model.dropout", "2"], "dropout is 2.0"),
        (["--metadata", "oracle://host/db"], "oracle"),
        (["--train-step", "5"], "--train-step"),
    ],
)
def test_wrong_setting_is_told_at_once(
    flags: list[str], said: str, tmp_path: Path, warm: WarmProcess
) -> None:
    """A wrong flag or value ends with 2 and names what is wrong."""
    run = run_warm(warm, tmp_path / "out", *flags)

    assert run.exit_code == 2, run.text
    assert said in run.text
    assert "Traceback" not in run.text


def test_a_model_that_answers_too_slowly_is_not_pushed(settled: Place) -> None:
    """A model that ServingCheck refuses ends with 4, and the flag that refused it."""
    flags = ("--serving-check.max-latency-ms", 1e-6)

    run = settled.run("--from", "ServingCheck", *flags)

    assert run.exit_code == 4, run.text
    assert "ServingCheck: speed and memory: " in run.text
    assert "serving-check.max-latency-ms allows 1e-06" in run.text
    assert run.states()["InfraValidator"] == "COMPLETE"
