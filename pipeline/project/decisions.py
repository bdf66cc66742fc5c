"""Decides from data what a project declares: features, label, and settings.

Each decision has its reason, which is printed and becomes a comment. None is final:
`models/features.py` is the project's own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from models.declarations import (
    AnyLabel,
    Binary,
    Boolean,
    Bucketized,
    Classes,
    Feature,
    FreeText,
    IntegerCategory,
    Items,
    Numeric,
    Regression,
    Task,
    TimePart,
    Timestamp,
    Vocabulary,
)
from pipeline.errors import DataRefusedError
from pipeline.project.survey import Column, Survey
from pipeline.trust import whole
from pipeline.trust.profile import Profile

MOST_CLASSES = 1000
_LEAST_ROWS = 50
_ALMOST_ALL = 0.99
_MOST_MISSING_LABELS = 0.95
# A whole number with more distinct values is a quantity rather than a code.
_CODES = 20
_ROWS_OF_A_CODE = 20
# A text that differs in most rows: an id if it is short, a description if it has words.
_MOSTLY_DISTINCT = 0.5
_WORDS = 2.0
# As in the data gate: a feature that knows more than this knows the label.
_LEAK_SHARE, _LEAK_AUC = 0.9, 0.995
_LONG_TAIL = 20.0
_FACTOR = 4.0
_STEPS = 8
_TRUE = {"true", "t", "yes", "y", "1"}
_FALSE = {"false", "f", "no", "n", "0"}
_DAY = 86_400.0
_YEAR = 366
# Seconds since 1970 of the years 2001 to 2096, in a column that is named like a time.
_SECONDS = (1.0e9, 4.0e9)
_TIMELIKE = ("time", "date", "timestamp", "_at", "_on")
_SLICES, _SLICE_VALUES = 2, 12


@dataclass(frozen=True)
class Decision:
    """What becomes of a column.

    Attributes:
        column: Its name.
        features: Its declarations; none if it is left out.
        reason: Why.
    """

    column: str
    features: tuple[Feature, ...]
    reason: str


@dataclass(frozen=True)
class Plan:
    """All that is decided.

    Attributes:
        label: The label's declaration.
        about_label: What it was decided by.
        decisions: Of each other column, in the files' order.
        slices: Columns to slice the evaluation by.
    """

    label: AnyLabel
    about_label: str
    decisions: tuple[Decision, ...]
    slices: tuple[str, ...]

    @property
    def features(self) -> tuple[Feature, ...]:
        """All declared features."""
        return tuple(f for each in self.decisions for f in each.features)


def label_of(
    column: Column, task: Task | None, positive: str | None, weight: str
) -> tuple[AnyLabel, str]:
    """Decides the label.

    Args:
        column: The label's column.
        task: The kind of task, if it is given.
        positive: The value that is "yes" of a binary label, if it is given.
        weight: Column of row weights, or empty.

    Returns:
        The declaration, and what it was decided by.

    Raises:
        DataRefusedError: The column can't be such a label.
    """
    _check_label(column)
    chosen = task or ("binary" if positive is not None else _task_of(column))
    distinct = _distinct(column)
    if chosen == "regression":
        if not column.is_number:
            raise DataRefusedError(
                f"label {column.name!r} holds texts such as {column.values[0]!r}; a "
                "regression needs numbers: give --task classes"
            )
        middle = column.quantile(0.5)
        low, high = column.quantile(0.0), column.quantile(1.0)
        # An error of 10 % is as bad for a small number as for a large one.
        log = _has_long_tail(column) or high > _FACTOR * low > 0
        why = f", {low:g} to {high:g}: learned by its logarithm" if log else ""
        return (
            Regression(column=column.name, weight=weight, log=log, middle=middle),
            f"regression: {distinct} numbers, half of them up to {middle:g}{why}",
        )
    values = _label_values(column)
    if chosen == "binary":
        return _binary(column, values, positive, weight)
    return (
        Classes(column=column.name, weight=weight, values=values),
        f"classes: {len(values)} distinct values",
    )


def decide(found: Survey, label: AnyLabel, about: str, labelled: Profile) -> Plan:
    """Decides about all other columns.

    Args:
        found: The survey.
        label: The label's declaration.
        about: What it was decided by.
        labelled: A profile of all rows with their labels.

    Raises:
        DataRefusedError: No column is left that could be a feature.
    """
    steps = isinstance(label, Regression)
    decisions = tuple(
        _decision(column, found.rows, labelled, steps=steps)
        for name, column in found.columns.items()
        if name not in label.read
    )
    plan = Plan(label, about, decisions, tuple(_slices(found, decisions)))
    if not plan.features:
        raise DataRefusedError(
            "no column is left as a feature: "
            + "; ".join(f"{d.column}: {d.reason}" for d in decisions)
        )
    return plan


def _check_label(column: Column) -> None:
    name = column.name
    if column.is_list:
        raise DataRefusedError(f"label {name!r} holds lists; a row has one label")
    if len(column.values) < 2:  # noqa: PLR2004 - something to tell apart
        value = (
            f"one value, {_shown(column.values[0])}" if column.values else "no value"
        )
        raise DataRefusedError(
            f"label {name!r} has {value} in all {column.rows:,} rows; there is nothing "
            "to learn: choose another column"
        )
    if column.share_missing > _MOST_MISSING_LABELS:
        raise DataRefusedError(
            f"label {name!r} is missing in {column.share_missing:.1%} of the rows; "
            f"at least {1 - _MOST_MISSING_LABELS:.0%} must have one: join the labels "
            "first, or choose another column"
        )
    if column.present < _LEAST_ROWS:
        raise DataRefusedError(
            f"only {column.present} rows have a label in {name!r}; at least "
            f"{_LEAST_ROWS} are needed to train, stop early and test"
        )


def _task_of(column: Column) -> Task:
    distinct = len(column.values)
    if distinct == 2:  # noqa: PLR2004 - yes and no
        return "binary"
    if column.is_number and (not column.is_whole or distinct > _CODES):
        return "regression"
    return "classes"


def _distinct(column: Column) -> str:
    return f"{len(column.values):,}" if column.complete else f"{len(column.values):,}+"


def _label_values(column: Column) -> tuple[Any, ...]:
    """Returns a label's values as a declaration holds them."""
    distinct = len(column.values)
    if distinct > MOST_CLASSES or not column.complete:
        hint = "; for a number give --task regression" if column.is_number else ""
        raise DataRefusedError(
            f"label {column.name!r} has {_distinct(column)} distinct values; at most "
            f"{MOST_CLASSES:,} classes can be told apart: group them, or choose "
            f"another column{hint}"
        )
    if column.is_number and not column.is_whole:
        raise DataRefusedError(
            f"label {column.name!r} holds numbers with a fraction, such as "
            f"{column.values[0]:g}; give --task regression"
        )
    return tuple(int(v) if column.is_number else str(v) for v in column.values)


