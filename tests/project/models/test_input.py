"""The training's input: each labelled row, in an order of the seed, within bounds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow_transform as tft

from models.declarations import WEIGHT
from models.declared import LABEL_NAME as LABEL
from models.input import Table, evaluation_dataset, training_dataset
from pipeline.columnar.shards import DamagedShardError
from tests.project.models.conftest import Records, Row, transform_rows, write_shard

LABELLED = 304
"""Of the 320 rows to train on, 16 have lost their tips."""


@pytest.fixture
def table(transform: tft.TFTransformOutput, records: Records) -> Table:
    """The rows to train on, in two shards of four row groups each."""
    return Table.of([records.train], transform)


def miles_of(
    table: Table, seed: int = 1, batch: int = 76, take: int = 4
) -> list[float]:
    """Lists a column of the first batches."""
    data = training_dataset(table, batch, seed).take(take)
    return [float(v) for columns, _, _ in data for v in columns["trip_miles_scaled"]]


@pytest.fixture
def expected(transform: tft.TFTransformOutput, trips: list[Row]) -> list[float]:
    """The same column of all labelled rows, as the graph computes it."""
    rows = transform_rows(transform, trips[:320])
    return [float(np.float32(r["trip_miles_scaled"])) for r in rows if r[WEIGHT]]


def test_epoch_holds_each_labelled_row_once(
    table: Table, expected: list[float]
) -> None:
    """Each epoch is all rows in another order; the same seed repeats the order."""
    two = miles_of(table, take=8)

    first, second = two[:LABELLED], two[LABELLED:]
    assert sorted(first) == sorted(second) == sorted(expected)
    assert first != second
    assert first != expected
    assert two == miles_of(table, take=8)
    assert first != miles_of(table, seed=2)


def test_batches_go_on_across_epochs(table: Table, expected: list[float]) -> None:
    """Batches are full also where an epoch ends in the middle of one."""
    sizes = [len(label) for _, label, _ in training_dataset(table, 100, 1).take(7)]

    assert sizes == [100] * 7
    first = miles_of(table, batch=100, take=4)[:LABELLED]
    assert sorted(first) == sorted(expected)


def test_memory_bounds_what_is_shuffled_together(
    table: Table, expected: list[float]
) -> None:
    """Beyond the memory a part is loaded at a time, and an epoch still has all rows."""
    small = replace(table, memory_bytes=110 * table.row_bytes)

    chance = np.random.default_rng(1)
    choices = list(small.epoch(chance))
    first = miles_of(small)

    assert not small.fits()
    assert all(sum(piece.rows for piece in choice) <= 110 for choice in choices)
    assert {piece for choice in choices for piece in choice} == set(table.pieces)
    assert sum(map(len, choices)) == len(table.pieces) == 8
    assert sorted(first) == sorted(expected)
    assert first == miles_of(small)
    assert first != miles_of(small, seed=2)


def test_columns_keep_their_shapes(table: Table) -> None:
    """Points on a circle are pairs; label and weight are apart from the columns."""
    columns, label, weight = next(iter(training_dataset(table, 8, 1)))

    assert columns["trip_start_hour_cycle"].shape == (8, 2)
    assert columns["payment_type_id"].dtype.name == "int64"
    assert LABEL not in columns
    assert (label.shape, weight.shape) == ((8,), (8,))


@pytest.mark.parametrize("memory", [1 << 20, 1], ids=["in memory", "read again"])
def test_evaluation_reads_labelled_rows_in_order(
    transform: tft.TFTransformOutput, records: Records, trips: list[Row], memory: int
) -> None:
    """Of 80 eval trips, the 4 without a label are left out; a limit counts others."""
    table = replace(Table.of([records.evaluation], transform), memory_bytes=memory)
    rows = [r for r in transform_rows(transform, trips[320:]) if r[WEIGHT]]

    labels = [
        [int(v) for _, label, _ in evaluation_dataset(table, count) for v in label]
        for count in (-1, 10)
    ]

    assert labels[0] == [row[LABEL] for row in rows]
    assert len(labels[0]) == 76
    assert labels[1] == labels[0][:10]


def test_a_split_without_files_is_refused(
    transform: tft.TFTransformOutput, tmp_path: Path
) -> None:
    """The error names the pattern that nothing matched."""
    with pytest.raises(ValueError, match=r"no row with a known label in .*absent"):
        Table.of([f"{tmp_path}/absent/*"], transform)


def test_a_split_without_a_known_label_is_refused(
    transform: tft.TFTransformOutput, trips: list[Row], tmp_path: Path
) -> None:
    """Rows that all have the weight 0 are as good as none."""
    rows = transform_rows(transform, trips[:4])
    unknown = [row | {LABEL: 0, WEIGHT: 0.0} for row in rows]
    write_shard(tmp_path / "part.parquet", unknown)

    with pytest.raises(ValueError, match="no row with a known label"):
        Table.of([f"{tmp_path}/*"], transform)


def test_a_truncated_shard_is_named(
    transform: tft.TFTransformOutput, trips: list[Row], tmp_path: Path
) -> None:
    """Training on a shard that is cut short ends in a sentence with its name."""
    path = tmp_path / "part.parquet"
    write_shard(path, transform_rows(transform, trips[:4]))
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(DamagedShardError, match=r"part\.parquet is damaged"):
        Table.of([f"{tmp_path}/*"], transform)
