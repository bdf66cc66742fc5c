"""Quarter after quarter: what a new span makes run again, and what it does not."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tfx.components.example_gen.input_processor import FileBasedInputProcessor
from tfx.proto import example_gen_pb2

from data import quarters
from pipeline.config import GATE_NODE, Config
from pipeline.store.artifact_files import VERDICT_FILE
from pipeline.store.graph import Graph
from pipeline.store.properties import VERDICT
from pipeline.store.windows import of_run
from pipeline.trust.checks import Check
from pipeline.trust.past import accepted
from pipeline.trust.policy import Verdict
from tests.e2e.orchestrated import SMOKE, same_weights
from tests.e2e.runs import PROJECT, Finished, finished, run_local_lightly
from tests.e2e.test_orchestrators import run_on_luigi
from tests.e2e.warm import WarmProcess

pytestmark = pytest.mark.e2e

FLAGS = (*SMOKE, "--max-auc-loss", "1", "--quality.max-slice-auc-loss", "1")
THROUGHLINE = (sys.executable, "-m", "pipeline.cli")
PATTERN = "span-{SPAN}/v{VERSION}/*.csv"
# All else follows from the data, or looks at the metadata store anew.
STAYS = {"ImportSchemaGen"}
# The four quarters of 2016 are the smallest: two hundred trips each.
FIRST, BROKEN, LAST = 13, 14, 16


class Quarters:
    """Quarters that arrive one by one, and an output directory beside them."""

    def __init__(self, root: Path, warm: WarmProcess) -> None:
        self.all = root / "all"
        self.data = root / "data"
        self.output = root / "out"
        self._warm = warm
        quarters.write_sample(self.all)

    def arrive(self, span: int, version: int = 1) -> Path:
        """Puts a delivery of a span where the pipeline looks; returns its file."""
        (file,) = (self.all / f"span-{span}").iterdir()
        delivery = self.data / f"span-{span}" / f"v{version}"
        delivery.mkdir(parents=True)
        return Path(shutil.copy(file, delivery))

    @property
    def flags(self) -> tuple[str, ...]:
        """What to read, and how to train on little."""
        return (*FLAGS, "--data", str(self.data), "--pattern", PATTERN)

    def run(self, *flags: str) -> Finished:
        """Runs to the end."""
        code, text = self._warm.run(self.output, *self.flags, *flags)
        return finished(code, text, self.output)

    def properties(self, run: Finished) -> dict[str, Any]:
        """What the store has of the examples of a run."""
        found = Graph(run.store).outputs_of_run(run.run.name)["ExampleGen"]["examples"]
        return dict(found[0].properties)


def in_kilometres(file: Path) -> None:
    """Puts a defect into a delivery that the gate must find."""
    rows = pd.read_csv(file, dtype=str)
    rows["trip_miles"] = (rows["trip_miles"].astype(float) * 1609).astype(str)
    rows.to_csv(file, index=False)


@dataclass(frozen=True)
class Arriving:
    """A place where quarters came one by one, and the runs after them."""

    place: Quarters
    first: Finished
    touched: Finished
    second: Finished


@pytest.fixture(scope="module")
def arriving(tmp_path_factory: pytest.TempPathFactory, warm: WarmProcess) -> Arriving:
    """Three quarters, one of them broken; they are touched; then a fourth arrives.

    With the fourth comes the broken one again, corrected.
    """
    place = Quarters(tmp_path_factory.mktemp("quarters"), warm)
    for span in range(FIRST, LAST):
        file = place.arrive(span)
        if span == BROKEN:
            in_kilometres(file)
    first = place.run("--window", "3")
    for path in place.data.rglob("*.csv"):
        os.utime(path, (0, 0))
    touched = place.run("--window", "3", "--force")
    place.arrive(LAST)
    place.arrive(BROKEN, version=2)
    second = place.run("--window", "3")
    return Arriving(place, first, touched, second)


def ran(run: Finished) -> set[str]:
    """Component classes that the run executed, and not only took from the cache."""
    return {name for name, state in run.states().items() if state == "COMPLETE"}


def taken_in(run: Finished) -> list[str]:
    """Names of the earlier spans that a run has taken in."""
    return re.findall(r"takes in span (\d+)$", run.text, re.MULTILINE)


def learned_from(run: Finished) -> list[int]:
    """Numbers of the spans whose Examples Transform has read."""
    graph = Graph(run.store)
    (transform,) = (s for s in graph.run(run.run.name) if s.node == "Transform")
    examples = graph.by_id(transform.inputs["examples"])
    return sorted(int(artifact.properties["span"]) for artifact in examples)


def test_a_window_of_quarters_makes_a_model(arriving: Arriving) -> None:
    """Its accepted spans are learned from together; the refused one is named."""
    run = arriving.first

    assert run.exit_code == 0, run.text
    assert "ExampleGen reads spans 13 to 15\n" in run.text
    assert taken_in(run) == ["13", "14"]
    assert "window     span 14 stays out: trip_miles (" in run.text
    assert learned_from(run) == [13, 15]
    assert len(run.versions) == 1


def test_touched_files_change_nothing(arriving: Arriving) -> None:
    """Other times of change run nothing that reads data, not even what was refused."""
    # The model to beat is looked up anew, and the first time there is one, judged by.
    assert ran(arriving.touched) == {"Resolver", "Evaluator", "Pusher"}
    assert taken_in(arriving.touched) == []
    assert "span 14 stays out" in arriving.touched.text


def test_a_new_span_runs_what_follows_from_data(
    arriving: Arriving,
) -> None:
    """A new span moves the window: what reads data runs, and no more."""
    run = arriving.second

    assert run.exit_code == 0, run.text
    assert "ExampleGen reads spans 14 to 16, skips 13\n" in run.text
    assert set(run.states()) - ran(run) == STAYS


def test_each_span_is_ingested_and_judged_once(arriving: Arriving) -> None:
    """Span 15 was the newest, and isn't read again; the late delivery of 14 is."""
    graph = Graph(arriving.second.store)
    done = {
        node: [e.state for e in graph.node("taxi", node) if e.state != "CACHED"]
        for node in ("ExampleGen", "StatisticsGen", "DataGate")
    }

    assert taken_in(arriving.second) == ["14"]
    assert learned_from(arriving.second) == [14, 15, 16]
    # 13, the broken 14, 15, 16, and 14 again.
    assert done["ExampleGen"] == done["StatisticsGen"] == ["COMPLETE"] * 5
    assert sorted(done["DataGate"]) == [*["COMPLETE"] * 4, "FAILED"]


