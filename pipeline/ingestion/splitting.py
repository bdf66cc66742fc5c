"""Which split a row belongs to: by a hash of its values, by its time, or by its span.

A row's split depends on the row alone, and never on what is read with it: not on order,
files, batches, engine or machine.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columnar.lists import is_list, lengths_of
from pipeline.errors import DataRefusedError
from pipeline.ingestion import columns
from pipeline.ingestion.columns import Kinds
from pipeline.ingestion.times import number_in, seconds_in, seconds_or_nan

TRAIN, EVAL, TEST = "train", "eval", "test"

Hashes = npt.NDArray[np.uint64]
Splits = npt.NDArray[np.int64]
Wrong = dict[int, tuple[str | None, str]]

# Of the boost library's hash_combine, in 64 bits.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_OF_MISSING = np.uint64(0x5851F42D4C957F2D)
_NO_ONE_TIME = "a list, where one time is needed; choose another time-column"
_NO_TIME = "has no value, and it decides which split the row is in; fill it in"
_NO_DATE = "is not a date, and it decides which split the row is in; correct it"
_NEWEST_OF_ALL = float("inf")


@dataclass(frozen=True)
class SplitRule:
    """How rows are shared out.

    Attributes:
        parts: Splits in order, and how many parts of the rows a hash gives to each.
        hash_columns: What is hashed; the whole row if there are none.
        time_column: Whose value says when a row is from, if time decides.
        eval_from: Rows from then on, and before `test_from`, are `eval`; without it a
            hash shares what is before `test_from` out to `train` and `eval`.
        test_from: Rows from then on are `test`.
        test_spans: As many of the newest spans are `test`, and a hash shares the rest.
    """

    parts: Mapping[str, int]
    hash_columns: tuple[str, ...] = ()
    time_column: str = ""
    eval_from: str = ""
    test_from: str = ""
    test_spans: int = 0

    @property
    def names(self) -> list[str]:
        """The splits, in order."""
        return list(self.parts)

    def check(self, kinds: Kinds) -> None:
        """Refuses columns that the data doesn't have, or that have no time.

        Raises:
            DataRefusedError: Names the setting.
        """
        for setting, names in (
            ("hash-columns", self.hash_columns),
            ("time-column", filter(None, [self.time_column])),
        ):
            for name in names:
                if name not in kinds:
                    raise DataRefusedError(
                        f"{setting} names {name!r}, which the data does not have; it "
                        f"has {', '.join(kinds)}"
                    )
        if self.time_column and kinds[self.time_column] == "BYTES":
            for setting in filter(None, (self.eval_from, self.test_from)):
                if number_in(setting) is not None:
                    raise DataRefusedError(
                        f"{self.time_column!r} holds texts, so {setting} must be a "
                        "date such as 2026-01-31"
                    )

    def split_of(
        self, batch: pa.RecordBatch, *, is_newest: bool = False
    ) -> tuple[Splits, Wrong]:
        """Gives each row the index of its split.

        Args:
            batch: Rows, typed.
            is_newest: Whether they are of one of the spans that are the test.

        Returns:
            The indices; and by row, why some have no place in any.
        """
        names = self.names
        if is_newest:
            return np.full(batch.num_rows, names.index(TEST)), {}
        if self.test_spans:
            return self._by_hash(batch, (TRAIN, EVAL)), {}
        if self.time_column:
            return self._by_time(batch)
        return self._by_hash(batch, names), {}

    def _by_hash(self, batch: pa.RecordBatch, names: Sequence[str]) -> Splits:
        chosen = self.hash_columns or batch.schema.names
        ends = list(itertools.accumulate(self.parts[name] for name in names))
        buckets = hash_rows(batch.select(list(chosen))) % np.uint64(ends[-1])
        found = np.searchsorted(ends, buckets.astype(np.int64), side="right")
        return np.array([self.names.index(name) for name in names])[found]

    def _by_time(self, batch: pa.RecordBatch) -> tuple[Splits, Wrong]:
        times, wrong = seconds_of(batch, self.time_column)
        test = seconds_in(self.test_from) if self.test_from else _NEWEST_OF_ALL
        names = self.names
        if self.eval_from:
            found = np.full(len(times), names.index(TRAIN))
            found[times >= seconds_in(self.eval_from)] = names.index(EVAL)
        else:
            found = self._by_hash(batch, (TRAIN, EVAL))
        found[times >= test] = names.index(TEST)
        return found, wrong


def hash_rows(batch: pa.RecordBatch) -> Hashes:
    """Hashes rows by their values; the same values always give the same hash.

    Args:
        batch: Whole numbers, numbers of 32 bits or bytes; in any order of columns, but
            the order counts.

    Returns:
        Of shape (rows,): 64 bits each, by pandas' `hash_array` (SipHash of texts).
    """
    hashes = np.zeros(batch.num_rows, np.uint64)
    for column in batch.columns:
        hashes = _combined(hashes, _hash_column(column))
    return hashes


def seconds_of(
    batch: pa.RecordBatch, name: str
) -> tuple[npt.NDArray[np.float64], Wrong]:
    """Reads when each row is from.

    Args:
        batch: Rows, typed.
        name: The column: seconds since 1970 in UTC, or dates and times as ISO 8601
            writes them, which are UTC unless they say otherwise.

    Returns:
        Seconds since 1970; and by row, why there are none.
    """
    column = batch.column(name)
    if is_list(column.type):
        return np.zeros(len(column)), dict.fromkeys(
            range(len(column)), (name, _NO_ONE_TIME)
        )
    missing = np.flatnonzero(np.asarray(column.is_null()))
    wrong: Wrong = {int(row): (name, _NO_TIME) for row in missing}
    if not columns.is_text(column.type):
        numbers = pc.fill_null(column.cast(pa.float64(), safe=False), 0.0)
        return np.asarray(numbers), wrong
    encoded = column.cast(pa.string()).dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    known = np.array([seconds_or_nan(text) for text in texts], float)
    indices = np.asarray(pc.fill_null(encoded.indices, 0))
    times = known[indices] if len(known) else np.zeros(len(column))
    for row in np.flatnonzero(np.isnan(times)):
        wrong.setdefault(int(row), (name, f"{texts[indices[row]]!r} {_NO_DATE}"))
    return np.nan_to_num(times), wrong


def _hash_column(column: pa.Array) -> Hashes:
    if is_list(column.type):
        return _hash_lists(column)
    present = np.asarray(column.is_valid())
    if columns.is_text(column.type):
        encoded = column.dictionary_encode()
        texts = np.array(encoded.dictionary.to_pylist(), dtype=object)
        known = pd.util.hash_array(texts, categorize=False)
        indices = np.asarray(pc.fill_null(encoded.indices, 0))
        hashes = known[indices] if len(known) else np.zeros(len(column), np.uint64)
    else:
        # Adding 0 makes one zero of the two that there are.
        values = np.asarray(pc.fill_null(column, 0)) + column.type.to_pandas_dtype()(0)
        hashes = pd.util.hash_array(values, categorize=False)
    return np.where(present, hashes, _OF_MISSING)


def _hash_lists(column: pa.Array) -> Hashes:
    """Hashes lists by their lengths and their items, place by place."""
    lengths = lengths_of(column)
    items = _hash_column(column.flatten())
    starts = np.cumsum(lengths) - lengths
    hashes = np.where(
        np.asarray(column.is_valid()), lengths.view(np.uint64), _OF_MISSING
    )
    for place in range(int(lengths.max(initial=0))):
        rows = np.flatnonzero(lengths > place)
        hashes[rows] = _combined(hashes[rows], items[starts[rows] + place])
    return hashes


def _combined(left: Hashes, right: Hashes) -> Hashes:
    shifted = (left << np.uint64(6)) + (left >> np.uint64(2))
    return left ^ (right + _GOLDEN + shifted)
