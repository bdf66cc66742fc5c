"""The earlier spans of a window: taken in once, and remembered by what decides."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.proto.orchestration import pipeline_pb2

from pipeline import create_pipeline
from pipeline.config import Config, Gate, Splits
from pipeline.errors import DataRefusedError, ThroughlineError
from pipeline.ingestion import digests
from pipeline.runners import compiler
from pipeline.runners.backlog import Backlog
from pipeline.runners.local import parts
from pipeline.store.connection import open_store
from pipeline.store.graph import Graph
from pipeline.store.windows import EarlierSpan, Window
from tests.pipeline.tfx_store import StockStore

# protobuf warns on behalf of TFX's caller, which is us.
pytestmark = pytest.mark.filterwarnings("ignore:label:DeprecationWarning")

PATTERN = "span-{SPAN}/*.csv"
UP_TO_THE_GATE = {
    "ExampleGen",
    "ImportSchemaGen",
    "StatisticsGen",
    "ExampleValidator",
    "DataBaselines",
    "DataGate",
}
Put = Callable[..., Path]


class _Place:
    """A pipeline over spans, whose nodes leave in the store what real ones would."""

    def __init__(self, config: Config, data: Path) -> None:
        self.config = replace(config, data=data, pattern=PATTERN, window="all")
        self.fake = StockStore(
            config.metadata_url, config.output / "artifacts", config.name
        )
        self.store = MetadataStore(open_store(config.metadata_url))
        self.ran: list[tuple[str, str]] = []
        self.failing: dict[tuple[str, str], Exception] = {}
        self.uncached: list[str] | None = None

    def backlog(self, run_id: str) -> Backlog:
        pipeline = compiler.compile_pipeline(create_pipeline(self.config))
        parts.uncache(pipeline, self.uncached)
        return Backlog(pipeline, run_id, self.store, None)

    def take_in(self, run_id: str) -> Window:
        """Takes in the earlier spans, and settles the newest as the run itself."""
        self.ran = []
        backlog = self.backlog(run_id)
        window = backlog.take_in(self._run_node)
        assert window is not None
        return window

    def _run_node(self, own: pipeline_pb2.Pipeline, node: str, part: str) -> None:
        span = part.partition("/")[2]
        self.ran.append((span, node))
        failure = self.failing.get((span, node))
        outputs: dict[str, int] = {}
        backlog = Backlog(own, part, self.store, None)
        if node == "ExampleGen" and not failure:
            outputs["examples"] = self._examples(backlog)
        if node == "DataGate" and not failure:
            made = Graph(self.store).outputs_of_run(part)["ExampleGen"]["examples"]
            about = {"examples_id": made[0].id}
            outputs["verdict"] = self.fake.artifact("DataVerdict", about)
        state = mlmd.Execution.FAILED if failure else mlmd.Execution.COMPLETE
        execution = self.fake.ran(part, node, outputs=outputs, state=state)
        if failure:
            raise failure
        if node == "DataGate":
            backlog.note(execution)

    def _examples(self, backlog: Backlog) -> int:
        request = backlog._request
        assert request
        (span,) = request.select_to_ingest().taken
        content = digests.fingerprint(request.base, {"all": span.pattern})
        return self.fake.examples(span=span.number, input_fingerprint=content)

    def spans(self) -> list[str]:
        """The spans that were taken in by the last call."""
        return list(dict.fromkeys(span for span, _ in self.ran))


@pytest.fixture
def place(config: Config, put: Put) -> _Place:
    """Three spans, and a store without a run."""
    return _Place(config, put(*(f"span-{n}/a.csv" for n in (1, 2, 3))))


def test_earlier_spans_are_taken_in_one_after_the_other(place: _Place) -> None:
    """Each older span runs up to the gate before the next; the newest is the run's."""
    window = place.take_in("monday")

    assert place.spans() == ["span-1", "span-2"]
    assert {node for span, node in place.ran if span == "span-1"} == UP_TO_THE_GATE
    assert place.ran[: len(UP_TO_THE_GATE)][-1] == ("span-1", "DataGate")
    assert (window.newest, [s.number for s in window.accepted]) == ("3", [1, 2])
    graph = Graph(place.store)
    assert [s.examples for s in window.accepted] == [
        graph.outputs_of_run(f"monday/span-{n}")["ExampleGen"]["examples"][0].id
        for n in (1, 2)
    ]
    assert graph.runs() == []


def test_a_span_is_taken_in_once(place: _Place, put: Put) -> None:
    """Another run with another window reuses what is there, and adds what is new."""
    first = place.take_in("monday")
    put("span-4/a.csv")

    second = place.take_in("tuesday")

    assert place.spans() == ["span-3"]
    assert second.earlier[:2] == first.earlier


@pytest.mark.parametrize(
    "change",
    [
        {"gate": Gate(max_duplicates=0.5)},
        {"label_policy": "card-trips"},
        {"encoding": "latin-1"},
    ],
)
def test_what_judges_a_span_decides(place: _Place, change: dict[str, Any]) -> None:
    """Another policy, label or encoding takes in every span of the window again."""
    place.take_in("monday")
    place.config = replace(place.config, **change)

    place.take_in("tuesday")

    assert place.spans() == ["span-1", "span-2"]


