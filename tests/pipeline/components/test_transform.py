"""Transform on columns gives what the stock executor gives, bit for bit."""

import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
import tensorflow_transform as tft
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.transform import executor as stock
from tfx.components.transform.component import Transform
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration.pipeline import Pipeline
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import Artifact
from tfx.types.standard_artifacts import Examples, TransformCache, TransformGraph

from pipeline.columnar import progress, shards
from pipeline.columnar.progress import Progress
from pipeline.columnar.shards import ShardWriter
from pipeline.components import transform
from pipeline.config import Config
from pipeline.runners import compiler
from tests.pipeline.components.small_examples import (
    ROWS,
    SCHEMA,
    Properties,
    executor_in_process,
    preprocessing_fn,
    schema_artifact,
    write_sales,
)

PROPERTIES: Properties = {
    "preprocessing_fn": f"{preprocessing_fn.__module__}.preprocessing_fn",
    "splits_config": json.dumps({"analyze": ["train"], "transform": ["train", "none"]}),
    "custom_config": json.dumps({"shops": 20}),
    "disable_statistics": 1,
    "force_tf_compat_v1": 0,
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The sales, all in one split of two."""
    root = tmp_path_factory.mktemp("examples")
    return write_sales(root / "out", {"train": 1, "none": 0})


def run(
    executor: type[BaseBeamExecutor],
    examples: Artifact | Sequence[Artifact],
    root: Path,
    caches: tuple[Path | None, Path] | None = None,
    **properties: object,
) -> Artifact:
    """Runs an executor of Transform; returns the transformed examples.

    Args:
        executor: Its class.
        examples: One, or one for each span.
        root: Gets what is written.
        caches: The analyzer cache to read and the one to write, if there are any.
        **properties: Other than usual.
    """
    schema = schema_artifact(root / "schema")
    spans = [examples] if isinstance(examples, Artifact) else list(examples)
    graph, transformed = TransformGraph(), Examples()
    graph.uri, transformed.uri = str(root / "graph"), str(root / "transformed")
    inputs = {"examples": spans, "schema": [schema]}
    outputs = {"transform_graph": [graph], "transformed_examples": [transformed]}
    for name, place in zip(
        ("analyzer_cache", "updated_analyzer_cache"), caches or (), strict=False
    ):
        cache = TransformCache()
        cache.uri = str(place)
        if place:
            (inputs if name == "analyzer_cache" else outputs)[name] = [cache]
    executor_in_process(executor, root / "beam").Do(
        inputs, outputs, {**PROPERTIES, **properties}
    )
    return transformed


def rows_of(root: Path, split: str) -> dict[str, np.ndarray]:
    """Reads transformed rows, in an order that does not depend on how they came."""
    table = shards.read_table(shards.shards_of(root / "transformed" / f"Split-{split}"))
    if not table.num_rows:
        return {}
    columns = {
        name: np.reshape(column.combine_chunks().flatten(), (table.num_rows, -1))
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    order = np.lexsort([c for name in sorted(columns) for c in columns[name].T])
    return {name: values[order] for name, values in columns.items()}


REPORTS: list[Progress | str] = []


@pytest.fixture(scope="module")
def transformed(
    examples: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    """The artifact that our executor writes, beside its graph."""
    progress.listen(REPORTS.append)
    artifact = run(transform.Executor, examples, tmp_path_factory.mktemp("ours"))
    progress.listen(None)
    return artifact


@pytest.fixture(scope="module")
def outputs(
    examples: Artifact, transformed: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """What our executor and the stock one write for the same Parquet examples."""
    root = tmp_path_factory.mktemp("stock")
    run(stock.Executor, examples, root)
    return Path(transformed.uri).parent, root


@pytest.mark.usefixtures("transformed")
def test_rows_are_reported_in_two_phases() -> None:
    """Rows are counted once while they are analyzed, and once more while written."""
    last = {r.phase: (r.done, r.total) for r in REPORTS if isinstance(r, Progress)}

    assert last == {"analysis": (ROWS, ROWS), "": (ROWS, ROWS)}


def test_rows_equal_to_stock(outputs: tuple[Path, Path]) -> None:
    """Every transformed value of every row is the stock executor's, bit for bit."""
    ours, theirs = (rows_of(root, "train") for root in outputs)

    assert ours.keys() == theirs.keys()
    assert len(ours["sold"]) == ROWS
    for name, values in theirs.items():
        np.testing.assert_array_equal(ours[name], values, err_msg=name)


def test_graph_equal_to_stock(outputs: tuple[Path, Path]) -> None:
    """Schemas and vocabularies of the graph are the stock executor's."""
    ours, theirs = (tft.TFTransformOutput(str(root / "graph")) for root in outputs)

    assert ours.transformed_feature_spec() == theirs.transformed_feature_spec()
    assert ours.raw_feature_spec() == theirs.raw_feature_spec()
    names = {path.name for path in (outputs[1] / "graph").rglob("assets/*")}
    assert names
    for name in names:
        assert ours.vocabulary_by_name(name) == theirs.vocabulary_by_name(name)


def test_nothing_temporary_is_left(outputs: tuple[Path, Path]) -> None:
    """The graph's directory holds what the stock executor's holds."""
    ours, theirs = (
        {path.relative_to(root / "graph") for path in (root / "graph").rglob("*")}
        for root in outputs
    )

    assert ours == theirs


def test_analysis_that_was_built_before_gives_the_same(
    examples: Artifact,
    outputs: tuple[Path, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is used for its own schema and parameters only, and leaves nothing behind."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    schema = Path(schema_artifact(tmp_path / "reviewed").uri, "schema.pbtxt")
    for shops in (20, 21):
        pipeline = compiled(tmp_path, schema, shops)
        transform.Executor.prepare(pipeline, "Transform", lambda *_: "")
    caplog.set_level("INFO")

    run(transform.Executor, examples, tmp_path)

    assert "The analysis was built before there were rows" in caplog.text
    (other,) = transform._early.values()
    transform._early.clear()
    for name, values in rows_of(outputs[0], "train").items():
        np.testing.assert_array_equal(rows_of(tmp_path, "train")[name], values)
    here, there = (
        {path.relative_to(root / "graph") for path in (root / "graph").rglob("*")}
        for root in (tmp_path, outputs[0])
    )
    assert here == there
    assert list((tmp_path / "tmp").glob("throughline-*")) == [
        Path(other.analysis.graph)
    ]


def compiled(root: Path, schema: Path, shops: int) -> pipeline_pb2.Pipeline:
    """Compiles a pipeline of a reviewed schema, examples, and our Transform."""
    reviewed = ImportSchemaGen(schema_file=str(schema))
    rows = Importer(source_uri=str(root), artifact_type=Examples).with_id("ExampleGen")
    node = Transform(
        examples=rows.outputs["result"],
        schema=reviewed.outputs["schema"],
        preprocessing_fn=PROPERTIES["preprocessing_fn"],
        custom_config={"shops": shops},
        disable_statistics=True,
        disable_analyzer_cache=True,
    )
    node.executor_spec = BeamExecutorSpec(transform.Executor)
    return compiler.compile_pipeline(
        Pipeline(
            "early",
            str(root),
            components=[reviewed, rows, node],
            beam_pipeline_args=Config().beam_pipeline_args,
        )
    )


def test_empty_split_is_written(outputs: tuple[Path, Path]) -> None:
    """A split without rows becomes a file without rows."""
    ours, _ = outputs

    assert rows_of(ours, "none") == {}
    assert len(list((ours / "transformed" / "Split-none").iterdir())) == 1


def test_artifact_names_its_format(examples: Artifact, transformed: Artifact) -> None:
    """Transformed examples are marked as Parquet, and rows keep their order."""
    assert examples_utils.get_file_format(transformed) == "FILE_FORMAT_PARQUET"
    assert examples_utils.get_payload_format_string(transformed) == "FORMAT_PARQUET"
    raw = shards.read_table(shards.shards_of(Path(examples.uri, "Split-train")))
    ours = shards.read_table(shards.shards_of(Path(transformed.uri, "Split-train")))
    colors = [row[0] if row else None for row in raw.column("color").to_pylist()]
    ids = [row[0] for row in ours.column("color_id").to_pylist()]
    assert len(set(zip(colors, ids, strict=True))) == len(set(colors)) == 4


def test_spans_that_were_analyzed_are_not_read_again(
    examples: Artifact,
    outputs: tuple[Path, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The second analysis reads no rows, and its graph is that of all rows.

    Both spans have the same rows here, so the vocabularies are those of one of them;
    if one of the two were lost, the scaled prices would be the same all the same, but
    one more cached file would not be there.
    """
    caplog.set_level(logging.INFO)
    first, second = tmp_path / "cache-1", tmp_path / "cache-2"

    run(transform.Executor, [examples] * 2, tmp_path / "1", (None, first))
    run(transform.Executor, [examples] * 2, tmp_path / "2", (first, second))

    assert "The analysis reads 2 of 2 spans" in caplog.text
    assert "The analysis reads 0 of 2 spans" in caplog.text
    names = [{path.name for path in each.iterdir()} for each in (first, second)]
    assert names[0] == names[1]
    assert len({name.partition(".")[0] for name in names[0]}) == 2
    ours, theirs = rows_of(tmp_path / "2", "train"), rows_of(outputs[0], "train")
    for name, values in theirs.items():
        twice = np.repeat(values, 2, axis=0)
        np.testing.assert_allclose(ours[name], twice, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "changed",
    [
        {"custom_config": json.dumps({"shops": 21})},
        {"preprocessing_fn": f"{__name__}.preprocessing_fn"},
    ],
)
def test_an_analysis_with_other_settings_reads_all(
    examples: Artifact, tmp_path: Path, changed: dict[str, str]
) -> None:
    """What was cached with another function, or another configuration, isn't used."""
    splits = ["train"]
    schema = schema_artifact(tmp_path / "schema")
    inputs = {"examples": [examples], "schema": [schema]}

    (before,) = transform.spans_of(inputs, splits, PROPERTIES)
    (again,) = transform.spans_of(inputs, splits, dict(PROPERTIES))
    (after,) = transform.spans_of(inputs, splits, {**PROPERTIES, **changed})

    assert before == again
    assert before.key != after.key
    assert before.shards == after.shards


def test_an_analysis_with_other_rows_or_another_schema_reads_all(
    examples: Artifact, tmp_path: Path
) -> None:
    """The key of a span is of the contents of its shards, and of the schema."""
    copy = write_sales(tmp_path / "copy", {"train": 1, "none": 0})
    first = schema_artifact(tmp_path / "schema")
    inputs = {"examples": [examples], "schema": [first]}
    other = schema_artifact(tmp_path / "other", SCHEMA.replace("blank", "empty"))

    def key(**changed: list[Artifact]) -> str:
        (span,) = transform.spans_of({**inputs, **changed}, ["train"], PROPERTIES)
        return span.key

    before = key()
    same = key(examples=[copy])
    reviewed = key(schema=[other])
    (shard, *_) = shards.shards_of(Path(copy.uri, "Split-train"))
    table = shards.read_table([shard]).slice(1)
    with ShardWriter(shard.file, table.schema) as writer:
        writer.write(table.combine_chunks().to_batches()[0])

    assert before == same
    assert len({before, reviewed, key(examples=[copy])}) == 3


def test_statistics_are_left_to_the_stock_executor(
    examples: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Statistics before and after are computed if asked for, and logged."""
    run(transform.Executor, examples, tmp_path, disable_statistics=0)

    graph = tft.TFTransformOutput(str(tmp_path / "graph"))
    (dataset,) = tfdv.load_stats_binary(graph.pre_transform_statistics_path).datasets
    assert dataset.num_examples == ROWS
    assert len(rows_of(tmp_path, "train")["sold"]) == ROWS
    assert "The stock executor takes over, on Beam, for statistics" in caplog.text
