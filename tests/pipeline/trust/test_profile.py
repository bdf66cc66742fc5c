"""Profiles: bounded, mergeable, and the same for the same rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.columnar.engine import OnBeam, Runner, Workers
from pipeline.columnar.shards import ShardWriter, shards_of
from pipeline.config import IN_PROCESS_BEAM_RUNNER
from pipeline.trust import profile
from pipeline.trust.profile import Ints, Profile

ROWS: dict[str, list[Any]] = {
    "fare": [1.5, None, 1.5, float("nan")],
    "hour": [3, 2, 3, None],
    "company": ["a", "b", "a", None],
}


def _profile(
    columns: Mapping[str, Sequence[Any]], positive: Sequence[int] = ()
) -> Profile:
    batch = pa.RecordBatch.from_pydict(columns)
    ones = np.ones(batch.num_rows, np.int64)
    marks = np.array(positive, np.int64) if positive else 0 * ones
    return profile.of_batch(batch, ones, marks)


def _fare_above_one(batch: pa.RecordBatch) -> tuple[Ints, Ints]:
    values = batch.column("fare").flatten().to_numpy(zero_copy_only=False)
    return np.ones(batch.num_rows, np.int64), (values > 1).astype(np.int64)


def _same(one: Profile, other: Profile) -> bool:
    return profile.to_bytes({"s": one}) == profile.to_bytes({"s": other})


def test_values_are_counted_with_labels() -> None:
    """Each value has its rows, and those of a positive label; the rest is missing."""
    found = _profile(ROWS, [1, 0, 0, 1]).columns

    assert found["fare"].values.tolist() == [1.5]
    assert found["fare"].counts.tolist() == [[2, 2, 1]]
    assert found["fare"].missing == 2
    assert found["hour"].values.tolist() == [2, 3]
    assert found["company"].values.tolist() == ["a", "b"]
    assert found["company"].counts[:, 2].tolist() == [1, 0]


def test_a_merged_profile_is_that_of_all_rows() -> None:
    """Profiles of pieces, one without a column, add up to that of the whole."""
    parts = [
        _profile({name: [values[row]] for name, values in ROWS.items()})
        for row in (0, 1, 2)
    ]
    last = _profile({"fare": [None], "hour": [None]})

    merged = profile.merged([*parts, last])

    whole = _profile(ROWS)
    assert merged.rows == 4
    for name, column in whole.columns.items():
        assert merged.columns[name].missing == column.missing
        assert merged.columns[name].values.tolist() == column.values.tolist()
        assert (merged.columns[name].counts == column.counts).all()


def test_equal_rows_have_equal_hashes() -> None:
    """Whatever the order of columns and rows, and whether cells are lists."""
    rows = pa.RecordBatch.from_pydict({"a": [1, 2, None], "b": ["x", "y", "x"]})
    lists = pa.RecordBatch.from_pydict(
        {"b": [["x"], ["y"], ["x"]], "a": [[1], [2], []]}
    )

    hashes = profile.row_hashes(rows)

    assert len(set(hashes.tolist())) == 3
    assert hashes.tolist() == profile.row_hashes(lists).tolist()
    assert hashes[::-1].tolist() == profile.row_hashes(rows.take([2, 1, 0])).tolist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": [1], "b": [2]}, {"a": [2], "b": [1]}),
        ({"a": ["x"], "b": [None]}, {"a": [None], "b": ["x"]}),
        ({"a": [[1, 2]]}, {"a": [[2, 1]]}),
        ({"a": [[1, 2]]}, {"a": [[1]]}),
        ({"a": [0.0]}, {"a": pa.array([None], pa.float64())}),
    ],
)
def test_other_rows_have_other_hashes(one: Any, other: Any) -> None:
    """Rows that differ in a column, in an order of values or in a missing value."""
    hashes = [
        profile.row_hashes(pa.RecordBatch.from_pydict(rows)).tolist()
        for rows in (one, other)
    ]

    assert hashes[0] != hashes[1]


def test_the_fingerprint_does_not_depend_on_the_order() -> None:
    """Equal rows in any order have one fingerprint, other rows another."""
    rows = _profile({"a": [1, 2, 2]})

    assert rows.fingerprint == _profile({"a": [2, 1, 2]}).fingerprint
    assert rows.fingerprint != _profile({"a": [1, 1, 2]}).fingerprint


def test_numbers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound, neighbours are counted together, but no frequent value."""
    monkeypatch.setattr(profile, "POINTS", 10)
    values = [*range(100), *[50] * 100]

    column = profile.merged([_profile({"a": values}), _profile({"a": values})])

    kept = column.columns["a"]
    assert len(kept.values) <= 11
    assert kept.counts[:, 0].sum() == 400
    rows = dict(zip(kept.values.tolist(), kept.counts[:, 0].tolist(), strict=True))
    assert rows[50] >= 202
    below = sum(count for value, count in rows.items() if value < 50)
    assert abs(below - 100) <= 40


