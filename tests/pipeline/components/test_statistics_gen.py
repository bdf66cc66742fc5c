"""StatisticsGen on columns gives what the stock executor gives, whatever is asked."""

import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import json_format
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.statistics_gen import executor as stock
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import Artifact, artifact_utils
from tfx.types.standard_artifacts import Examples, ExampleStatistics
from tfx_bsl.public.proto import slicing_spec_pb2

from pipeline.columnar.engine import limit_workers
from pipeline.columnar.progress import Progress
from pipeline.columnar.shards import DamagedShardError
from pipeline.components import statistics_gen
from pipeline.errors import UsageError
from pipeline.ingestion.export import export_split
from pipeline.store.artifact_files import STATISTICS_FILE
from tests.pipeline.components.small_examples import (
    ROWS,
    executor_in_process,
    schema_artifact,
    write_sales,
)

SPLITS = {"train": 3, "test": 1, "none": 0}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The sales in splits of which one is empty."""
    return write_sales(tmp_path_factory.mktemp("examples") / "out", SPLITS)


@pytest.fixture(scope="module")
def records(examples: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The same rows as gzipped TFRecords of tf.Examples."""
    artifact = Examples()
    artifact.uri = str(tmp_path_factory.mktemp("records"))
    artifact.split_names = examples.split_names
    for split in SPLITS:
        source = artifact_utils.get_split_uri([examples], split)
        export_split(source, Path(artifact_utils.get_split_uri([artifact], split)))
    examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
    return artifact


Described = dict[str, statistics_pb2.DatasetFeatureStatisticsList]
Describe = Callable[..., Described]


@pytest.fixture
def describe(tmp_path: Path) -> Describe:
    """Runs an executor; returns the statistics by split."""

    def run(
        executor: type[BaseBeamExecutor],
        examples: Artifact,
        schema: Artifact | None = None,
        **properties: Any,
    ) -> Described:
        statistics = ExampleStatistics()
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        statistics.uri = str(root)
        inputs = {"examples": [examples], **({"schema": [schema]} if schema else {})}
        executor_in_process(executor, tmp_path / "beam").Do(
            inputs, {"statistics": [statistics]}, properties
        )
        names = artifact_utils.decode_split_names(statistics.split_names)
        assert {p.name for p in root.iterdir()} == {f"Split-{n}" for n in names}
        files = {n: root / f"Split-{n}" / STATISTICS_FILE for n in names}
        return {n: tfdv.load_stats_binary(str(file)) for n, file in files.items()}

    return run


def test_rows_are_reported(
    examples: Artifact, describe: Describe, reports: list[Progress | str]
) -> None:
    """The rows of all splits are counted, also those that aren't sampled."""
    describe(statistics_gen.Executor, examples, sample_rate_by_split='{"train": 0.5}')

    assert [(r.done, r.total) for r in reports[-1:] if isinstance(r, Progress)] == [
        (ROWS, ROWS)
    ]


def test_workers_are_bounded(
    examples: Artifact, describe: Describe, threads: set[int]
) -> None:
    """--workers 1 leaves all shards to the node's own thread."""
    limit_workers(1)

    describe(statistics_gen.Executor, examples)

    assert threads == {threading.get_ident()}


def leaves_of(value: object) -> list[object]:
    """Lists all leaves of a structure, so that numbers can be compared loosely."""
    if isinstance(value, dict):
        return [leaf for k in sorted(value) for leaf in leaves_of(value[k])]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves_of(item)]
    return [value]


def figures(
    found: statistics_pb2.DatasetFeatureStatisticsList, without: str = ""
) -> list[object]:
    """Lists every figure of every column, columns in the order of their names."""
    (dataset,) = found.datasets
    columns = {f.path.step[0]: f for f in dataset.features}
    columns.pop(without, None)
    as_json = {n: json_format.MessageToDict(f) for n, f in columns.items()}
    return [dataset.num_examples, *leaves_of(as_json)]


def assert_equal(ours: list[object], theirs: list[object]) -> None:
    """Compares figures to 12 digits."""
    assert len(ours) == len(theirs) > 300
    for left, right in zip(ours, theirs, strict=True):
        if isinstance(left, float) and isinstance(right, float):
            assert math.isclose(left, right, rel_tol=1e-12)
        else:
            assert left == right


def test_equal_to_stock(
    examples: Artifact, records: Artifact, describe: Describe
) -> None:
    """Every figure is the stock executor's, of our Parquet and of tf.Examples alike."""
    ours = describe(statistics_gen.Executor, examples)
    of_parquet = describe(stock.Executor, examples, exclude_splits='["none"]')
    of_records = describe(stock.Executor, records, exclude_splits='["none"]')

    for split in ("train", "test"):
        assert_equal(figures(ours[split]), figures(of_parquet[split]))
        # A tf.Example has no type where all values are missing; a column has.
        assert_equal(
            figures(ours[split], without="blank"),
            figures(of_records[split], without="blank"),
        )


