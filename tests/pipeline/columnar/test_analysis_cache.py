"""The analysis of a window: cached spans give what their rows would give."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.columnar import shards, transformation
from pipeline.columnar.analysis_cache import Cache, Span
from pipeline.columnar.engine import Workers
from pipeline.columnar.shards import Shard, ShardWriter
from pipeline.columnar.transformation import Analysis, Preprocess
from tests.pipeline.columnar.conftest import make_pipeline

SCHEMA = text_format.Parse(
    'feature { name: "fare" type: FLOAT } feature { name: "company" type: BYTES }',
    schema_pb2.Schema(),
)
# Sums of these depend on their order, in the last bits.
FARES = [[0.1, 0.2, None], [1e6, 0.3, 0.7], [0.1, 3.3, 1e-3]]
# The second span has no text: an entry of its own that is empty.
COMPANIES = [["a", "b", "b"], [None, None, None], ["c", "c", "a"]]


def preprocess(inputs: dict[str, Any]) -> dict[str, Any]:
    """Scales a number in 64 bits, and numbers a text."""
    fare = tf.sparse.to_dense(_one_column(inputs["fare"]), float("nan"))[:, 0]
    company = tf.sparse.to_dense(_one_column(inputs["company"]), "")[:, 0]
    scaled = tft.scale_to_z_score(tf.cast(fare, tf.float64))
    return {
        "fare": tf.cast(scaled, tf.float32),
        "company": tft.compute_and_apply_vocabulary(company, vocab_filename="company"),
    }


def preprocess_twice(inputs: dict[str, Any]) -> dict[str, Any]:
    """Analyzes what another analyzer has found; TFT needs all rows for the second."""
    fare = tf.sparse.to_dense(_one_column(inputs["fare"]))[:, 0]
    scaled = tft.scale_to_z_score(tf.cast(fare, tf.float64))
    return {"fare": tf.cast(scaled / tft.max(scaled), tf.float32)}


def preprocess_other(inputs: dict[str, Any]) -> dict[str, Any]:
    """Analyzes something else."""
    fare = tf.sparse.to_dense(_one_column(inputs["fare"]))[:, 0]
    return {"fare": fare - tft.max(fare)}


def _one_column(tensor: tf.SparseTensor) -> tf.SparseTensor:
    shape = [tensor.dense_shape[0], 1]
    return tf.SparseTensor(tensor.indices, tensor.values, shape)


class Place:
    """Three spans, whose rows can be taken away, and analyses of some of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = 0
        self.caches: list[Path] = []

    def span(self, number: int) -> Span:
        """Returns a span, which is written when it is first asked for."""
        file = self.root / f"span-{number}" / "0.parquet"
        if not file.exists():
            batch = pa.RecordBatch.from_pydict(
                {
                    "fare": pa.array(FARES[number], pa.float32()),
                    "company": pa.array(COMPANIES[number], pa.string()),
                }
            )
            with ShardWriter(file, batch.schema) as writer:
                writer.write(batch)
        return Span(f"key{number}", (Shard(str(file)),))

    def lose_rows(self, number: int) -> None:
        """Makes the rows of a span unreadable."""
        (shard,) = self.span(number).shards
        Path(shard.file).write_text("not a shard")

    def find_again(self, number: int) -> None:
        """Brings the rows back."""
        (shard,) = self.span(number).shards
        Path(shard.file).unlink()
        self.span(number)

    def analysis(self, function: Preprocess = preprocess) -> Analysis:
        """Returns an analysis with a graph of its own."""
        self.runs += 1
        graph = str(self.root / f"graph-{self.runs}")
        return Analysis(SCHEMA, function, graph, make_pipeline)

    def cache(self) -> Cache:
        """Returns the cache that was written last, with a new place to write to."""
        target = str(self.root / f"cache-{self.runs}")
        return Cache(str(self.caches[-1]) if self.caches else None, target)

    def analyze(self, *numbers: int) -> str:
        """Analyzes spans with what is cached; returns the graph."""
        analysis, cache = self.analysis(), self.cache()
        spans = [self.span(number) for number in numbers]
        cached = transformation.find_cached(spans, analysis, cache)
        new = [span for span in spans if span.key not in cached]
        transformation.analyze_spans(new, cached, analysis, cache)
        self.caches.append(Path(cache.target))
        return analysis.graph


@dataclass(frozen=True)
class Analyzed:
    """Graphs of the three spans.

    Attributes:
        place: Where they are.
        whole: Of all rows, without a cache.
        cached: Of the rows of the last span, and what is cached of the others.
        shrunk: Of the last two spans, both cached.
    """

    place: Place
    whole: str
    cached: str
    shrunk: str


