"""Quarter after quarter: what a new span makes run again, and what it does not."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tfx.components.example_gen.input_processor import FileBasedInputProcessor
from tfx.proto import example_gen_pb2

from data import quarters
from pipeline.store.graph import Graph
from tests.e2e.places import FLAGS
from tests.e2e.runs import PROJECT, Finished, finished, run_local_lightly
from tests.e2e.warm import WarmProcess

pytestmark = pytest.mark.e2e

THROUGHLINE = (sys.executable, "-m", "pipeline.cli")
# All else follows from the data, or looks at the metadata store anew.
STAYS = {"ImportSchemaGen"}
# The four quarters of 2016 are the smallest: two hundred trips each.
FIRST, LAST = 13, 16


class Quarters:
    """Quarters that arrive one by one, and an output directory beside them."""

    def __init__(self, root: Path, warm: WarmProcess) -> None:
        self.all = root / "all"
        self.data = root / "data"
        self.output = root / "out"
        self._warm = warm
        quarters.write_sample(self.all)

    def arrive(self, span: int) -> None:
        """Puts a span where the pipeline looks."""
        shutil.copytree(self.all / f"span-{span}", self.data / f"span-{span}")

    @property
    def flags(self) -> tuple[str, ...]:
        """What to read, and how to train on little."""
        return (*FLAGS, "--data", str(self.data), "--pattern", quarters.PATTERN)

    def run(self, *flags: str) -> Finished:
        """Runs to the end."""
        code, text = self._warm.run(self.output, *self.flags, *flags)
        return finished(code, text, self.output)

    def properties(self, run: Finished) -> dict[str, Any]:
        """What the store has of the examples of a run."""
        found = Graph(run.store).outputs_of_run(run.run.name)["ExampleGen"]["examples"]
        return dict(found[0].properties)


@dataclass(frozen=True)
class Arriving:
    """A place where quarters came one by one, and the runs after them."""

    place: Quarters
    first: Finished
    touched: Finished
    second: Finished


@pytest.fixture(scope="module")
def arriving(tmp_path_factory: pytest.TempPathFactory, warm: WarmProcess) -> Arriving:
    """Three quarters are read, then touched, and then a fourth arrives."""
    place = Quarters(tmp_path_factory.mktemp("quarters"), warm)
    for span in range(FIRST, LAST):
        place.arrive(span)
    first = place.run("--window", "3")
    for path in place.data.rglob("*.csv"):
        os.utime(path, (0, 0))
    touched = place.run("--window", "3", "--force")
    place.arrive(LAST)
    second = place.run("--window", "3")
    return Arriving(place, first, touched, second)


def ran(run: Finished) -> set[str]:
    """Component classes that the run executed, and not only took from the cache."""
    return {name for name, state in run.states().items() if state == "COMPLETE"}


def test_a_window_of_quarters_makes_a_model(arriving: Arriving) -> None:
    """Three spans are read together, and the console says so."""
    run = arriving.first

    assert run.exit_code == 0, run.text
    assert "ExampleGen reads spans 13 to 15\n" in run.text
    assert len(run.versions) == 1


def test_touched_files_change_nothing(arriving: Arriving) -> None:
    """Other times of change run nothing that reads data."""
    # The model to beat is looked up anew, and the first time there is one, judged by.
    assert ran(arriving.touched) == {"Resolver", "Evaluator", "Pusher"}


def test_a_new_span_runs_what_follows_from_data(
    arriving: Arriving,
) -> None:
    """A new span moves the window: all that reads data runs, and no more."""
    run = arriving.second

    assert run.exit_code == 0, run.text
    assert "ExampleGen reads spans 14 to 16, skips 13\n" in run.text
    assert set(run.states()) - ran(run) == STAYS


def test_the_store_has_what_tfx_would_put_there(
    arriving: Arriving,
) -> None:
    """The span is the one that TFX's own processor finds, and others are noted."""
    place = arriving.place
    split = example_gen_pb2.Input.Split(name="all", pattern=quarters.PATTERN)
    stock = FileBasedInputProcessor(str(place.data), [split])

    noted = place.properties(arriving.second)

    assert (noted["span"], None) == stock.resolve_span_and_version()
    assert "version" not in noted
    assert str(noted["input_fingerprint"]).count("sha256:") == 3
    assert noted["spans_passed_over"] == "13"
    assert [s["span"] for s in noted["spans"]] == [14, 15, 16]


def test_lineage_knows_the_span(arriving: Arriving) -> None:
    """The first quarter leads to the first model only, the second to both."""
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
    assert versions_from(14) == {p.name for p in arriving.second.versions}


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
