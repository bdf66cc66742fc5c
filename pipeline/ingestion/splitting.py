"""Which split a row belongs to: by a hash of its values, by its time, or by its span.

A row's split depends on the row alone, and never on what is read with it: not on order,
files, batches, engine or machine.
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

RULE_FILE = "split_rule.json"
"""What an applied rule is called beside a transform graph and in a model's extras."""
TRAIN, EVAL, TEST = "train", "eval", "test"

Hashes = npt.NDArray[np.uint64]
Splits = npt.NDArray[np.int64]
Wrong = dict[int, tuple[str | None, str]]
Mask = npt.NDArray[np.bool_]

# Of the boost library's hash_combine, in 64 bits.
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
    """How rows are shared out.

    Attributes:
        parts: Splits in order, and how many parts of the rows a hash gives to each.
        hash_columns: What is hashed, in any order; the whole row if there are none.
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

    def over(self, reviewed: Sequence[str]) -> "SplitRule":
        """Hashes the columns of the reviewed schema where none were chosen.

        A column that nobody has reviewed must not move rows between the splits: the
        live model would be tested on rows that it has learned from.

        Args:
            reviewed: The columns; the whole row is hashed if there are none.
        """
        return (
            self if self.hash_columns else replace(self, hash_columns=tuple(reviewed))
        )

    def check(self, kinds: Kinds) -> None:
        """Refuses columns that the data doesn't have, or that have no time.

        Raises:
            DataRefusedError: Names the setting.
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
        # In the order of names: neither the header's nor the schema's must matter.
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
    """A rule with the types of the columns that it looked at, as examples keep it.

    Attributes:
        rule: The rule.
        kinds: The type of each column that decides, by name.
    """

    rule: SplitRule
    kinds: Kinds

    @classmethod
    def of(cls, rule: SplitRule, kinds: Kinds) -> Self:
        """Keeps of the columns' types those that decide.

        Args:
            rule: The rule, as it was applied.
            kinds: The type of every column that was read.
        """
        if rule.time_column and rule.eval_from:
            # Time alone decides, and nothing is hashed.
            rule = replace(rule, hash_columns=())
            names = [rule.time_column]
        else:
            hashed = rule.hash_columns or tuple(kinds)
            names = sorted({*hashed, *filter(None, [rule.time_column])})
        return cls(rule, {name: kinds[name] for name in names})

    @classmethod
    def from_mapping(cls, noted: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote."""
        given = dict(noted)
        kinds = given.pop("kinds")
        given["hash_columns"] = tuple(given["hash_columns"])
        return cls(SplitRule(**given), kinds)

    def to_json(self) -> str:
        """Writes it as the property of examples; equal rules give equal texts."""
        noted = {**asdict(self.rule), "kinds": dict(sorted(self.kinds.items()))}
        noted["hash_columns"] = sorted(self.rule.hash_columns)
        return json.dumps(noted)

    @property
    def fingerprint(self) -> str:
        """Differs where rows may be in another split: SHA-256 in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def in_test(self, batch: pa.RecordBatch) -> Mask:
        """Finds the rows that the rule has in `test`.

        Args:
            batch: Rows with the columns that decide, one value in a cell or lists of
                at most one.

        Returns:
            One truth value a row. False where it can't be told: a column is not there
            or not of the rule's type, or spans decide, which a row doesn't show.
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
        # What a hash shares out before the test's time is none of the test.
        rule = replace(self.rule, hash_columns=(by_time,)) if by_time else self.rule
        found, wrong = rule.split_of(seen)
        in_test = found == rule.names.index(TEST)
        in_test[list(wrong)] = False
        return in_test


def unseen(rules: Iterable[AppliedRule], batch: pa.RecordBatch) -> Mask:
    """Finds the rows that are in `test` by every rule.

    Models that were trained under these rules can be compared on them: none has learned
    from one of these rows, or was stopped by it.

    Args:
        rules: Those of the candidate's examples and of the baseline's.
        batch: Rows, as `AppliedRule.in_test` takes them.
    """
    every = np.ones(batch.num_rows, bool)
    for rule in rules:
        every &= rule.in_test(batch)
    return every


def differences(before: AppliedRule, now: AppliedRule) -> list[str]:
    """Says in words why a row may be in another split than before; empty if none is."""
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
            # Named above, unless a column that was hashed now tells the time.
            if new or gone:
                continue
        if was != is_:
            found.append(f"{field.name.replace('_', '-')} was {was} and is {is_}")
    return found


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _single(column: pa.Array) -> pa.Array:
    """Takes the values out of lists of at most one, as examples hold them."""
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        return column
    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
    starts = np.asarray(column.offsets)[:-1]
    held = column.values  # noqa: PD011 - Arrow's, with the values of no row too
    return held.take(pa.array(starts, mask=lengths == 0))


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
