"""Shards: what is written is read, in bounded batches, or the file is named."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.columnar import shards
from pipeline.columnar.shards import DamagedShardError, Shard, ShardWriter

BATCH = pa.RecordBatch.from_pydict(
    {"number": pa.array([1, None, 3, 4, 5]), "text": ["a", "b", None, "d", "e"]}
)


def _write(path: Path, batch: pa.RecordBatch = BATCH, **bounds: int) -> Path:
    with ShardWriter(path, batch.schema, **bounds) as writer:
        writer.write(batch)
    return path


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Scalars come back as lists, a missing one as none, in the order of the rows."""
    _write(tmp_path / "a.parquet")

    (shard,) = shards.shards_of(tmp_path)
    table = shards.read_table([shard])

    assert shard.rows == 5
    assert table.column("number").to_pylist() == [[1], None, [3], [4], [5]]
    assert table.column("text").to_pylist() == [[b"a"], [b"b"], None, [b"d"], [b"e"]]


def test_row_groups_do_not_depend_on_how_rows_come(tmp_path: Path) -> None:
    """The same rows in batches of one and all at once make the same file."""
    whole = _write(tmp_path / "a.parquet", rows=2)
    with ShardWriter(tmp_path / "b.parquet", BATCH.schema, rows=2) as writer:
        for row in range(5):
            writer.write(BATCH.slice(row, 1))

    groups = parquet.ParquetFile(whole).metadata

    assert [groups.row_group(i).num_rows for i in range(3)] == [2, 2, 1]
    assert (tmp_path / "b.parquet").read_bytes() == whole.read_bytes()


def test_batches_are_bounded_in_rows_and_bytes(tmp_path: Path) -> None:
    """No batch has more rows or about more bytes than asked for."""
    text = pa.RecordBatch.from_pydict(
        {"text": ["x" * 1000 + str(i) for i in range(64)]}
    )
    path = _write(tmp_path / "a.parquet", text, max_bytes=16_000)

    by_group = list(shards.read_batches(path))
    by_rows = list(shards.read_batches(path, rows=5))

    assert all(batch.nbytes <= 16_000 for batch in by_group)
    assert max(batch.num_rows for batch in by_rows) == 5
    assert sum(batch.num_rows for batch in by_group) == 64


def test_row_that_is_longer_than_the_bound_is_written_alone(tmp_path: Path) -> None:
    """A row of more bytes than a row group may have still gets its place."""
    text = pa.RecordBatch.from_pydict({"text": ["a", "x" * 5000, "b"]})

    path = _write(tmp_path / "a.parquet", text, max_bytes=100)

    assert parquet.read_table(path).num_rows == 3


def test_columns_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    """Only the columns asked for are there; one that is absent is an error."""
    path = _write(tmp_path / "a.parquet")

    (batch,) = shards.read_batches(path, columns=["text", "number"])
    assert batch.schema.names == ["text", "number"]
    with pytest.raises(DamagedShardError, match=r"a\.parquet .* no column fare; it"):
        list(shards.read_batches(path, columns=["fare"]))


def test_shards_are_split_at_row_groups(tmp_path: Path) -> None:
    """The parts of shards together are all rows, each once."""
    _write(tmp_path / "a.parquet", rows=1)
    _write(tmp_path / "b.parquet", rows=2)

    parts = shards.split_up(shards.shards_of(tmp_path), rows=2)

    assert [(p.first, p.end, p.rows) for p in parts] == [
        (0, 2, 2),
        (2, 4, 2),
        (4, 5, 1),
        (0, 1, 2),
        (1, 2, 2),
        (2, 3, 1),
    ]
    read = pa.Table.from_batches(b for p in parts for b in shards.read_batches(p))
    assert read == shards.read_table(shards.shards_of(tmp_path))


def test_truncated_shard_is_named(tmp_path: Path) -> None:
    """A shard that is cut short is one sentence with the file's name."""
    path = _write(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DamagedShardError, match=r"a\.parquet is damaged: ") as error:
        shards.shards_of(tmp_path)

    assert "\n" not in str(error.value)
    assert error.value.exit_code == 1


def test_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """A value that is not as it was written is an error, not another value."""
    numbers = np.random.default_rng(1).integers(0, 1 << 40, 4000)
    path = _write(tmp_path / "a.parquet", pa.RecordBatch.from_pydict({"n": numbers}))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(DamagedShardError, match=r"a\.parquet is damaged: "):
        list(shards.read_batches(Shard(str(path))))


def test_shard_with_other_columns_is_named(tmp_path: Path) -> None:
    """A shard whose columns are not its neighbours' is named, with the difference."""
    _write(tmp_path / "a.parquet")
    _write(tmp_path / "b.parquet", BATCH.select(["number"]))

    with pytest.raises(DamagedShardError, match=r"b\.parquet .* lacks text .*unlike a"):
        shards.shards_of(tmp_path)


def test_failed_writer_leaves_no_shard(tmp_path: Path) -> None:
    """An error while writing leaves no file that could be taken for a shard."""

    def write() -> None:
        with ShardWriter(tmp_path / "a.parquet", BATCH.schema) as writer:
            writer.write(BATCH)
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        write()

    assert list(tmp_path.iterdir()) == []


def test_empty_shard_keeps_its_columns(tmp_path: Path) -> None:
    """A split without rows is a file with columns and no rows."""
    with ShardWriter(tmp_path / "a.parquet", BATCH.schema):
        pass

    found = shards.shards_of(tmp_path)

    assert shards.count_rows(found) == 0
    assert shards.schema_of(found).names == ["number", "text"]
    assert shards.split_up(found) == []


def test_a_sample_is_of_all_rows_and_the_same_again(tmp_path: Path) -> None:
    """Of 1,000 rows in 100 row groups a tenth; of fewer rows than wanted, all."""
    numbers = pa.RecordBatch.from_pydict({"number": pa.array(range(1000))})
    _write(tmp_path / "a.parquet", numbers, rows=10)
    found = shards.shards_of(tmp_path)

    sample = shards.sample(found, 100, max_pieces=50)

    values = [value for (value,) in sample["number"].to_pylist()]
    assert values == sorted(set(values))
    assert len(values) == 100
    assert len({value // 10 for value in values}) > 40
    assert max(values) > 900
    assert shards.sample(found, 100, max_pieces=50) == sample
    assert shards.sample(found, 5000, max_pieces=1).num_rows == 1000


def test_a_sample_of_nothing_has_the_columns(tmp_path: Path) -> None:
    """A split without rows gives a batch without rows."""
    _write(tmp_path / "a.parquet", BATCH.slice(0, 0))

    sample = shards.sample(shards.shards_of(tmp_path), 10)

    assert (sample.num_rows, sample.schema.names) == (0, ["number", "text"])
