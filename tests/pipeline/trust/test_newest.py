"""The newest verdict, whether the data was accepted or refused."""

from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.trust.checks import Check
from pipeline.trust.newest import newest_verdict
from pipeline.trust.policy import Finding, Verdict
from tests.pipeline.tfx_store import StockStore

REFUSED = Verdict((Finding(Check.DRIFT, "it moved", "fare"),))


@pytest.fixture
def runs(config: Config) -> StockStore:
    """A store in which the pipeline has the configuration's name."""
    return StockStore(config.metadata_url, config.output / "artifacts", config.name)


def accept(runs: StockStore, verdict: Verdict, run: str) -> None:
    """Registers a run whose data was accepted."""
    written = runs.artifact("DataVerdict")
    (runs.path(written) / "verdict.json").write_text(verdict.to_json())
    runs.ran(run, "DataGate", outputs={"verdict": written})


def refuse(config: Config, runs: StockStore, verdict: Verdict, run: str) -> None:
    """Registers a run whose data was refused."""
    failed = mlmd.Execution.FAILED
    runs.ran(run, "DataGate", state=failed, properties={"throughline_directory": run})
    node = Path(config.artifact_root) / "DataGate"
    working = node / ".system" / "stateful_working_dir" / run
    working.mkdir(parents=True)
    (working / "verdict.json").write_text(verdict.to_json())


def test_the_newest_verdict_is_found(config: Config, runs: StockStore) -> None:
    """Of accepted data, whatever was refused before."""
    refuse(config, runs, REFUSED, "first")
    accept(runs, Verdict(rows={"train": 7}), "second")

    execution, verdict = newest_verdict(config)

    assert (execution.run, verdict.rows) == ("second", {"train": 7})


def test_a_run_that_died_has_no_verdict(config: Config, runs: StockStore) -> None:
    """Runs that came to no verdict are skipped."""
    accept(runs, Verdict(rows={"train": 7}), "first")
    runs.ran("second", "DataGate", state=mlmd.Execution.FAILED)

    assert newest_verdict(config)[0].run == "first"


def test_without_a_run_that_is_said(config: Config, runs: StockStore) -> None:
    """Without a verdict the error says what makes one."""
    runs.ran("first", "ExampleGen")

    with pytest.raises(UsageError, match=r"has a verdict .* `python run_local.py`"):
        newest_verdict(config)


def test_a_refusal_is_newest_too(config: Config, runs: StockStore) -> None:
    """The verdict of a run that was stopped is in the gate's working directory."""
    accept(runs, Verdict(), "first")
    refuse(config, runs, REFUSED, "second")

    execution, verdict = newest_verdict(config)

    assert (execution.run, verdict) == ("second", REFUSED)
