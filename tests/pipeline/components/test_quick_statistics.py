"""Statistics in memory are those of the stock executor."""

import math
from pathlib import Path

import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import json_format
from tfx.components.statistics_gen import executor as stock
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import Artifact
from tfx.types.standard_artifacts import ExampleStatistics

from data import taxi
from pipeline.components import quick_statistics, small_data
from pipeline.config import IN_PROCESS_BEAM_RUNNER
from tests.pipeline.components.small_examples import write_examples


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The sample's examples, in splits of which one is empty."""
    root = tmp_path_factory.mktemp("examples")
    file = taxi.write_sample(root / "data")
    return write_examples(file, root / "out", {"train": 3, "test": 1, "none": 0})


def run(executor: type[BaseBeamExecutor], examples: Artifact, root: Path) -> Path:
    """Runs an executor of StatisticsGen; returns its output directory."""
    statistics = ExampleStatistics()
    statistics.uri = str(root)
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=[IN_PROCESS_BEAM_RUNNER, "--sdk_container_image=none"],
        tmp_dir=str(root / "tmp"),
        unique_id="1",
    )
    executor(context).Do({"examples": [examples]}, {"statistics": [statistics]}, {})
    return root


def numbers_and_texts(value: object) -> list[object]:
    """Lists all leaves of a structure, so that numbers can be compared loosely."""
    if isinstance(value, dict):
        return [leaf for k in sorted(value) for leaf in numbers_and_texts(value[k])]
    if isinstance(value, list):
        return [leaf for item in value for leaf in numbers_and_texts(item)]
    return [value]


@pytest.mark.parametrize("split", ["train", "test"])
def test_equal_to_stock(split: str, examples: Artifact, tmp_path: Path) -> None:
    """Every figure of every column equals the stock executor's, to 12 digits."""
    quick = run(quick_statistics.Executor, examples, tmp_path / "quick")
    slow = run(stock.Executor, examples, tmp_path / "stock")

    def leaves(root: Path) -> list[object]:
        path = root / f"Split-{split}" / quick_statistics.STATISTICS_FILE
        (dataset,) = tfdv.load_stats_binary(str(path)).datasets
        columns = {f.path.step[0]: f for f in dataset.features}
        as_json = {n: json_format.MessageToDict(f) for n, f in columns.items()}
        return [dataset.num_examples, *numbers_and_texts(as_json)]

    ours, theirs = leaves(quick), leaves(slow)
    assert len(ours) == len(theirs) > 1000
    for left, right in zip(ours, theirs, strict=True):
        if isinstance(left, float) and isinstance(right, float):
            assert math.isclose(left, right, rel_tol=1e-12)
        else:
            assert left == right


def test_empty_split_has_no_examples(examples: Artifact, tmp_path: Path) -> None:
    """A split without rows has statistics that say so."""
    root = run(quick_statistics.Executor, examples, tmp_path)

    path = root / "Split-none" / quick_statistics.STATISTICS_FILE
    (dataset,) = tfdv.load_stats_binary(str(path)).datasets
    assert dataset.num_examples == 0


def test_large_data_goes_to_beam(
    examples: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Examples over the limit are left to the stock executor."""
    monkeypatch.setattr(small_data, "MOST_BYTES_IN_MEMORY", 1000)
    seen = []
    monkeypatch.setattr(stock.Executor, "Do", lambda *_: seen.append("stock"))

    run(quick_statistics.Executor, examples, tmp_path)

    assert seen == ["stock"]
    assert tf.io.gfile.glob(f"{tmp_path}/Split-*") == []