def test_empty_split_has_no_examples(examples: Artifact, describe: Describe) -> None:
    """A split without rows has statistics that say so."""
    (dataset,) = describe(statistics_gen.Executor, examples)["none"].datasets

    assert dataset.num_examples == 0


def test_excluded_splits_are_not_described(
    examples: Artifact, describe: Describe
) -> None:
    """exclude_splits holds, and to exclude all splits is an error."""
    found = describe(statistics_gen.Executor, examples, exclude_splits='["test"]')

    assert list(found) == ["train", "none"]
    with pytest.raises(UsageError, match="exclude_splits names all splits there are"):
        describe(
            statistics_gen.Executor,
            examples,
            exclude_splits=json.dumps(list(SPLITS)),
        )


def test_sample_rate_by_split(examples: Artifact, describe: Describe) -> None:
    """A sample of one split has about so many rows, the same ones in each run."""
    rates = json.dumps({"train": 0.25})

    first = describe(statistics_gen.Executor, examples, sample_rate_by_split=rates)
    again = describe(statistics_gen.Executor, examples, sample_rate_by_split=rates)

    sampled, whole = (first[s].datasets[0].num_examples for s in ("train", "test"))
    assert 0.2 * 0.75 * ROWS < sampled < 0.3 * 0.75 * ROWS
    assert whole > 0.8 * 0.25 * ROWS
    assert figures(first["train"]) == figures(again["train"])


def test_options_hold(examples: Artifact, describe: Describe) -> None:
    """Columns, histograms and the sample rate of the stats options are honoured."""
    options = tfdv.StatsOptions(
        feature_allowlist=["price", "shop"], num_histogram_buckets=3, sample_rate=0.5
    )

    found = describe(
        statistics_gen.Executor, examples, stats_options_json=options.to_json()
    )

    (dataset,) = found["train"].datasets
    by_name = {f.path.step[0]: f for f in dataset.features}
    assert by_name.keys() == {"price", "shop"}
    assert len(by_name["price"].num_stats.histograms[0].buckets) == 3
    assert 0.4 * 0.75 * ROWS < dataset.num_examples < 0.6 * 0.75 * ROWS


def test_schema_input_is_used(
    examples: Artifact, describe: Describe, tmp_path: Path
) -> None:
    """With a schema, categories that are numbers are counted as in stock."""
    schema = schema_artifact(tmp_path / "schema")

    ours = describe(
        statistics_gen.Executor, examples, schema, exclude_splits='["none", "train"]'
    )
    theirs = describe(
        stock.Executor, examples, schema, exclude_splits='["none", "train"]'
    )

    assert_equal(figures(ours["test"]), figures(theirs["test"]))
    options = tfdv.StatsOptions(schema=tfdv.infer_schema(ours["test"])).to_json()
    with pytest.raises(UsageError, match="leave one of them out"):
        describe(statistics_gen.Executor, examples, schema, stats_options_json=options)


def test_slices_are_left_to_beam(
    examples: Artifact, describe: Describe, caplog: pytest.LogCaptureFixture
) -> None:
    """What only TFDV's Beam pipeline computes is computed there, and logged."""
    slicing = slicing_spec_pb2.SlicingConfig()
    slicing.slicing_specs.add().feature_keys.append("color")
    options = tfdv.StatsOptions(slicing_config=slicing).to_json()

    found = describe(
        statistics_gen.Executor,
        examples,
        stats_options_json=options,
        exclude_splits='["none", "train"]',
    )

    names = {dataset.name for dataset in found["test"].datasets}
    assert {"All Examples", "color_red"} < names
    assert (
        "The stock executor takes over, on Beam, for statistics by slice" in caplog.text
    )


def test_damaged_shard_is_named(
    examples: Artifact, describe: Describe, tmp_path: Path
) -> None:
    """A truncated shard is one sentence with the file's name, and no statistics."""
    broken = Examples()
    broken.uri = str(tmp_path / "broken")
    broken.split_names = '["train"]'
    examples_utils.set_payload_format(broken, example_gen_pb2.FORMAT_PARQUET)
    source = min(Path(examples.uri, "Split-train").iterdir())
    target = tmp_path / "broken" / "Split-train" / source.name
    target.parent.mkdir(parents=True)
    target.write_bytes(source.read_bytes()[:-100])

    with pytest.raises(DamagedShardError, match=source.name):
        describe(statistics_gen.Executor, broken)