@pytest.fixture(scope="module")
def analyzed(tmp_path_factory: pytest.TempPathFactory) -> Analyzed:
    """Each span loses its rows once it is analyzed: reading them again would fail."""
    place = Place(tmp_path_factory.mktemp("spans"))
    spans = [place.span(number) for number in range(3)]
    whole = place.analysis()
    transformation.analyze([s for span in spans for s in span.shards], whole)
    place.analyze(0, 1)
    place.lose_rows(0)
    place.lose_rows(1)
    cached = place.analyze(0, 1, 2)
    place.lose_rows(2)
    shrunk = place.analyze(1, 2)
    for number in range(3):
        place.find_again(number)
    return Analyzed(place, whole.graph, cached, shrunk)


def transformed(graph: str, place: Place, target: Path) -> dict[str, list[Any]]:
    """Transforms all spans with a graph."""
    found = [shard for n in range(3) for shard in place.span(n).shards]
    transformation.apply(graph, found, str(target), Workers(1))
    return shards.read_table(shards.shards_of(target)).to_pydict()


def test_graph_is_the_one_of_all_rows(analyzed: Analyzed, tmp_path: Path) -> None:
    """Vocabularies, schemas and transformed rows are the same, to the last bit."""
    ours, theirs = map(tft.TFTransformOutput, (analyzed.cached, analyzed.whole))

    assert ours.vocabulary_by_name("company") == [b"c", b"b", b"a"]
    assert theirs.vocabulary_by_name("company") == [b"c", b"b", b"a"]
    assert ours.transformed_feature_spec() == theirs.transformed_feature_spec()
    assert ours.raw_feature_spec() == theirs.raw_feature_spec()
    rows = transformed(analyzed.cached, analyzed.place, tmp_path / "ours")
    whole = transformed(analyzed.whole, analyzed.place, tmp_path / "theirs")
    for name, values in whole.items():
        np.testing.assert_array_equal(rows[name], values, err_msg=name)


def test_a_window_that_shrinks_needs_no_rows(analyzed: Analyzed) -> None:
    """All spans may be cached, and those that have left the window don't count."""
    graph = tft.TFTransformOutput(analyzed.shrunk)

    assert graph.vocabulary_by_name("company") == [b"c", b"a"]
    names = {path.name for path in analyzed.place.caches[-1].iterdir()}
    assert names == {f"key{n}.{kind}" for n in (1, 2) for kind in ("parquet", "json")}


@pytest.mark.parametrize("name", ["key1.parquet", "key1.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_file_is_ignored(
    analyzed: Analyzed,
    tmp_path: Path,
    damage: str,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A log line names it, and its span counts as not analyzed; others are found."""
    shutil.copytree(analyzed.place.caches[-1], tmp_path / "cache")
    broken = tmp_path / "cache" / name
    content = bytearray(broken.read_bytes())
    # In the note this is a digit of the digest.
    content[20] ^= 1
    kept = {"truncated": len(content) // 2, "flipped": len(content), "empty": 0}
    broken.write_bytes(content[: kept[damage]])
    spans = [analyzed.place.span(1), analyzed.place.span(2)]

    found = Cache(str(tmp_path / "cache"), "unused").find(spans)

    assert list(found) == ["key2"]
    place = tmp_path / "cache" / "key1.parquet"
    assert f"{place} is not used, and its span is analyzed again: " in caplog.text


def test_a_cache_without_its_note_is_not_complete(
    analyzed: Analyzed, tmp_path: Path
) -> None:
    """A process that is killed between the two files leaves nothing that counts."""
    shutil.copytree(analyzed.place.caches[-1], tmp_path / "cache")
    (tmp_path / "cache" / "key1.json").unlink()

    found = Cache(str(tmp_path / "cache"), "unused").find([analyzed.place.span(1)])

    assert found == {}


@pytest.mark.parametrize("function", [preprocess_twice, preprocess_other])
def test_what_other_analyzers_need_is_read(
    analyzed: Analyzed, function: Preprocess, caplog: pytest.LogCaptureFixture
) -> None:
    """Cached values of other analyzers aren't used, even under the same keys.

    TFT can't compute an analyzer of another one's result from cached values at all.
    """
    spans = [analyzed.place.span(1), analyzed.place.span(2)]
    analysis, cache = analyzed.place.analysis(function), analyzed.place.cache()

    assert set(cache.find(spans)) == {"key1", "key2"}
    assert transformation.find_cached(spans, analysis, cache) == {}
    assert "All spans are analyzed again: an analyzer needs their rows" in caplog.text
