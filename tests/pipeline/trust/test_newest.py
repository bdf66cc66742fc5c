"""`throughline gate`: the newest verdict, and exceptions."""

from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline import cli
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.trust import exceptions
from pipeline.trust.checks import Check
from pipeline.trust.newest import newest_verdict
from pipeline.trust.policy import Accepted, Finding, Verdict
from tests.pipeline.tfx_store import StockStore

REFUSED = Verdict((Finding(Check.DRIFT, "it moved", "fare"),))


@pytest.fixture
def runs(config: Config) -> StockStore:
    """A store in which the pipeline has the configuration's name."""
    return StockStore(config.metadata_url, config.output / "artifacts", config.name)


def _accept(runs: StockStore, verdict: Verdict, run: str) -> None:
    written = runs.artifact("DataVerdict")
    (runs.path(written) / "verdict.json").write_text(verdict.to_json())
    runs.ran(run, "DataGate", outputs={"verdict": written})


def _refuse(config: Config, runs: StockStore, verdict: Verdict, run: str) -> None:
    failed = mlmd.Execution.FAILED
    runs.ran(run, "DataGate", state=failed, properties={"throughline_directory": run})
    node = config.artifact_directory / "DataGate"
    working = node / ".system" / "stateful_working_dir" / run
    working.mkdir(parents=True)
    (working / "verdict.json").write_text(verdict.to_json())


def _flags(config: Config) -> list[str]:
    return ["--output", str(config.output), "--metadata", config.metadata_url]


def test_the_newest_verdict_is_found(config: Config, runs: StockStore) -> None:
    """Of accepted data, whatever was refused before."""
    _refuse(config, runs, REFUSED, "first")
    _accept(runs, Verdict(rows={"train": 7}), "second")

    execution, verdict = newest_verdict(config)

    assert (execution.run, verdict.rows) == ("second", {"train": 7})


def test_a_refusal_is_found(
    config: Config, runs: StockStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the newest data was refused; the exit code tells."""
    _accept(runs, Verdict(), "first")
    _refuse(config, runs, REFUSED, "second")

    code = cli.COMMANDS["gate"](_flags(config))

    printed = capsys.readouterr().out
    assert code == 3
    assert printed.startswith("run second\nThe data was refused")
    assert "block     DRIFT    fare" in printed


def test_accepted_data_exits_with_0(
    config: Config, runs: StockStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verdict in JSON is what the artifact has."""
    verdict = Verdict(rows={"train": 7})
    _accept(runs, verdict, "first")

    code = cli.COMMANDS["gate"](["--json", *_flags(config)])

    assert code == 0
    assert Verdict.from_json(capsys.readouterr().out) == verdict


def test_a_run_that_died_has_no_verdict(config: Config, runs: StockStore) -> None:
    """Runs that came to no verdict are skipped."""
    _accept(runs, Verdict(rows={"train": 7}), "first")
    runs.ran("second", "DataGate", state=mlmd.Execution.FAILED)

    assert newest_verdict(config)[0].run == "first"


def test_without_a_run_that_is_said(config: Config, runs: StockStore) -> None:
    """Without a verdict the error says what makes one."""
    runs.ran("first", "ExampleGen")

    with pytest.raises(UsageError, match=r"has a verdict .* `python run_local.py`"):
        newest_verdict(config)


def test_a_finding_can_be_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`gate accept` writes the exception next to the schema, and says where."""
    schema = tmp_path / "schema.pbtxt"
    day = "9999-12-31"

    flags = ["--feature", "fare", "--until", day, "--because", "prices rose"]
    code = cli.COMMANDS["gate"](["accept", "DRIFT", *flags, "--schema", str(schema)])

    path = tmp_path / "exceptions.toml"
    assert code == 0
    assert exceptions.read(path) == (Accepted("DRIFT", day, "prices rose", "fare"),)
    assert f"{path} accepts DRIFT of fare until {day}" in capsys.readouterr().out
