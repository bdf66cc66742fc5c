"""Profiles: what the gate keeps of a split's rows, in bounded space.

Of each column: how many rows have which value, and how many of them have the label. Up
to `POINTS` numbers and `TEXTS` texts that is exact; beyond, neighbouring numbers are
counted together, and rare texts as "other". Of the rows: hashes of a sample that
depends on the contents alone, so that equal rows of other data are in its sample too.

Profiles of pieces are merged, so that ten million rows are profiled by several workers
in batches, and later data is compared without reading the rows again.
"""

import functools
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from pipeline.columnar import engine, lists, shards
from pipeline.columnar.engine import Runner
from pipeline.columnar.shards import Shard

POINTS = 2048
"""Numbers that are counted apart: the error of a quantile is 1 / POINTS per merge."""

TEXTS = 8192
"""Texts that are counted apart, the most frequent ones."""

HASHES = 100_000
"""Distinct rows whose hashes are kept; with more, a share has an error of 0.3 %."""

ROWS_AT_ONCE = 100_000
"""Rows of a partial profile: two row groups."""

Ints = npt.NDArray[np.int64]
Hashed = npt.NDArray[np.uint64]
LabelOf = Callable[[pa.RecordBatch], tuple[Ints, Ints]]
"""Returns for each row of a batch whether it has a label, and whether it is positive,
both 0 or 1."""

_ALL = np.iinfo(np.uint64).max
_COUNTS = ("rows", "labelled", "positive")


@dataclass(frozen=True)
class Column:
    """What is kept of one column.

    Attributes:
        numeric: Whether its values are numbers rather than texts.
        missing: Number of rows without a value.
        values: float64 or object (str) [kept], ascending. Where numbers are counted
            together, a value stands for those from it on and below the next.
        counts: int64 [kept, 3]: rows, rows with a label, rows with a positive label.
        other: int64 [3], the same for all texts that aren't kept.
    """

    numeric: bool
    missing: int
    values: npt.NDArray[np.generic]
    counts: Ints
    other: Ints = field(default_factory=lambda: np.zeros(3, np.int64))

    @property
    def present(self) -> int:
        """Number of rows with a value."""
        return int(self.counts[:, 0].sum() + self.other[0])

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.present + self.missing


@dataclass(frozen=True)
class RowHashes:
    """Hashes of the rows of a split: of all, or of those with the lowest hashes.

    Attributes:
        hashes: uint64 [kept], ascending and distinct.
        counts: int64 [kept], how many rows have the hash.
        bound: Every row with a hash up to this one is counted.
    """

    hashes: Hashed
    counts: Ints
    bound: int = int(_ALL)

    @classmethod
    def none(cls) -> "RowHashes":
        """Returns the hashes of no rows."""
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Profile:
    """What is kept of a split, or of several splits together.

    Attributes:
        rows: Number of rows.
        labelled: Number of rows with a label.
        positive: Number of rows with a positive label.
        columns: What is kept of each column, by name.
        hashes: What is kept of the rows.
        keys: The same of their key columns; none without such columns. It isn't
            written: keys are compared within the data only.
        missing_together: Number of rows in which two columns both have no value, by
            their names in alphabetical order; pairs of which there is none are left
            out. `None` if it wasn't counted, in profiles of earlier versions.
        fingerprint: Sum of the rows' hashes modulo 2^64: equal for equal rows in any
            order.
    """

    rows: int
    labelled: int
    positive: int
    columns: Mapping[str, Column]
    hashes: RowHashes
    fingerprint: int
    keys: RowHashes = field(default_factory=RowHashes.none)
    missing_together: Mapping[tuple[str, str], int] | None = None

    def named_fingerprint(self) -> str:
        """Returns the fingerprint with the number of rows, as a text."""
        return f"{self.rows}-{self.fingerprint:016x}"


def describe(
    found: Sequence[Shard],
    label_of: LabelOf,
    runner: Runner,
    keys: tuple[str, ...] = (),
) -> Profile:
    """Profiles the rows of a split.

    Args:
        found: Its shards.
        label_of: Computes the labels of a batch; picklable for Beam.
        runner: Who does the work.
        keys: Columns that together identify a row, if there are any.
    """
    pieces = [p for p in shards.split_up(found, ROWS_AT_ONCE) if p.rows]
    total = engine.aggregate(
        functools.partial(_of_piece, label_of, keys), merged, pieces, runner
    )
    if total is not None:
        return total
    empty = pa.RecordBatch.from_pylist([], shards.schema_of(found))
    return of_batch(empty, np.zeros(0, np.int64), np.zeros(0, np.int64))


