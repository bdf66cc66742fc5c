"""The newest data of a pipeline, its statistics, and counts from its rows."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.columnar.shards import ShardWriter
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.trust import observed
from tests.pipeline.tfx_store import StockStore


@pytest.fixture
def runs(config: Config) -> StockStore:
    """A store in which the pipeline has the configuration's name."""
    return StockStore(config.metadata_url, config.output / "artifacts", config.name)


def test_the_newest_data_is_found(config: Config, runs: StockStore) -> None:
    """With the rows that its statistics are of, whatever became of them afterwards."""
    older, newer = runs.artifact("ExampleStatistics"), runs.statistics(train=6)
    examples = runs.artifact("Examples")
    runs.ran("monday", "StatisticsGen", outputs={"statistics": older})
    runs.ran(
        "tuesday",
        "StatisticsGen",
        inputs={"examples": [examples]},
        outputs={"statistics": newer},
    )

    data = observed.newest(config)
    found = observed.features(data.statistics)

    assert data.run == "tuesday"
    assert data.examples == (str(runs.path(examples)),)
    assert observed.rows(found) == {"train": 6}
    assert found["train"]["fare"].highest == 10


def test_without_statistics_that_is_said(config: Config, runs: StockStore) -> None:
    """The error says what computes them."""
    runs.ran("monday", "ExampleGen")

    with pytest.raises(UsageError, match=r"has statistics .* `python run_local.py`"):
        observed.newest(config)


def test_values_out_of_range_are_counted(tmp_path: Path) -> None:
    """In every split; missing values are neither below nor above."""
    for split, fares in (("train", [-1.0, 5.0, None]), ("test", [99.0, -2.0])):
        (tmp_path / f"Split-{split}").mkdir()
        batch = pa.RecordBatch.from_pydict({"fare": pa.array(fares, pa.float32())})
        place = tmp_path / f"Split-{split}" / "a.parquet"
        with ShardWriter(place, batch.schema) as writer:
            writer.write(batch)

    outside = observed.counter([str(tmp_path)])

    assert outside is not None
    assert outside("fare", 0.0, 10.0) == (2, 1)


def test_rows_of_a_stock_pipeline_are_not_counted(tmp_path: Path) -> None:
    """Without shards of ours nothing is counted, and nothing is wrong."""
    (tmp_path / "Split-train").mkdir()
    (tmp_path / "Split-train" / "data.tfrecord.gz").touch()

    assert observed.counter([str(tmp_path)]) is None