def _binary(
    column: Column, values: tuple[Any, ...], positive: str | None, weight: str
) -> tuple[AnyLabel, str]:
    texts = {str(value): value for value in values}
    if positive is not None and positive not in texts:
        raise DataRefusedError(
            f"positive is {positive!r}, which is no value of {column.name!r}; it has "
            f"{', '.join(list(texts)[:_CODES])}"
        )
    if positive is None and len(values) > 2:  # noqa: PLR2004 - yes and no
        raise DataRefusedError(
            f"label {column.name!r} has {len(values)} values: "
            f"{', '.join(list(texts)[:_CODES])}; give the one that is yes as --positive"
        )
    if positive is None:
        lower = {text.lower(): text for text in texts}
        rarest = str(values[int(np.argmin(column.counts))])
        positive = next((lower[t] for t in lower if t in _TRUE), rarest)
    yes = texts[positive]
    rows = dict(zip(values, column.counts, strict=True))[yes]
    label = Binary(
        column=column.name,
        weight=weight,
        positive=(yes,),
        negative=tuple(value for value in values if value != yes),
    )
    share = rows / max(1, column.present)
    return label, f"binary: {yes!r} is yes, in {share:.1%} of the labelled rows"


def _decision(column: Column, rows: int, labelled: Profile, *, steps: bool) -> Decision:
    out = _left_out(column, rows, labelled)
    if out:
        return Decision(column.name, (), f"{out}: left out")
    features, reason = _features(column, rows)
    if steps and type(features[0]) is Numeric and len(column.values) > 2 * _STEPS:
        # A number often follows another in steps, which a line through it can't.
        # Numbers have 32 bits; the shortest text of each is the one to declare.
        found = (column.quantile(at / _STEPS) for at in range(1, _STEPS))
        cuts = [float(str(np.float32(cut))) for cut in found]
        features = (*features, Bucketized(column.name, tuple(sorted({*cuts}))))
        reason = f"{reason}, and its {_STEPS} quantiles"
    return Decision(column.name, features, reason)


def _left_out(column: Column, rows: int, labelled: Profile) -> str:
    """Returns why a column is no feature; empty if it is one."""
    if not column.values or column.share_missing > _ALMOST_ALL:
        return f"{column.share_missing:.1%} missing"
    if len(column.values) == 1:
        return f"one value, {_shown(column.values[0])}"
    if column.is_list and column.kind == "FLOAT":
        return "lists of numbers with a fraction"
    if column.is_other_date:
        return f"dates such as {column.values[0]!r}, write them as 2026-01-31"
    return _leak_or_id(column, rows, labelled)


def _leak_or_id(column: Column, rows: int, labelled: Profile) -> str:
    known = whole.explained(labelled.columns[column.name])
    if known and (known.share > _LEAK_SHARE or known.auc > _LEAK_AUC):
        return f"predicts the label alone (AUC {known.auc:.3f}), leak?"
    if column.grows and not _is_time(column) and column.is_whole:
        return "grows from row to row"
    mostly = len(column.values) > _MOSTLY_DISTINCT * rows or not column.complete
    if not column.is_number and mostly and column.words < _WORDS and not column.is_date:
        return f"{_distinct(column)} distinct values in {rows:,} rows, an id"
    return ""