def _of_piece(label_of: LabelOf, keys: tuple[str, ...], piece: Shard) -> Profile:
    return merged(
        [
            of_batch(batch, *label_of(batch), keys)
            for batch in shards.read_batches(piece)
        ]
    )


def of_batch(
    batch: pa.RecordBatch,
    labelled: Ints,
    positive: Ints,
    keys: Sequence[str] = (),
) -> Profile:
    """Profiles one batch.

    Args:
        batch: Scalar or list columns; of a list, the first value counts.
        labelled: int64 [rows], 1 where a row has a label.
        positive: int64 [rows], 1 where the label is positive.
        keys: Columns that together identify a row; rows that lack one of them have no
            key.
    """
    columns = {
        name: _column_of(lists.unwrap(column), labelled, positive)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    hashed = row_hashes(batch)
    with np.errstate(over="ignore"):
        fingerprint = int(_mixed(hashed).sum(dtype=np.uint64))
    return Profile(
        batch.num_rows,
        int(labelled.sum()),
        int((labelled & positive).sum()),
        columns,
        _counted(hashed),
        fingerprint,
        _counted(_present_keys(batch, keys)) if keys else RowHashes.none(),
        _missing_together(batch),
    )


def _counted(hashed: Hashed) -> RowHashes:
    distinct, counts = np.unique(hashed, return_counts=True)
    return _bounded(RowHashes(distinct, counts.astype(np.int64)))


def _present_keys(batch: pa.RecordBatch, keys: Sequence[str]) -> Hashed:
    present = np.ones(batch.num_rows, bool)
    for name in keys:
        present &= np.asarray(lists.unwrap(batch.column(name)).is_valid())
    return keys_of(batch, keys)[present]


def _missing_together(batch: pa.RecordBatch) -> dict[tuple[str, str], int]:
    missing = {
        name: ~_is_known(lists.unwrap(column))
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    names = sorted(name for name, mask in missing.items() if mask.any())
    if not names:
        return {}
    # One product of matrices; 32 bits count the rows of a batch exactly.
    masks = np.stack([missing[name] for name in names]).astype(np.float32)
    both = masks @ masks.T
    return {
        (names[i], names[j]): int(both[i, j])
        for i, j in zip(*np.nonzero(np.triu(both, 1)), strict=True)
    }


def _is_known(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Whether each cell has a value, by the same rule as `Column.missing`."""
    if pa.types.is_floating(column.type):
        return np.asarray(pc.fill_null(pc.is_finite(column), fill_value=False))
    return np.asarray(column.is_valid())


def merged(profiles: Sequence[Profile]) -> Profile:
    """Returns the profile of several profiles' rows together.

    A column that a profile lacks is missing in each of its rows.
    """
    names = dict.fromkeys(name for p in profiles for name in p.columns)
    columns = {}
    for name in names:
        absent = sum(p.rows for p in profiles if name not in p.columns)
        parts = [p.columns[name] for p in profiles if name in p.columns]
        columns[name] = _merged_columns(parts, absent)
    return Profile(
        sum(p.rows for p in profiles),
        sum(p.labelled for p in profiles),
        sum(p.positive for p in profiles),
        columns,
        _merged_hashes([p.hashes for p in profiles]),
        sum(p.fingerprint for p in profiles) & int(_ALL),
        _merged_hashes([p.keys for p in profiles]),
        _merged_pairs(profiles, names),
    )


def _merged_pairs(
    profiles: Sequence[Profile], names: Iterable[str]
) -> dict[tuple[str, str], int] | None:
    """Adds up the rows in which two columns are missing; an absent one is in all."""
    total: Counter[tuple[str, str]] = Counter()
    for each in profiles:
        if each.missing_together is None:
            return None
        total.update(each.missing_together)
        absent = [name for name in names if name not in each.columns]
        for one in absent:
            for other in names:
                if other != one and (other in each.columns or other > one):
                    known = each.columns.get(other)
                    rows = known.missing if known else each.rows
                    total[min(one, other), max(one, other)] += rows
    return {pair: rows for pair, rows in sorted(total.items()) if rows}


def keys_of(batch: pa.RecordBatch, keys: Sequence[str]) -> Hashed:
    """Hashes some columns of each row, uint64 [rows]; all if none are named."""
    return row_hashes(batch.select(list(keys)) if keys else batch)


def row_hashes(batch: pa.RecordBatch) -> Hashed:
    """Hashes the rows of a batch, uint64 [rows].

    Equal rows have equal hashes, whatever the order of the columns and the batch.
    """
    total = np.zeros(batch.num_rows, np.uint64)
    with np.errstate(over="ignore"):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            total += _mixed(_cell_hashes(lists.wrap(column)) ^ _salt(name))
    return _mixed(total)


def to_bytes(profiles: Mapping[str, Profile]) -> tuple[bytes, bytes]:
    """Writes profiles as two Parquet files: the columns, and the rows' hashes."""
    about = {
        split: {
            "rows": p.rows,
            "labelled": p.labelled,
            "positive": p.positive,
            "fingerprint": p.fingerprint,
            "bound": p.hashes.bound,
            "missing_together": _listed(p.missing_together),
            "columns": {
                name: {
                    "numeric": c.numeric,
                    "missing": c.missing,
                    "other": c.other.tolist(),
                }
                for name, c in p.columns.items()
            },
        }
        for split, p in profiles.items()
    }
    tables = [
        _column_table(split, name, column)
        for split, p in profiles.items()
        for name, column in p.columns.items()
    ]
    columns = pa.concat_tables(tables) if tables else _COLUMN_SCHEMA.empty_table()
    hashes = pa.table(
        {
            "split": [s for s, p in profiles.items() for _ in p.hashes.hashes],
            "hash": np.concatenate([p.hashes.hashes for p in profiles.values()]),
            "rows": np.concatenate([p.hashes.counts for p in profiles.values()]),
        }
    )
    noted = columns.replace_schema_metadata({"profiles": json.dumps(about)})
    return _parquet(noted), _parquet(hashes)


def from_bytes(columns: bytes, hashes: bytes) -> dict[str, Profile]:
    """Reads what `to_bytes` wrote."""
    table = parquet.read_table(io.BytesIO(columns))
    about = json.loads(table.schema.metadata[b"profiles"])
    of_rows = parquet.read_table(io.BytesIO(hashes))
    found = {}
    for split, noted in about.items():
        mine = table.filter(pc.equal(table["split"], split))
        kept = of_rows.filter(pc.equal(of_rows["split"], split))
        found[split] = Profile(
            noted["rows"],
            noted["labelled"],
            noted["positive"],
            {
                name: _column_from(mine, name, **parts)
                for name, parts in noted["columns"].items()
            },
            RowHashes(kept["hash"].to_numpy(), kept["rows"].to_numpy(), noted["bound"]),
            noted["fingerprint"],
            missing_together=_by_pair(noted.get("missing_together")),
        )
    return found


def _listed(pairs: Mapping[tuple[str, str], int] | None) -> list[list[Any]] | None:
    if pairs is None:
        return None
    return [[*names, rows] for names, rows in sorted(pairs.items())]


def _by_pair(listed: list[Any] | None) -> dict[tuple[str, str], int] | None:
    if listed is None:
        return None
    return {(one, other): rows for one, other, rows in listed}


_COLUMN_SCHEMA = pa.schema(
    {
        "split": pa.string(),
        "column": pa.string(),
        "number": pa.float64(),
        "text": pa.string(),
        **dict.fromkeys(_COUNTS, pa.int64()),
    }
)


def _column_table(split: str, name: str, column: Column) -> pa.Table:
    kept = len(column.values)
    numbers = pa.array(column.values) if column.numeric else pa.nulls(kept)
    texts = pa.nulls(kept) if column.numeric else pa.array(column.values, pa.string())
    arrays = [
        pa.array([split] * kept, pa.string()),
        pa.array([name] * kept, pa.string()),
        numbers.cast(pa.float64()),
        texts.cast(pa.string()),
        *(pa.array(column.counts[:, i]) for i in range(len(_COUNTS))),
    ]
    return pa.Table.from_arrays(arrays, schema=_COLUMN_SCHEMA)


def _column_from(
    table: pa.Table, name: str, *, numeric: bool, missing: int, other: Sequence[int]
) -> Column:
    rows = table.filter(pc.equal(table["column"], name))
    counts = [rows[count].to_numpy() for count in _COUNTS]
    values = rows["number" if numeric else "text"].to_numpy()
    return Column(
        numeric, missing, values, np.stack(counts, axis=1), np.array(other, np.int64)
    )


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _column_of(column: pa.Array, labelled: Ints, positive: Ints) -> Column:
    if pa.types.is_null(column.type):
        column = column.cast(pa.large_binary())
    numeric = not pa.types.is_large_binary(lists.item_type(column.type))
    if numeric:
        numbers = column.cast(pa.float64())
        column = pc.if_else(pc.is_finite(numbers), numbers, None)
    encoded = column.dictionary_encode()
    present = np.asarray(encoded.is_valid())
    codes = np.asarray(encoded.indices.drop_null(), np.int64)
    marks = (np.ones(len(column), np.int64), labelled, labelled & positive)
    kept = len(encoded.dictionary)
    counts = np.stack(
        [np.bincount(codes, mark[present], kept).astype(np.int64) for mark in marks],
        axis=1,
    )
    values = encoded.dictionary.to_numpy(zero_copy_only=False)
    if not numeric:
        values = np.array([_text(value) for value in values], object)
    order = np.argsort(values, kind="stable")
    missing = len(column) - len(codes)
    return _small(Column(numeric, missing, values[order], counts[order]))


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _merged_columns(parts: Sequence[Column], absent: int) -> Column:
    # A column without any value may have had no type: the others decide.
    typed = [part for part in parts if len(part.values)] or parts[:1]
    numeric = all(part.numeric for part in typed)
    values = [
        part.values if part.numeric == numeric else part.values.astype(str)
        for part in typed
    ]
    distinct, place = np.unique(np.concatenate(values), return_inverse=True)
    counts = np.zeros((len(distinct), len(_COUNTS)), np.int64)
    np.add.at(counts, place, np.concatenate([part.counts for part in typed]))
    other = np.stack([part.other for part in parts]).sum(axis=0)
    missing = absent + sum(part.missing for part in parts)
    return _small(Column(numeric, missing, distinct, counts, other))


def _small(column: Column) -> Column:
    """Reduces a column to the number of values that is kept."""
    rows = column.counts[:, 0]
    if column.numeric and len(rows) > POINTS:
        # A value with more than its share of the rows stays apart from its neighbours.
        middle = np.cumsum(rows) - (rows + 1) // 2
        group = np.unique(middle * POINTS // rows.sum(), return_inverse=True)[1]
        first = np.flatnonzero(np.append([True], np.diff(group) > 0))
        counts = np.add.reduceat(column.counts, first)
        return replace(column, values=column.values[first], counts=counts)
    if not column.numeric and len(rows) > TEXTS:
        # Stable, so that of equally frequent texts the same are kept everywhere.
        order = np.argsort(-rows, kind="stable")
        kept, dropped = np.sort(order[:TEXTS]), order[TEXTS:]
        other = column.other + column.counts[dropped].sum(axis=0)
        return replace(
            column, values=column.values[kept], counts=column.counts[kept], other=other
        )
    return column


def _merged_hashes(parts: Sequence[RowHashes]) -> RowHashes:
    bound = min(part.bound for part in parts)
    hashes = np.concatenate([part.hashes for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    inside = hashes <= np.uint64(bound)
    distinct, place = np.unique(hashes[inside], return_inverse=True)
    total: Ints = np.zeros(len(distinct), np.int64)
    np.add.at(total, place, counts[inside])
    return _bounded(RowHashes(distinct, total, bound))


def _bounded(rows: RowHashes) -> RowHashes:
    if len(rows.hashes) <= HASHES:
        return rows
    bound = int(rows.hashes[HASHES - 1])
    return RowHashes(rows.hashes[:HASHES], rows.counts[:HASHES], bound)


def _cell_hashes(column: pa.LargeListArray) -> Hashed:
    """Hashes each list of a column; 0 for a missing and for an empty one."""
    lengths = lists.lengths_of(column)
    if (lengths == 1).all():
        return _mixed(_value_hashes(column.flatten()))
    ends = np.cumsum(lengths)
    place = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    items = _value_hashes(column.flatten())
    mixed = _mixed(items + place.astype(np.uint64) * _STEP)
    sums = np.append(np.uint64(0), np.cumsum(mixed, dtype=np.uint64))
    return sums[ends] - sums[ends - lengths]


def _value_hashes(values: pa.Array) -> Hashed:
    if pa.types.is_large_binary(values.type):
        # Texts repeat, and each distinct one is hashed once; 0 for a missing one.
        encoded = values.dictionary_encode()
        hashed = [_hash_of(text) for text in encoded.dictionary.to_pylist()]
        codes = np.asarray(pc.fill_null(encoded.indices, -1), np.int64)
        return np.append(np.array(hashed, np.uint64), np.uint64(0))[codes]
    numbers = pc.fill_null(values, 0).to_numpy()
    wide = np.int64 if pa.types.is_integer(values.type) else np.float64
    return _mixed(numbers.astype(wide).view(np.uint64))


@functools.lru_cache(maxsize=1024)
def _salt(name: str) -> np.uint64:
    return np.uint64(_hash_of(name.encode()))


def _hash_of(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


_STEP = np.uint64(0x9E3779B97F4A7C15)


def _mixed(values: Hashed) -> Hashed:
    """Mixes the bits of 64-bit numbers: SplitMix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = values + _STEP
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        result: Hashed = mixed ^ (mixed >> np.uint64(31))
    return result