def test_the_analysis_reads_new_spans_only(arriving: Arriving) -> None:
    """The first run has cached what the rows of span 15 say; 14 was refused then."""
    logs = [
        (run.run / "logs" / "Transform.log").read_text()
        for run in (arriving.first, arriving.second)
    ]

    assert "The analysis reads 2 of 2 spans" in logs[0]
    assert "The analysis reads 2 of 3 spans" in logs[1]


def test_the_live_model_answers_for_the_new_span(arriving: Arriving) -> None:
    """The first run's model is found for span 16; it has seen too few rows."""
    first, touched, second = (
        Verdict.from_json(
            (run.output_of(GATE_NODE, VERDICT) / VERDICT_FILE).read_text()
        )
        for run in (arriving.first, arriving.touched, arriving.second)
    )

    why = "no live model is known, or it has learned from this data"
    assert first.without_baseline["live model's eval"] == why
    # Its own model doesn't change what is known of span 15.
    assert touched == first
    said = second.without_baseline["live model's eval"]
    assert re.search(r"can't be asked: it answered \d+ rows of its eval split", said)


def test_the_store_has_what_tfx_would_put_there(
    arriving: Arriving,
) -> None:
    """Span and version are those that TFX's own processor finds."""
    place = arriving.place
    split = example_gen_pb2.Input.Split(name="all", pattern=PATTERN)
    stock = FileBasedInputProcessor(str(place.data), [split])

    noted = place.properties(arriving.second)

    assert (noted["span"], noted["version"]) == stock.resolve_span_and_version()
    assert str(noted["input_fingerprint"]).count("sha256:") == 1
    assert [s["span"] for s in noted["spans"]] == [16]
    found = of_run(Graph(arriving.second.store).run(arriving.second.run.name))
    assert found is not None
    assert (found.skipped, found.refused) == ("13", ())


