"""Rows that show what the gate found."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.columnar.shards import Shard, ShardWriter, shards_of
from pipeline.trust import profile
from pipeline.trust.examples import with_rows
from pipeline.trust.policy import Exhibit

BATCH = pa.RecordBatch.from_pydict(
    {
        "fare": pa.array([1.5, 2.5, None, 9.0, 9.5, 2.5], pa.float32()),
        "pay": pa.array([b"Cash", b"Card", b"Card", b"Coin", None, b"Card"]),
    }
)


@pytest.fixture
def split(tmp_path: Path) -> list[Shard]:
    """Six rows in two row groups."""
    with ShardWriter(tmp_path / "a.parquet", BATCH.schema, rows=4) as writer:
        writer.write(BATCH)
    return shards_of(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "fares"),
    [
        (Exhibit("DRIFT", "fare", low=2.0, high=9.5), ["2.5", "9", "2.5"]),
        (Exhibit("DRIFT", "fare", low=9.0), ["9", "9.5"]),
        (Exhibit("DRIFT", "fare", high=2.0), ["1.5"]),
        (Exhibit("UNSEEN_VALUES", "pay", text="Coin"), ["9"]),
        (Exhibit("MISSING_SHARE", "pay", missing=True), ["9.5"]),
        (Exhibit("DRIFT", "absent", low=0.0), []),
    ],
)
def test_rows_are_those_of_the_bin(
    split: list[Shard], wanted: Exhibit, fares: list[str]
) -> None:
    """Rows whose value is in the bin, or is the text, that grew most; or is missing."""
    found = with_rows(wanted, split)

    assert [row["fare"] for row in found.rows] == fares


def test_missing_values_are_left_out_of_a_row(split: list[Shard]) -> None:
    """A row has the columns that it has values in, as text."""
    (row,) = with_rows(Exhibit("MISSING_SHARE", "fare", missing=True), split).rows

    assert row == {"pay": "Card"}


def test_one_row_is_shown_of_those_that_repeat(split: list[Shard]) -> None:
    """By the hash of the whole row, or of its key."""
    whole, by_key = profile.row_hashes(BATCH), profile.keys_of(BATCH, ["pay"])
    twice, coin = int(whole[1]), int(by_key[3])

    repeated = with_rows(Exhibit("DUPLICATE_ROWS", hashes=(twice,)), split)
    keyed = with_rows(Exhibit("DUPLICATE_KEYS", hashes=(coin,), keys=("pay",)), split)

    assert repeated.rows == ({"fare": "2.5", "pay": "Card"},)
    assert keyed.rows == ({"fare": "9", "pay": "Coin"},)
