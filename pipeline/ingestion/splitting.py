"""Assigns rows to splits, by a hash of their values, by time or by span.

The split of a row depends only on the row itself: not on order, files, batches, engine
or machine.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columnar.lists import is_list, lengths_of
from pipeline.errors import DataRefusedError
from pipeline.ingestion import columns
from pipeline.ingestion.columns import Kind, Kinds
from pipeline.ingestion.times import number_in, seconds_in, seconds_or_nan

TRAIN, EVAL, TEST = "train", "eval", "test"

Hashes = npt.NDArray[np.uint64]
Splits = npt.NDArray[np.int64]
Wrong = dict[int, tuple[str | None, str]]
Mask = npt.NDArray[np.bool_]

# The constant of Boost's hash_combine, in 64 bits.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_OF_MISSING = np.uint64(0x5851F42D4C957F2D)
_NO_ONE_TIME = "a list, where one time is needed; choose another time-column"
_NO_TIME = "has no value, and it decides which split the row is in; fill it in"
_NO_DATE = "is not a date, and it decides which split the row is in; correct it"
_NAMES_SHOWN = 5
_STORED: Mapping[Kind, pa.DataType] = {
    "INT": pa.int64(),
    "FLOAT": pa.float32(),
    "BYTES": pa.binary(),
}
_NEWEST_OF_ALL = float("inf")


@dataclass(frozen=True)
class SplitRule:
    """How rows are split.

    Attributes:
        parts: The splits in order, each with its parts of the rows when a hash decides.
        hash_columns: The columns to hash, in any order; all columns if empty.
        time_column: The column with a row's time, if time decides.
        eval_from: Rows from this time on, and before `test_from`, are `eval`. If empty,
            a hash splits the rows before `test_from` into `train` and `eval`.
        test_from: Rows from this time on are `test`.
        test_spans: If above 0, spans are tested on as a whole, and a hash splits the
            rows of each into `train` and `eval` only, because the span that is tested
            on today is trained on later.
    """

    parts: Mapping[str, int]
    hash_columns: tuple[str, ...] = ()
    time_column: str = ""
    eval_from: str = ""
    test_from: str = ""
    test_spans: int = 0

    @property
    def names(self) -> list[str]:
        """Names of the splits, in order."""
        return [name for name in self.parts if name != TEST or not self.test_spans]

    def over(self, reviewed: Sequence[str]) -> "SplitRule":
        """Returns the rule, hashing the schema's columns if it names none.

        A new column that is not in the schema must not move rows between splits: the
        live model would be tested on rows that it was trained on.

        Args:
            reviewed: The columns of the reviewed schema; all columns of the data are
                hashed if empty.
        """
        return (
            self if self.hash_columns else replace(self, hash_columns=tuple(reviewed))
        )

    def check(self, kinds: Kinds) -> None:
        """Checks that the data has the rule's columns, with comparable times.

        Args:
            kinds: Types of the data's columns.

        Raises:
            DataRefusedError: A column is missing, or the column of times holds texts
                while a setting is a number; the message names the setting.
        """
        for setting, names in (
            ("splits.hash-columns", self.hash_columns),
            ("splits.time-column", filter(None, [self.time_column])),
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

    def split_of(self, batch: pa.RecordBatch) -> tuple[Splits, Wrong]:
        """Returns the index of each row's split.

        Args:
            batch: Typed rows.

        Returns:
            The indices into `names`, shape (rows,); and column and reason of each row
            that can't be assigned.
        """
        if self.time_column:
            return self._by_time(batch)
        return self._by_hash(batch, self.names), {}

    def _by_hash(self, batch: pa.RecordBatch, names: Sequence[str]) -> Splits:
        # Sorted, so that the order of columns in header and schema doesn't matter.
        chosen = sorted(self.hash_columns or batch.schema.names)
        ends = list(itertools.accumulate(self.parts[name] for name in names))
        buckets = hash_rows(batch.select(chosen)) % np.uint64(ends[-1])
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


@dataclass(frozen=True)
class AppliedRule:
    """A rule with the types of its columns, as stored on the Examples artifact.

    Attributes:
        rule: The rule.
        kinds: Types of the columns that decide about the split, by name.
    """

    rule: SplitRule
    kinds: Kinds

    @classmethod
    def of(cls, rule: SplitRule, kinds: Kinds) -> Self:
        """Creates it from a rule and the types of all columns.

        Args:
            rule: The rule, as it was applied.
            kinds: Types of all columns that were read.
        """
        if rule.time_column and rule.eval_from:
            # Time alone decides; nothing is hashed.
            rule = replace(rule, hash_columns=())
            names = [rule.time_column]
        else:
            hashed = rule.hash_columns or tuple(kinds)
            names = sorted({*hashed, *filter(None, [rule.time_column])})
        return cls(rule, {name: kinds[name] for name in names})

    @classmethod
    def from_mapping(cls, noted: Mapping[str, Any]) -> Self:
        """Restores a rule from the decoded JSON of `to_json`."""
        given = dict(noted)
        kinds = given.pop("kinds")
        given["hash_columns"] = tuple(given["hash_columns"])
        return cls(SplitRule(**given), kinds)

    def to_json(self) -> str:
        """Formats it as a property of the Examples artifact; canonical."""
        noted = {**asdict(self.rule), "kinds": dict(sorted(self.kinds.items()))}
        noted["hash_columns"] = sorted(self.rule.hash_columns)
        return json.dumps(noted)

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal; equal if every row is in the same split."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def in_test(self, batch: pa.RecordBatch) -> Mask:
        """Returns which rows the rule assigns to `test`.

        Args:
            batch: Rows with the columns that decide, as values or lists of at most one.

        Returns:
            One boolean per row. False if that can't be determined: a column is missing
            or of another type, or spans decide, which are not part of a row.
        """
        by_time = self.rule.time_column
        needed = [by_time] if by_time else list(self.kinds)
        if self.rule.test_spans or not set(needed) <= set(batch.schema.names):
            return np.zeros(batch.num_rows, bool)
        try:
            typed = [
                _single(batch.column(name)).cast(_STORED[self.kinds[name]])
                for name in needed
            ]
        except pa.ArrowInvalid:
            return np.zeros(batch.num_rows, bool)
        seen = pa.RecordBatch.from_arrays(typed, needed)
        # Rows before test_from are never in the test split, so the time is enough: any
        # column can stand in for the hashed ones, which may be missing here.
        rule = replace(self.rule, hash_columns=(by_time,)) if by_time else self.rule
        found, wrong = rule.split_of(seen)
        in_test = found == rule.names.index(TEST)
        in_test[list(wrong)] = False
        return in_test


def unseen(rules: Iterable[AppliedRule], batch: pa.RecordBatch) -> Mask:
    """Returns which rows are in `test` by every rule.

    Models that were trained with these rules can be compared on them: no model used one
    of these rows for training or early stopping.

    Args:
        rules: The rules of the candidate's and the baseline's examples.
        batch: Rows, as for `AppliedRule.in_test`.
    """
    every = np.ones(batch.num_rows, bool)
    for rule in rules:
        every &= rule.in_test(batch)
    return every


def differences(before: AppliedRule, now: AppliedRule) -> list[str]:
    """Describes the differences between two rules; empty if splits are the same."""
    found = []
    gone = sorted(before.kinds.keys() - now.kinds.keys())
    new = sorted(now.kinds.keys() - before.kinds.keys())
    if new:
        found.append(f"columns that now decide: {_listed(new)}")
    if gone:
        found.append(f"columns that no longer decide: {_listed(gone)}")
    found += [
        f"{name} was {before.kinds[name]} and is {now.kinds[name]}"
        for name in sorted(before.kinds.keys() & now.kinds.keys())
        if before.kinds[name] != now.kinds[name]
    ]
    for field in fields(SplitRule):
        was, is_ = getattr(before.rule, field.name), getattr(now.rule, field.name)
        if field.name == "hash_columns":
            was, is_ = set(was), set(is_)
            # Reported above, unless a column that was hashed is now the time column.
            if new or gone:
                continue
        if was != is_:
            found.append(f"{field.name.replace('_', '-')} was {was} and is {is_}")
    return found


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _single(column: pa.Array) -> pa.Array:
    """Unwraps lists of at most one value, as tf.Examples hold them."""
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        return column
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
    starts = np.asarray(column.offsets)[:-1]
    held = column.values  # noqa: PD011 - Arrow's, with the values of no row too
    return held.take(pa.array(starts, mask=lengths == 0))


def hash_rows(batch: pa.RecordBatch) -> Hashes:
    """Hashes rows by their values, deterministically across runs and machines.

    Columns are hashed by pandas' `hash_array` (SipHash for texts), and combined like
    Boost's hash_combine.

    Args:
        batch: Columns of int64, float32 or binary; their order matters.

    Returns:
        64-bit hashes, shape (rows,).
    """
    # Not Arrow's or Python's hash: these differ between versions and processes, and
    # a row must stay in its split for as long as its model is compared with.
    hashes = np.zeros(batch.num_rows, np.uint64)
    for column in batch.columns:
        hashes = _combined(hashes, _hash_column(column))
    return hashes


def seconds_of(
    batch: pa.RecordBatch, name: str
) -> tuple[npt.NDArray[np.float64], Wrong]:
    """Returns the time of each row.

    Args:
        batch: Typed rows.
        name: The column: seconds since 1970, or dates and times in ISO 8601, which are
            UTC unless they have an offset.

    Returns:
        Seconds since 1970, shape (rows,); and column and reason of each row without a
        valid time.
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
    # Each distinct text is parsed once.
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
        # Adding 0 turns -0.0 into 0.0, which hash differently.
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
