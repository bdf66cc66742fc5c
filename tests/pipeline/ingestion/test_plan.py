"""Files are divided where records end."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.ingestion import plan, source

TEXT = b"a,b\n" + b"".join(b'%d,"x\ny"\n' % number for number in range(40))
Shards = list[list[plan.Piece]]
Divide = Callable[..., Shards]


@pytest.fixture
def divide(tmp_path: Path) -> Divide:
    """Divides a file of some bytes into shards of a size."""

    def make(content: bytes, name: str = "a.csv", shard_bytes: int = 1 << 20) -> Shards:
        (tmp_path / name).write_bytes(content)
        found = source.look_at(tmp_path / name, "utf-8")
        return plan.divide([found], shard_bytes)

    return make


def rows_of(shards: Shards) -> list[tuple[int, int]]:
    """First line and number of records of every stretch of text."""
    return [
        (int(records.lines[0]), len(records))
        for shard in shards
        for piece in shard
        for records in plan.stretches(piece)
    ]


def test_pieces_end_where_records_end(
    divide: Divide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small pieces hold all records, none cut, and know the line they begin in."""
    monkeypatch.setattr(source, "BLOCK_BYTES", 64)

    shards = divide(TEXT, shard_bytes=100)
    stretches = rows_of(shards)

    assert len(shards) == 3
    assert sum(count for _, count in stretches) == plan.count_rows(shards) == 40
    # The header is line 1, and each record takes two lines.
    expected, line = [], 2
    for _, count in stretches:
        expected.append((line, count))
        line += 2 * count
    assert stretches == expected


def test_a_gzip_is_one_piece(divide: Divide) -> None:
    """Compressed text can only be read from its beginning to its end."""
    shards = divide(gzip.compress(TEXT), "a.csv.gz", shard_bytes=1)

    ((piece,),) = shards
    assert piece.end is None
    assert plan.count_rows(shards) is None
    assert sum(count for _, count in rows_of(shards)) == 40


def test_a_parquet_file_is_divided_by_row_groups(tmp_path: Path) -> None:
    """Each row group is a piece that knows the number of its first row."""
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"a": range(10)}), path, row_group_size=4)
    found = source.look_at(path, "utf-8")

    shards = plan.divide([found], shard_bytes=1)

    pieces = [piece for shard in shards for piece in shard]
    assert [(p.start, p.end, p.first, p.rows) for p in pieces] == [
        (0, 1, 1, 4),
        (1, 2, 5, 4),
        (2, 3, 9, 2),
    ]
    assert plan.count_rows(shards) == 10


def test_small_files_share_a_shard(tmp_path: Path) -> None:
    """Files are put into a shard, in their order, until it is full."""
    found = []
    for name in ("a.csv", "b.csv", "c.csv"):
        (tmp_path / name).write_bytes(TEXT)
        found.append(source.look_at(tmp_path / name, "utf-8"))

    shards = plan.divide(found, shard_bytes=len(TEXT) + 1)

    assert [[p.source.path.name for p in shard] for shard in shards] == [
        ["a.csv", "b.csv"],
        ["c.csv"],
    ]


def test_few_workers_have_several_shards_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large data have as many shards as they are to have, small data one."""
    monkeypatch.setattr(source, "BLOCK_BYTES", 64)
    monkeypatch.setattr(plan, "SMALLEST_BYTES", 32)
    (tmp_path / "a.csv").write_bytes(TEXT * 20)
    found = [source.look_at(tmp_path / "a.csv", "utf-8")]

    several = plan.divide(found)
    monkeypatch.setattr(plan, "SMALLEST_BYTES", 1 << 20)
    one = plan.divide(found)
    monkeypatch.setattr(plan, "SMALLEST_BYTES", 1)
    monkeypatch.setattr(plan, "LARGEST_BYTES", 1)
    bounded = plan.divide(found)

    assert plan.SHARDS - 2 <= len(several) <= plan.SHARDS
    assert len(one) == 1
    assert len(bounded) == sum(map(len, one)) > plan.SHARDS
