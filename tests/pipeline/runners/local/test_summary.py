"""What a run prints at its end."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.config import Config, Quality
from pipeline.errors import (
    EXIT_DATA_REFUSED,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_NOT_BLESSED,
    EXIT_USAGE,
)
from pipeline.quality.eval_config import eval_config
from pipeline.runners.local import run_record, summary
from pipeline.runners.local.console import RunConsole
from pipeline.runners.local.scheduler import Failure
from pipeline.runners.local.summary import _metric, _metrics_table
from pipeline.store.artifact_files import SERVING_CHECK_FILE
from pipeline.store.connection import open_store
from pipeline.store.run_files import Outcome, Run
from tests.pipeline.quality.stock_tfma import Rows, by_columns
from tests.pipeline.tfx_store import StockStore


@pytest.fixture
def run(config: Config, put: Callable[..., Path]) -> Run:
    """A run that has ended."""
    return run_record.new_run(replace(config, data=put("a.csv")))


@pytest.fixture
def screen() -> io.StringIO:
    """What is printed."""
    return io.StringIO()


@pytest.fixture
def console(screen: io.StringIO) -> RunConsole:
    """A console that is no terminal."""
    return RunConsole(Console(file=screen, width=200))


def test_failures_name_cause_and_log(console: RunConsole, screen: io.StringIO) -> None:
    """A refusal isn't called a failure; both name their log."""
    failures = {
        "ExampleGen": Failure("no rows", EXIT_DATA_REFUSED),
        "Trainer": Failure("no memory", EXIT_FAILED),
    }

    summary.print_failures(console, lambda node: Path(f"/l/{node}.log"), failures)

    assert screen.getvalue().splitlines() == [
        "ExampleGen refused the data:",
        "no rows",
        "The log is /l/ExampleGen.log",
        "Trainer failed:",
        "no memory",
        "The log is /l/Trainer.log",
    ]


def test_a_part_without_a_push_is_done(
    config: Config,
    run: Run,
    store: StockStore,
    console: RunConsole,
    screen: io.StringIO,
) -> None:
    """Rows that were set aside are counted, and the places are given."""
    counts = {"rows_read": 2_000, "rows_quarantined": 3}
    quarantine = store.artifact("Quarantine", counts)
    store.ran(run.run_id, "ExampleGen", outputs={"quarantine": quarantine})

    code = summary.print_results(console, config, open_store(config.metadata_url), run)

    text = screen.getvalue()
    assert code == EXIT_DONE
    assert "3 of 2,000 rows don't fit" in text
    assert str(store.root / "Quarantine") in text
    assert str(run.directory / "logs") in text
    assert "Blessed" not in text


def test_a_model_that_was_held_back_is_no_success(
    config: Config,
    run: Run,
    store: StockStore,
    console: RunConsole,
    screen: io.StringIO,
) -> None:
    """A blessed model that was rolled back before ends with 4, and says why."""
    note: dict[str, str | int] = {"pushed": 0, "throughline_push_note": "no, because"}
    evaluation = store.evaluation(auc=0.9)
    store.ran(run.run_id, "Evaluator", outputs={"evaluation": evaluation})
    pushed = store.artifact("PushedModel", note)
    store.ran(run.run_id, "Pusher", outputs={"pushed_model": pushed})

    code = summary.print_results(console, config, open_store(config.metadata_url), run)

    assert code == EXIT_NOT_BLESSED
    assert run.outcome is Outcome.NOT_PUSHED
    assert run.model is None
    assert "Blessed, but not pushed: no, because" in screen.getvalue()


def test_a_model_that_is_not_served_is_no_success(
    config: Config,
    run: Run,
    store: StockStore,
    console: RunConsole,
    screen: io.StringIO,
) -> None:
    """A model that ServingCheck refuses ends with 4, and each of its reasons."""
    evaluation = store.evaluation(auc=0.9)
    store.ran(run.run_id, "Evaluator", outputs={"evaluation": evaluation})
    infra = store.artifact("InfraBlessing", {"blessed": 0})
    found = {"failures": ["agreement: they differ"], "figures": {}}
    (store.path(infra) / SERVING_CHECK_FILE).write_text(json.dumps(found))
    store.ran(run.run_id, "ServingCheck", outputs={"blessing": infra})
    pushed = store.artifact("PushedModel", {"pushed": 0})
    store.ran(run.run_id, "Pusher", outputs={"pushed_model": pushed})

    code = summary.print_results(console, config, open_store(config.metadata_url), run)

    assert code == EXIT_NOT_BLESSED
    assert "Not blessed, and so not pushed:" in screen.getvalue()
    assert "ServingCheck: agreement: they differ" in screen.getvalue()


def test_a_proposal_is_something_to_configure(
    config: Config,
    run: Run,
    store: StockStore,
    console: RunConsole,
    screen: io.StringIO,
) -> None:
    """A run that proposed a schema ends with 2, and names the proposal."""
    schema = store.artifact("Schema")
    store.ran(run.run_id, "SchemaGen", outputs={"schema": schema})

    code = summary.print_proposal(console, config, open_store(config.metadata_url), run)

    assert code == EXIT_USAGE
    assert "no reviewed schema" in screen.getvalue()
    assert f"{store.root}/Schema/1/schema.pbtxt" in screen.getvalue()


def test_the_store_is_shown_without_its_password(config: Config) -> None:
    """A server's URL is given, its password is not."""
    server = replace(config, metadata="mysql://me:geheim@host/db")

    assert summary._metadata(server) == "mysql://me:***@host/db"
    assert summary._metadata(config).endswith("metadata.db")


SCORES = [0.9, 0.3, 0.4, 0.1] * 10


def lines(path: Path, labels: list[float], baseline: list[float] | None) -> list[str]:
    """Evaluates rows, and returns the lines of the table about them."""
    rows = Rows({"hour": [[1]] * 40}, labels, [1.0] * 40, SCORES, baseline)
    by_columns(rows, eval_config(Quality(slice_columns=("hour",))), path)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(_metrics_table(path))
    return [line.strip() for line in console.export_text().splitlines()]


def test_the_metric_that_decides_is_shown_with_its_interval(tmp_path: Path) -> None:
    """The AUC of both models has bounds, the other metrics have none."""
    shown = lines(tmp_path, [1.0, 1.0, 0.0, 0.0] * 10, SCORES[::-1])

    (auc,) = [line for line in shown if line.startswith("AUC ")]
    assert re.fullmatch(r"AUC( +0\.\d+ \(0\.\d+ to 0\.\d+\)){2}", auc)
    (accuracy,) = [line for line in shown if line.startswith("accuracy")]
    assert re.fullmatch(r"accuracy +0\.75 +0\.25", accuracy)


def test_counts_are_written_in_full() -> None:
    """198,612 rows are not 1.986e+05."""
    assert _metric(198_612.0, None) == "198,612"
    assert _metric(1.0, (1.0, 1.0)) == "1 (1 to 1)"


def test_an_undefined_metric_is_no_number(tmp_path: Path) -> None:
    """Rows of one class have no AUC, no AUC-PR and no calibration, and say so."""
    shown = lines(tmp_path, [0.0] * 40, None)

    assert "AUC -" in {re.sub(" +", " ", line) for line in shown}
    assert sum(line.endswith(" -") for line in shown) == 3