def test_texts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most frequent texts are kept, and the rest is counted as other."""
    monkeypatch.setattr(profile, "TEXTS", 2)

    kept = _profile({"a": ["x", "y", "y", "z", "z"]}).columns["a"]

    assert kept.values.tolist() == ["y", "z"]
    assert kept.other.tolist() == [1, 1, 0]
    assert kept.present == 5


def test_hashes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample of the rows is the same, however the rows are cut into pieces."""
    monkeypatch.setattr(profile, "HASHES", 50)
    numbers = list(range(400))

    whole = _profile({"a": numbers})
    pieces = [_profile({"a": numbers[n : n + 70]}) for n in range(0, 400, 70)]
    merged = profile.merged(pieces)

    assert len(whole.hashes.hashes) == 50
    assert merged.hashes.hashes.tolist() == whole.hashes.hashes.tolist()
    assert merged.fingerprint == whole.fingerprint


def test_profiles_are_read_as_written() -> None:
    """A profile that went through files is the same."""
    splits = {"train": _profile(ROWS, [1, 0, 0, 1]), "eval": _profile({"a": []})}

    found = profile.from_bytes(*profile.to_bytes(splits))

    assert list(found) == ["train", "eval"]
    assert all(_same(found[name], splits[name]) for name in splits)


def _make_pipeline() -> beam.Pipeline:
    return beam.Pipeline(options=PipelineOptions([IN_PROCESS_BEAM_RUNNER]))


@pytest.mark.parametrize("form", ["worker", "workers", "beam"])
def test_a_split_is_profiled_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Whoever does the work, the profile of a split is the same."""
    monkeypatch.setattr(profile, "ROWS_AT_ONCE", 10)
    runners: dict[str, Runner] = {
        "worker": Workers(1),
        "workers": Workers(2),
        "beam": OnBeam(_make_pipeline, str(tmp_path / "scratch")),
    }
    fares = [float(number % 7) for number in range(100)]
    batch = pa.RecordBatch.from_pydict({"fare": fares})
    with ShardWriter(tmp_path / "data" / "a.parquet", batch.schema, rows=10) as writer:
        writer.write(batch)

    found = profile.describe(
        shards_of(tmp_path / "data"), _fare_above_one, runners[form]
    )

    whole = _profile({"fare": fares}, [int(fare > 1) for fare in fares])
    assert _same(found, whole)


def test_an_empty_split_has_a_profile(tmp_path: Path) -> None:
    """A split without rows has its columns, and no rows."""
    schema = pa.schema({"fare": pa.float64()})
    with ShardWriter(tmp_path / "a.parquet", schema):
        pass

    found = profile.describe(shards_of(tmp_path), _fare_above_one, Workers(1))

    assert (found.rows, list(found.columns)) == (0, ["fare"])
