"""Which Examples a run learns from, and which it tests on."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.types import Artifact
from tfx.types.standard_artifacts import Examples, TransformCache

from pipeline.components.data_gate import DataVerdict
from pipeline.components.span_order import span_of
from pipeline.components.span_window import SpanWindowStrategy
from pipeline.config import Config
from pipeline.store import upkeep
from pipeline.store.connection import open_store
from pipeline.store.properties import WINDOW
from pipeline.store.windows import EarlierSpan, Window


class _Spans:
    """Spans 5 to 8 in a store; 8 is a run's own, and 5 came late."""

    def __init__(self, store: MetadataStore, root: Path) -> None:
        self.store = store
        self.root = root
        self.caches: list[Artifact] = []
        self.examples = {n: self._put(Examples(), n) for n in (6, 7, 8, 5)}
        self.verdicts = {n: self._put(DataVerdict(), n) for n in (6, 7, 8, 5)}

    def _put(self, artifact: Artifact, span: int) -> Artifact:
        artifact.uri = f"{self.root}/{artifact.type_name}-{span}"
        artifact.set_int_custom_property("span", span)
        kind = artifact.artifact_type
        kind.id = self.store.put_artifact_type(kind)
        artifact.type_id = kind.id
        (artifact.id,) = self.store.put_artifacts([artifact.mlmd_artifact])
        return artifact

    def ingested(self, window: Window) -> None:
        """Records a window on the execution that has ingested the newest span."""
        kind = self.store.put_execution_type(mlmd.ExecutionType(name="ExampleGen"))
        execution = mlmd.Execution(type_id=kind)
        execution.custom_properties[WINDOW].string_value = window.to_json()
        event = mlmd.Event(type=mlmd.Event.OUTPUT)
        event.path.steps.add().key = "examples"
        used = [(self.examples[8].mlmd_artifact, event)]
        self.store.put_execution(execution, used, [])

    def analyzed(
        self, numbers: Sequence[int], read: Artifact | None = None
    ) -> Artifact:
        """Records an execution of Transform; returns the cache that it wrote."""
        self.caches.append(self._put(TransformCache(), 100 + len(self.caches)))
        written = self.caches[-1]
        Path(written.uri).mkdir()
        Path(written.uri, "a.parquet").write_text("values")
        kind = self.store.put_execution_type(mlmd.ExecutionType(name="Transform"))
        execution = mlmd.Execution(
            type_id=kind, last_known_state=mlmd.Execution.COMPLETE
        )
        events = [
            *((self.examples[n], "examples", mlmd.Event.INPUT) for n in numbers),
            *([(read, "analyzer_cache", mlmd.Event.INPUT)] if read else []),
            (written, "updated_analyzer_cache", mlmd.Event.OUTPUT),
        ]
        used = []
        for artifact, name, direction in events:
            event = mlmd.Event(type=direction)
            event.path.steps.add().key = name
            used.append((artifact.mlmd_artifact, event))
        (execution.id, _, _) = self.store.put_execution(execution, used, [])
        (execution,) = self.store.get_executions_by_id([execution.id])
        upkeep.note_execution(self.store, execution, {})
        return written

    def cache(self, test_spans: int = 0) -> list[Artifact]:
        """Returns the cache that Transform gets."""
        return self.window(test_spans)["analyzer_cache"]

    def window(self, test_spans: int = 0) -> dict[str, list[Artifact]]:
        """Resolves the window of the run."""
        given = {"examples": [self.examples[8]], "verdict": [self.verdicts[8]]}
        if self.caches:
            given["analyzer_cache"] = self.caches
        if test_spans:
            given["test"] = given["examples"]
        return SpanWindowStrategy(test_spans).resolve_artifacts(self.store, given)


@pytest.fixture
def spans(config: Config, tmp_path: Path) -> _Spans:
    """A window of which span 7 was refused."""
    found = _Spans(MetadataStore(open_store(config.metadata_url)), tmp_path)
    earlier = [
        EarlierSpan(n, str(n), found.examples[n].id, found.verdicts[n].id)
        for n in (5, 6)
    ]
    found.ingested(Window("8", (*earlier, EarlierSpan(7, "7", refused="bad"))))
    return found


def test_the_newest_analysis_is_read(spans: _Spans) -> None:
    """Of the caches of earlier runs it is the newest that has all its files."""
    first = spans.analyzed((5, 6))
    second = spans.analyzed((6, 8), first)

    assert spans.cache() == [second]
    Path(second.uri, "a.parquet").unlink()
    assert spans.cache() == [first]


def test_the_same_spans_are_analyzed_with_the_same_cache(spans: _Spans) -> None:
    """Or Transform would run again for a cache that it has written itself."""
    first = spans.analyzed((5, 6))
    same = spans.analyzed((5, 6, 8), first)
    later = spans.analyzed((6, 8), same)

    found = spans.cache()

    assert found == [first]
    assert later.id > same.id > first.id


def test_spans_that_were_analyzed_without_a_cache_have_none(spans: _Spans) -> None:
    """A later cache of other spans doesn't make Transform run again, either."""
    spans.analyzed((5, 6, 8))
    spans.analyzed((6, 8))

    assert spans.cache() == []


def test_the_cache_is_of_the_spans_to_learn_from(spans: _Spans) -> None:
    """A span that is only tested on is not analyzed."""
    first = spans.analyzed((5,))
    spans.analyzed((5, 6), first)

    assert spans.cache(test_spans=1) == [first]


def _numbers(found: Sequence[Artifact]) -> list[int]:
    return [span_of(artifact) for artifact in found]


def test_the_window_is_in_the_order_of_spans(spans: _Spans) -> None:
    """Accepted spans and the run's own, also if an early one came late."""
    found = spans.window()

    assert _numbers(found["examples"]) == [5, 6, 8]
    assert {a.id for a in found["verdict"]} == {spans.verdicts[n].id for n in (5, 6, 8)}
    assert "test" not in found


def test_the_newest_spans_are_tested_on(spans: _Spans) -> None:
    """They are not learned from; the verdicts are about all."""
    found = spans.window(test_spans=2)

    assert _numbers(found["examples"]) == [5]
    assert _numbers(found["test"]) == [6, 8]
    assert len(found["verdict"]) == 3


def test_without_a_window_there_is_the_runs_own(spans: _Spans) -> None:
    """Data without spans is the case of one artifact."""
    own = spans.examples[6]

    found = SpanWindowStrategy(0).resolve_artifacts(
        spans.store, {"examples": [own], "verdict": [spans.verdicts[6]]}
    )

    assert found == {"examples": [own], "verdict": [spans.verdicts[6]]}
