"""The report of a run, on stores as TFX writes them."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from models import features
from pipeline.artifacts import Run
from pipeline.caching.fingerprint import digest
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.report import all_sections, report_on, sections, write_report
from pipeline.report.blocks import SECTION_FILE, Note, Section, Table
from tests.pipeline.report.pages import opened, text_of
from tests.pipeline.tfx_store import StockStore, train

Headings = Callable[[Path], list[str]]


def titles(config: Config, run: str = "monday") -> list[str]:
    """Titles of the sections of a run's report."""
    return [s.title for s in all_sections(opened(config, run))]


def test_a_stock_run_has_a_report(config: Config, store: StockStore) -> None:
    """A run of another runner is reported with its verdict and metrics."""
    train(store, "monday", version="101", auc=0.8765)

    page = write_report(config, "monday")

    text = text_of(page)
    assert page == config.runs_directory / "monday" / "report.html"
    assert "Blessed, and pushed as version 101." in text
    for said in ("0.8765", "payment_type", "num_steps", "CsvExampleGen", "1.21.0"):
        assert said in text


def test_sections_are_what_the_run_has(config: Config, store: StockStore) -> None:
    """A run without a model has no sections about one."""
    examples = store.examples()
    store.ran("monday", "CsvExampleGen", outputs={"examples": examples})

    assert titles(config) == ["Verdict", "Pipeline"]
    assert "has evaluated no model" in text_of(write_report(config, "monday"))


def test_not_blessed_comes_first_with_the_reason(
    config: Config, store: StockStore
) -> None:
    """The first section says that the candidate was not blessed."""
    train(store, "monday")

    text = text_of(write_report(config, "monday"))

    assert text.index("Not blessed, and so not pushed.") < text.index("Metrics metric")


def test_why_a_blessed_model_is_not_pushed(config: Config, store: StockStore) -> None:
    """A model that was rolled back before is not pushed, and the page says so."""
    made = train(store, "monday")
    blessing = store.artifact("ModelBlessing", {"blessed": 1})
    note: dict[str, str | int] = {
        "pushed": 0,
        "throughline_push_note": "it was rolled back on Sunday",
    }
    store.ran("tuesday", "Evaluator", outputs={"blessing": blessing})
    store.ran(
        "tuesday",
        "Pusher",
        inputs={"model": [made.model]},
        outputs={"pushed_model": store.artifact("PushedModel", note)},
    )

    text = text_of(write_report(config, "tuesday"))

    assert "Blessed, and not pushed: it was rolled back on Sunday" in text


def test_a_component_adds_its_section(config: Config, store: StockStore) -> None:
    """A section in an artifact is shown after the one that it names."""
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
    """An invalid section file is reported in its place; other sections are shown."""
    made_by = train(store, "monday", version="101")
    (store.path(made_by.model) / SECTION_FILE).write_text("{")

    text = text_of(write_report(config, "monday"))

    assert f"{SECTION_FILE} can't be shown" in text
    assert "Blessed, and pushed as version 101." in text


def test_a_failing_section_costs_no_other(
    config: Config, store: StockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A built-in section that raises is reported in its place; others are shown."""
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
    """`write_report` doesn't raise without a store or a writable directory."""
    train(store, "monday")
    if broken == "store":
        (config.output / "metadata.db").unlink()
    else:
        config.runs_directory.write_text("in the way")

    page = write_report(config, "monday")

    assert not page.exists()


@pytest.mark.parametrize("name", ["../../../../x", "javascript:alert(1)"])
def test_names_that_lead_elsewhere_have_no_report(
    config: Config, store: StockStore, name: str
) -> None:
    """No report is written for a run whose name is not a valid directory."""
    train(store, name)

    with pytest.raises(UsageError, match="the name of a run must"):
        report_on(config, name)
    page = write_report(config, name)

    assert not page.exists()
    assert not config.runs_directory.exists()


def test_the_title_says_what_the_run_is_about(
    config: Config, store: StockStore
) -> None:
    """The title has the pipeline, the label and the task before the run's name."""
    made_by = train(store, "monday")
    settings = {
        "model_specs": [{"label_key": "big_tipper"}],
        "metrics_specs": [{"metrics": [{"class_name": "BinaryAccuracy"}]}],
    }
    store.ran(
        "tuesday",
        "Evaluator",
        inputs={"model": [made_by.model]},
        outputs={"evaluation": store.evaluation(auc=0.9)},
        properties={"eval_config": json.dumps(settings)},
    )

    titles = [
        re.findall(r"<h1>(.*)</h1>", write_report(config, run).read_text())
        for run in ("monday", "tuesday")
    ]

    assert titles == [
        ["stock · monday"],
        ["stock: big_tipper, binary classification · tuesday"],
    ]


def with_key(store: StockStore, run: str, features_digest: str) -> None:
    """Registers statistics and a model that was trained with a features module."""
    examples = store.examples()
    statistics = store.statistics(train=70, eval=30)
    store.ran(run, "ExampleGen", outputs={"examples": examples})
    store.ran(run, "StatisticsGen", outputs={"statistics": statistics})
    key = json.dumps({"models.features": features_digest})
    store.ran(
        run,
        "Trainer",
        outputs={"model": store.artifact("Model")},
        properties={"throughline_key": key},
    )


def test_columns_are_marked_by_what_the_model_makes_of_them(
    config: Config, store: StockStore
) -> None:
    """The table and the charts' titles show the role of each column."""
    with_key(store, "monday", digest(Path(features.__file__).read_bytes()))

    page = write_report(config, "monday").read_text()

    text = text_of(config.runs_directory / "monday" / "report.html")
    assert "fare feature and label float" in text
    assert "payment_type feature string" in text
    assert re.findall(r"<figcaption>(.*)</figcaption>", page) == [
        "fare (feature and label)",
        "payment_type",
    ]


def test_columns_of_other_code_are_not_marked(
    config: Config, store: StockStore
) -> None:
    """Roles are omitted for a run with another version of the features module."""
    with_key(store, "monday", "0" * 64)

    text = text_of(write_report(config, "monday"))

    assert "used as" not in text
    assert "fare float" in text


def test_undefined_metrics_are_dashes(config: Config, store: StockStore) -> None:
    """An undefined metric is a dash in the report and the index."""
    evaluation = store.evaluation(
        {"Cash": math.nan, "Card": 0.7}, auc=math.nan, calibration=1.0
    )
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    text = text_of(write_report(config, "monday"))

    assert "AUC - calibration" in text
    assert "payment_type Cash 10 -" in text
    assert (
        json.loads(
            (config.runs_directory / "monday" / "report.json").read_text(),
            parse_constant=pytest.fail,
        )["auc"]
        is None
    )
    assert re.search(
        r"monday \S+ \S+ done -", text_of(config.runs_directory / "index.html")
    )


def test_newest_run_is_reported_if_none_is_named(
    config: Config, store: StockStore
) -> None:
    """`throughline report` reports the newest run; an unknown one is an error."""
    train(store, "monday")
    train(store, "tuesday")

    assert report_on(config, None).parent.name == "tuesday"
    assert report_on(config, "monday").parent.name == "monday"
    with pytest.raises(UsageError, match="the newest are monday, tuesday"):
        report_on(config, "sunday")