def test_the_model_is_that_of_an_orchestrator(
    arriving: Arriving, tmp_path: Path, warm: WarmProcess
) -> None:
    """Luigi, which takes in the whole window at once, trains the same weights."""
    place = arriving.place
    flags = ("--pattern", PATTERN, "--window", "3")

    run = run_on_luigi(place.data, tmp_path, warm, *flags)

    assert run.exit_code == 0, run.text
    newest = replace(arriving.second, versions=arriving.second.versions[-1:])
    assert same_weights(run, newest)


def test_the_clean_quarters_are_accepted(tmp_path: Path, warm: WarmProcess) -> None:
    """Of all 16 none is refused, and one is warned of, though the model stays behind.

    A model learns from twelve of them; then a year comes at once.
    """
    place = Quarters(tmp_path, warm)
    for span in range(1, 13):
        place.arrive(span)
    first = place.run("--window", "all")
    for span in range(13, 17):
        place.arrive(span)
    # What follows would be a second model, which nothing here looks at.
    second = place.run("--window", "4", "--to", "DataGate")

    verdicts = [each.verdict for each in accepted(Config("taxi", output=place.output))]

    assert (first.exit_code, second.exit_code) == (0, 0), first.text + second.text
    assert [each.spans for each in verdicts] == [(span,) for span in range(1, 17)]
    assert verdicts[15].compared_with["live model's"] == "span 12, 1,083 rows"
    assert [
        (*verdict.spans, finding.anomaly, finding.column, finding.severity)
        for verdict in verdicts
        for finding in verdict.findings
    ] == [(13, Check.ROWS_HALVED, "", "warn")]


def test_lineage_knows_the_span(arriving: Arriving) -> None:
    """The first quarter leads to the first model only, the third to both."""
    place, first = arriving.place, arriving.first

    def versions_from(span: int) -> set[str]:
        command = [*THROUGHLINE, "lineage", "data", str(span), "--json"]
        done = subprocess.run(
            [*command, "--output", str(place.output)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
        models = json.loads(done.stdout)["models"]
        return {version for model in models for version in model["versions"]}

    assert versions_from(13) == {first.versions[0].name}
    assert versions_from(15) == {p.name for p in arriving.second.versions}


def test_nothing_changed_is_told_by_contents(arriving: Arriving) -> None:
    """Files that were only touched are unchanged; no run starts, nothing is loaded."""
    place = arriving.place
    for path in place.data.rglob("*.csv"):
        path.touch()
    before = finished(0, "", place.output)

    run = run_local_lightly(place.output, *place.flags, "--window", "3")

    assert run.exit_code == 0, run.text
    assert "Nothing has changed" in run.text
    assert run.run == before.run


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--span", "99"), 3, "Span 99 asked for, but in"),
        (("--pattern", "week-{SPAN}/*.csv"), 3, "No file in"),
        (("--pattern", "{SPAN}-{YYYY}-{MM}-{DD}/*"), 2, "either {SPAN} or a date"),
        (("--span", "last"), 2, "span is 'last', expected newest, a number"),
        (("--span", "14", "--window", "2"), 2, "a window counts from the newest"),
    ],
)
def test_what_can_not_be_read_is_told_first(
    arriving: Arriving, flags: tuple[str, ...], code: int, said: str
) -> None:
    """A wrong span or pattern ends before anything is loaded, in one sentence."""
    place = arriving.place

    run = place.run(*flags)

    assert run.exit_code == code
    assert said in run.text
    assert "Loading" not in run.text
    assert "Traceback" not in run.text