def _features(column: Column, rows: int) -> tuple[tuple[Feature, ...], str]:
    name, missing = column.name, column.share_missing
    gaps = f", {missing:.1%} missing" if column.missing else ""
    if column.is_list:
        return (Items(name),), f"lists of {_distinct(column)} items or more{gaps}"
    if _is_time(column):
        return _time(column, gaps)
    if _is_boolean(column):
        return (Boolean(name),), f"yes or no{gaps}"
    if column.is_number:
        return _number(column, rows, gaps)
    if (len(column.values) > _MOSTLY_DISTINCT * rows or not column.complete) and (
        column.words >= _WORDS
    ):
        words = f"{column.words:.1f} words on average"
        # Each count is a weight to learn: for few rows, few of them.
        fewer = 2 ** int(np.log2(max(16, rows / 16)))
        text = FreeText(name, buckets=min(fewer, FreeText.buckets))
        return (text,), f"{_distinct(column)} distinct texts, {words}{gaps}"
    least = 10 if rows >= 100 * _LEAST_ROWS else 2
    return (
        (Vocabulary(name, min_count=least),),
        f"{_distinct(column)} distinct values{gaps}",
    )


def _number(column: Column, rows: int, gaps: str) -> tuple[tuple[Feature, ...], str]:
    name, low, high = column.name, column.values[0], column.values[-1]
    log = _has_long_tail(column)
    number = Numeric(name, log=log, flag_missing=column.missing > 0)
    shape = ", with a long tail" if log else ""
    reason = f"{low:g} to {high:g}{shape}{gaps}"
    codes = len(column.values)
    if column.kind == "INT" and codes <= _CODES and codes * _ROWS_OF_A_CODE <= rows:
        code = IntegerCategory(name, int(low), int(high))
        if high - low <= MOST_CLASSES:
            return (number, code), f"{codes} whole numbers, {reason}"
    return (number,), reason


def _time(column: Column, gaps: str) -> tuple[tuple[Feature, ...], str]:
    seconds = _seconds(column)
    days = (seconds.max() - seconds.min()) / _DAY
    times = seconds.astype("datetime64[s]")
    months = times.astype("datetime64[M]")
    of_month = times.astype("datetime64[D]") - months.astype("datetime64[D]")
    parts: list[TimePart] = []
    if len(np.unique(seconds % _DAY)) > 1:
        parts.append("hour")
    # The first days of months and years are on any day of the week.
    if len(np.unique(of_month)) > 1 and days > 14:  # noqa: PLR2004 - two weeks
        parts.append("weekday")
    if len(np.unique(months.astype(int) % 12)) > 1 and days > 300:  # noqa: PLR2004
        parts.append("yearday")
    # Within a year an age is hardly more than the row's number.
    age = bool(days > _YEAR) or not parts
    why = "age too, for a trend" if age else "less than a year: no age"
    feature = Timestamp(column.name, parts=tuple(parts), age=age)
    return (feature,), f"{_distinct(column)} dates over {days:,.0f} days, {why}{gaps}"


def _seconds(column: Column) -> np.ndarray:
    if column.is_number:
        return np.asarray(column.values, np.float64)
    found = []
    for value in column.values:
        try:
            text = str(value).strip()[:19].replace("/", "-")
            time = datetime.fromisoformat(text)
        except ValueError:
            continue
        found.append((time - datetime(1970, 1, 1)).total_seconds())  # noqa: DTZ001
    return np.asarray(found, np.float64)


def _is_time(column: Column) -> bool:
    if column.is_date:
        return True
    named = column.name.lower().endswith(_TIMELIKE)
    low, high = _SECONDS
    return bool(
        column.is_number
        and named
        and low <= float(column.values[0])
        and float(column.values[-1]) <= high
    )


def _is_boolean(column: Column) -> bool:
    values = {str(v).lower() for v in column.values}
    if column.is_number:
        return {*column.values} == {0, 1}
    return values <= _TRUE | _FALSE and bool(values & _TRUE)


def _has_long_tail(column: Column) -> bool:
    low, middle, high = (column.quantile(q) for q in (0.0, 0.5, 0.99))
    # Of rain, most days have none.
    return low >= 0 and high > max(_LONG_TAIL * middle, _LONG_TAIL / 2)


def _slices(found: Survey, decisions: Sequence[Decision]) -> Iterator[str]:
    """Yields a few columns of few values, each of them in enough rows."""
    chosen = 0
    for each in decisions:
        column = found.columns[each.column]
        few = len(column.values) <= _SLICE_VALUES and column.complete
        useful = bool(each.features) and few and column.kind != "FLOAT"
        useful = useful and not column.is_list and not _is_time(column)
        if useful and min(column.counts) >= _ROWS_OF_A_CODE and chosen < _SLICES:
            chosen += 1
            yield each.column


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
