"""The report of a run, on stores as TFX writes them."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifacts import Run
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.lineage.query import open_lineage
from pipeline.report import made, report_on, sections, write_report
from pipeline.report.blocks import SECTION_FILE, Note, Section, Table
from tests.pipeline.tfx_store import StockStore, train

Headings = Callable[[Path], list[str]]


def titles(config: Config, run: str = "monday") -> list[str]:
    """Titles of the sections of a run's report."""
    return [s.title for s in made(Run(run, open_lineage(config)))]


def text_of(page: Path) -> str:
    """What the page says, without scripts, styles and tags."""
    markup = re.sub(r"<(script|style)>.*?</\1>", "", page.read_text(), flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", markup)))


def test_a_stock_run_has_a_report(config: Config, store: StockStore) -> None:
    """A run that another runner made is reported with its verdict and numbers."""
    train(store, "monday", version="101", auc=0.8765)

    page = write_report(config, "monday")

    text = text_of(page)
    assert page == config.runs_directory / "monday" / "report.html"
    assert "Blessed, and pushed as version 101." in text
    for said in ("0.8765", "payment_type", "num_steps", "CsvExampleGen", "1.21.0"):
        assert said in text


def test_sections_are_what_the_run_has(config: Config, store: StockStore) -> None:
    """A run without a model has no sections about one, and says so."""
    examples = store.examples()
    store.ran("monday", "CsvExampleGen", outputs={"examples": examples})

    assert titles(config) == ["Verdict", "Pipeline"]
    assert "has judged no model" in text_of(write_report(config, "monday"))


def test_not_blessed_comes_first_with_the_reason(
    config: Config, store: StockStore
) -> None:
    """The first section says that the candidate was not blessed."""
    train(store, "monday")

    text = text_of(write_report(config, "monday"))

    assert text.index("Not blessed, and so not pushed.") < text.index("Metrics metric")


def test_an_undefined_metric_is_no_number(config: Config, store: StockStore) -> None:
    """A slice without an AUC shows "-"; the AUC of all rows shows its interval."""
    evaluation = store.evaluation(
        slices={"Cash": float("nan"), "Card": 0.75},
        intervals={"auc": (0.81, 0.87)},
        auc=0.84,
        example_count=20.0,
    )
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    page = write_report(config, "monday")

    text = text_of(page)
    # An empty key sorts last, up or down.
    assert re.search(r'<td data-key="">\s*-\s*</td>', page.read_text())
    assert "payment_type Cash 10 -" in text
    assert "payment_type Card 10 0.75" in text
    assert "AUC 0.84 0.81 to 0.87" in text


def test_no_auc_is_said_to_be_none(config: Config, store: StockStore) -> None:
    """A test split of one class has no AUC: "-" in the verdict, and never 0."""
    evaluation = store.evaluation(auc=float("nan"), example_count=20.0)
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    text = text_of(write_report(config, "monday"))

    assert "AUC on the test split -" in text


def test_a_component_adds_its_section(config: Config, store: StockStore) -> None:
    """A section in any artifact is shown, behind the one that it names."""
    made_by = train(store, "monday", version="101")
    note = Note("No group is worse off.", "good")
    Section("Fairness", [note], after="Verdict").write(store.path(made_by.model))
    Section("Importance", [Table(["feature"], [["fare"]])]).write(
        store.path(made_by.examples)
    )

    shown = titles(config)

    assert shown[:2] == ["Verdict", "Fairness"]
    assert shown.index("Importance") == len(shown) - 3
    assert "No group is worse off." in text_of(write_report(config, "monday"))


def test_a_cached_artifact_brings_its_section_again(
    config: Config, store: StockStore
) -> None:
    """A later run that reuses an artifact shows its section too."""
    first = train(store, "monday")
    Section("Quarantine", [Note("3 rows")]).write(store.path(first.examples))
    train(store, "tuesday", examples=first.examples)

    assert "Quarantine" in titles(config, "tuesday")


def test_a_broken_section_is_named_and_costs_no_other(
    config: Config, store: StockStore
) -> None:
    """A component's broken section is told in its place; the rest is there."""
    made_by = train(store, "monday", version="101")
    (store.path(made_by.model) / SECTION_FILE).write_text("{")

    text = text_of(write_report(config, "monday"))

    assert f"{SECTION_FILE} can't be shown" in text
    assert "Blessed, and pushed as version 101." in text


def test_a_failing_section_costs_no_other(
    config: Config, store: StockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A section of ours that fails is told in its place; the rest is there."""
    train(store, "monday", version="101")

    def fail(run: Run) -> Section:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(sections, "ALL", [fail, *sections.ALL])

    text = text_of(write_report(config, "monday"))

    assert "This section can't be shown: ZeroDivisionError: by zero" in text
    assert "Blessed, and pushed as version 101." in text


@pytest.mark.parametrize("broken", ["store", "place"])
def test_writing_never_fails_a_run(
    config: Config, store: StockStore, broken: str
) -> None:
    """Neither a store that is gone nor a place that can't be written raises."""
    train(store, "monday")
    if broken == "store":
        (config.output / "metadata.db").unlink()
    else:
        config.runs_directory.write_text("in the way")

    page = write_report(config, "monday")

    assert not page.exists()


def test_index_lists_all_runs_newest_first(config: Config, store: StockStore) -> None:
    """The index links each run's report and gives outcome, version and AUC."""
    train(store, "monday", version="101", auc=0.8765)
    train(store, "tuesday", auc=0.5432)
    for run in ("monday", "tuesday"):
        write_report(config, run)

    index = config.runs_directory / "index.html"

    assert re.findall(r'href="([^"#]+report.html)"', index.read_text()) == [
        "tuesday/report.html",
        "monday/report.html",
    ]
    text = text_of(index)
    for said in ("not blessed", "101", "0.8765", "0.5432", "Metrics over runs"):
        assert said in text


def test_newest_run_is_reported_if_none_is_named(
    config: Config, store: StockStore
) -> None:
    """`throughline report` is about the newest run; an unknown one is told."""
    train(store, "monday")
    train(store, "tuesday")

    assert report_on(config, None).parent.name == "tuesday"
    assert report_on(config, "monday").parent.name == "monday"
    with pytest.raises(UsageError, match="the newest are monday, tuesday"):
        report_on(config, "sunday")


def test_settings_of_our_runs_are_all_there(config: Config, store: StockStore) -> None:
    """A run of our runner shows each setting by its dotted name."""
    train(store, "monday")
    directory = config.runs_directory / "monday"
    directory.mkdir(parents=True)
    settings = {"seed": 7, "model": {"dropout": 0.25}, "data": None}
    record = {"config": settings, "outcome": "done", "exit_code": 0}
    (directory / "run.json").write_text(json.dumps(record))

    text = text_of(write_report(config, "monday"))

    assert "seed 7" in text
    assert "model.dropout 0.25" in text