def test_what_comes_later_does_not_decide(place: _Place) -> None:
    """Settings of training, and the window itself, leave spans as they are."""
    place.take_in("monday")
    place.config = replace(place.config, train_steps=7, window=3)

    place.take_in("tuesday")

    assert place.ran == []


def test_late_data_is_another_span(place: _Place, put: Put) -> None:
    """A span whose files have changed is taken in again, and only that one."""
    first = place.take_in("monday")
    (put("span-1/late.csv") / "span-1" / "late.csv").write_text("more")

    second = place.take_in("tuesday")

    assert place.spans() == ["span-1"]
    assert second.earlier[0].examples != first.earlier[0].examples
    assert second.earlier[1] == first.earlier[1]


def test_a_refused_span_stays_out(place: _Place) -> None:
    """The others are taken in; the reason is recorded, shown, and not asked again."""
    refusal = "The data was refused (1 blocking):\n  fare (train): too high\nFix it."
    place.failing["span-1", "DataGate"] = DataRefusedError(refusal)

    first = place.take_in("monday")
    second = place.take_in("tuesday")

    assert first.lines() == ["span 1 stays out: fare (train): too high"]
    assert [s.number for s in first.accepted] == [2]
    assert place.ran == []
    assert second == first


def test_a_span_that_can_not_be_ingested_stays_out(place: _Place) -> None:
    """What ExampleGen refuses is as much refused as what the gate does."""
    place.failing["span-2", "ExampleGen"] = DataRefusedError("a.csv has no rows")

    window = place.take_in("monday")

    assert window.earlier[1] == EarlierSpan(2, "2", refused="a.csv has no rows")
    assert ("span-2", "StatisticsGen") not in place.ran


def test_a_span_that_is_right_now_is_taken_in(place: _Place, put: Put) -> None:
    """A refused span comes in when its files were corrected."""
    place.failing["span-1", "DataGate"] = DataRefusedError("bad")
    place.take_in("monday")
    place.failing.clear()
    (put("span-1/a.csv") / "span-1" / "a.csv").write_text("good")

    window = place.take_in("tuesday")

    assert [s.number for s in window.accepted] == [1, 2]


def test_a_failure_names_its_span(place: _Place) -> None:
    """What isn't the data's fault fails the node, and settles nothing."""
    place.failing["span-2", "StatisticsGen"] = ThroughlineError("disk full")

    with pytest.raises(ThroughlineError, match=r"span 2, StatisticsGen: disk full"):
        place.take_in("monday")
    place.failing.clear()
    window = place.take_in("tuesday")

    assert place.spans() == ["span-2"]
    assert [s.number for s in window.accepted] == [1, 2]


def test_artifacts_that_are_gone_are_made_again(place: _Place) -> None:
    """A span whose Examples were freed is taken in again."""
    first = place.take_in("monday")
    (examples,) = Graph(place.store).by_id([first.earlier[0].examples or 0])
    shutil.rmtree(examples.uri)

    second = place.take_in("tuesday")

    assert place.spans() == ["span-1"]
    assert second.earlier[0].examples != examples.id


@pytest.mark.parametrize(
    ("uncached", "spans"),
    [
        ([], ["span-1", "span-2"]),
        (["DataGate"], ["span-1", "span-2"]),
        (["Trainer"], []),
    ],
)
def test_no_cache_is_for_earlier_spans_too(
    place: _Place, uncached: list[str], spans: list[str]
) -> None:
    """Without the cache of a node up to the gate, every span is taken in again."""
    place.take_in("monday")
    place.uncached = uncached

    place.take_in("tuesday")

    assert place.spans() == spans


def test_without_a_schema_the_window_is_one(place: _Place, tmp_path: Path) -> None:
    """Before there is a reviewed schema, ExampleGen reads the window by itself."""
    place.config = replace(place.config, schema=tmp_path / "none.pbtxt")

    window = place.take_in("monday")

    assert (window, place.ran) == (Window("3"), [])


def test_data_without_spans_has_no_window(place: _Place, put: Put) -> None:
    """Without a placeholder there is nothing before the data of the run."""
    put("a.csv")
    place.config = replace(place.config, pattern="*.csv", window=1)

    assert place.backlog("monday").take_in(place._run_node) is None


def test_gaps_and_skipped_spans_are_kept(place: _Place, put: Put) -> None:
    """The window says what it lacks and what it leaves out."""
    put("span-6/a.csv")
    place.config = replace(place.config, window=2)

    window = place.take_in("monday")

    assert (window.missing, window.skipped) == ("4 to 5", "1 to 2")


def test_a_window_of_spans_to_test_on_is_refused(place: _Place) -> None:
    """Refused spans don't count when there must be one to learn from."""
    place.failing["span-1", "DataGate"] = DataRefusedError("bad")
    place.config = replace(place.config, splits=Splits(test_spans=2))

    with pytest.raises(DataRefusedError, match="2 spans of the window can be read"):
        place.take_in("monday")
