"""The index of all runs, from the summaries beside their reports."""

import json
import re

import pytest

from pipeline.config import Config
from pipeline.report import write_report
from tests.pipeline.report.pages import text_of
from tests.pipeline.tfx_store import StockStore, train


def test_index_lists_all_runs_newest_first(config: Config, store: StockStore) -> None:
    """The index lists each run with a link, outcome, version and AUC."""
    train(store, "monday", version="101", auc=0.8765)
    train(store, "tuesday", auc=0.5432)
    for run in ("monday", "tuesday"):
        write_report(config, run)

    index = config.runs_directory / "index.html"

    assert re.findall(r'href="([^"#]+report.html)"', index.read_text()) == [
        "./tuesday/report.html",
        "./monday/report.html",
    ]
    text = text_of(index)
    for said in ("not blessed", "101", "0.8765", "0.5432", "Metrics over runs"):
        assert said in text


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        '{"started": null, "outcome": "done"}',
        '{"started": 1}',
    ],
)
def test_a_damaged_summary_is_made_again(
    config: Config, store: StockStore, caplog: pytest.LogCaptureFixture, damaged: str
) -> None:
    """A damaged report.json is recreated from the store, with a warning."""
    for run, auc in (("monday", 0.8765), ("tuesday", 0.5432)):
        train(store, run, auc=auc)
        write_report(config, run)
    summary = config.runs_directory / "monday" / "report.json"
    summary.write_text(damaged)
    index = config.runs_directory / "index.html"
    index.unlink()

    write_report(config, "tuesday")

    text = text_of(index)
    assert "0.8765" in text
    assert "0.5432" in text
    assert f"{summary} is damaged" in caplog.text


def test_a_damaged_summary_of_an_unknown_run_is_left_out(
    config: Config, store: StockStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged report.json without a run in the store is skipped with a warning."""
    train(store, "monday", auc=0.8765)
    stray = config.runs_directory / "stray"
    stray.mkdir(parents=True)
    (stray / "report.json").write_text("")

    write_report(config, "monday")

    index = config.runs_directory / "index.html"
    assert "0.8765" in text_of(index)
    assert "stray" not in index.read_text()
    assert "the index leaves run stray out" in caplog.text


def test_a_link_is_where_the_summary_is(config: Config, store: StockStore) -> None:
    """The index links the directory of a run, not the name in its summary."""
    train(store, "monday")
    write_report(config, "monday")
    summary = config.runs_directory / "monday" / "report.json"
    claimed = {**json.loads(summary.read_text()), "run": "javascript:alert(1)"}
    summary.write_text(json.dumps(claimed))

    train(store, "tuesday")
    write_report(config, "tuesday")

    index = (config.runs_directory / "index.html").read_text()
    assert "javascript:" not in re.sub(
        r"<script>.*?</script>", "", index, flags=re.DOTALL
    )
    assert 'href="./monday/report.html"' in index
