"""Transform on columns gives what the stock executor gives, bit for bit."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
import tensorflow_transform as tft
from tfx.components.transform import executor as stock
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import Artifact
from tfx.types.standard_artifacts import Examples, TransformGraph

from pipeline.columnar import progress, shards
from pipeline.columnar.progress import Progress
from pipeline.components import transform
from tests.pipeline.components.small_examples import (
    ROWS,
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
    examples: Artifact,
    root: Path,
    **properties: object,
) -> Artifact:
    """Runs an executor of Transform; returns the transformed examples."""
    schema = schema_artifact(root / "schema")
    graph, transformed = TransformGraph(), Examples()
    graph.uri, transformed.uri = str(root / "graph"), str(root / "transformed")
    executor_in_process(executor, root / "beam").Do(
        {"examples": [examples], "schema": [schema]},
        {"transform_graph": [graph], "transformed_examples": [transformed]},
        {**PROPERTIES, **properties},
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
