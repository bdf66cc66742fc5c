"""Where data doesn't fit the reviewed schema: in words, with counts and examples.

ExampleValidator finds the same, split by split, and says it for machines. Here all
splits of a run are one answer per column, with what would have to change in the schema
to accept the data, and nothing else would.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.errors import UsageError, nearest
from pipeline.trust import schema_review
from pipeline.trust.distributions import Feature

Observed = Mapping[str, Mapping[str, Feature]]
"""The statistics of each column by split."""

Outside = Callable[[str, float, float], tuple[int, int]]
"""Counts a column's values below one bound and above another."""

Change = Callable[[schema_pb2.Schema], None]
"""Changes a schema in place."""

_TYPES = {
    "INT": schema_pb2.INT,
    "FLOAT": schema_pb2.FLOAT,
    "STRING": schema_pb2.BYTES,
    "BYTES": schema_pb2.BYTES,
}
_VALUES_SHOWN = 5
# A domain of more new values than this is no list that anybody reviews.
_MOST_NEW_VALUES = 200
# A new column of at most so many values is a category, and gets them as its domain.
_FEW_VALUES = 50
_HUNDREDTHS = 100


@dataclass(frozen=True)
class Misfit:
    """Something in which the data differs from what the schema accepts.

    Attributes:
        column: Name of the column.
        text: What, with counts and examples.
        breaks: Whether ExampleValidator finds it, too; else the schema tolerates it.
        by_hand: Why `accept` can't widen the schema for it; empty if it can.
    """

    column: str
    text: str
    breaks: bool = True
    by_hand: str = ""


@dataclass(frozen=True)
class Review:
    """The misfits of a column, and a schema that has none of them.

    Attributes:
        misfits: What differs.
        changes: Of a schema, so that it accepts the column as it is.
    """

    misfits: tuple[Misfit, ...]
    changes: tuple[Change, ...]


Step = tuple[Misfit, Change]


def review(
    schema: schema_pb2.Schema, observed: Observed, outside: Outside | None = None
) -> dict[str, Review]:
    """Compares data with a schema.

    Args:
        schema: The reviewed one.
        observed: Statistics by split.
        outside: Counts values out of range; without it they aren't counted.

    Returns:
        The columns that don't fit, in the order of the schema, new ones at the end.
    """
    found = {}
    known = {feature.name: feature for feature in schema.feature}
    for name in dict.fromkeys(
        [*known, *(n for each in observed.values() for n in each)]
    ):
        splits = [split[name] for split in observed.values() if name in split]
        if name not in known:
            steps = [_new_column(splits)]
        else:
            steps = list(_steps(schema, known[name], splits, outside))
        if steps:
            misfits, changes = zip(*steps, strict=True)
            found[name] = Review(misfits, changes)
    return found


def lines(found: Mapping[str, Review], rows: Mapping[str, int]) -> list[str]:
    """Formats what `throughline schema diff` prints.

    Args:
        found: What `review` returned.
        rows: Number of rows by split.
    """
    splits = ", ".join(f"{name} {count:,}" for name, count in rows.items())
    read = f"{sum(rows.values()):,} rows ({splits})"
    if not found:
        return [f"the data fits the reviewed schema: {read}"]
    width = max(map(len, found))
    shown = [
        f"{name if not i else '':{width}}  {misfit.text}"
        for name, each in found.items()
        for i, misfit in enumerate(each.misfits)
    ]
    columns = "column differs" if len(found) == 1 else "columns differ"
    return [read, "", *shown, "", f"{len(found)} {columns} from the reviewed schema"]


def widened(
    schema: schema_pb2.Schema, found: Mapping[str, Review], columns: Collection[str]
) -> schema_pb2.Schema:
    """Returns the schema, changed so that columns of the data fit.

    Args:
        schema: The reviewed one.
        found: What `review` returned for it.
        columns: Which columns to accept; all that differ if empty.

    Raises:
        UsageError: A column doesn't differ, or can only be accepted by hand.
    """
    for name in columns:
        if name not in found:
            known = [feature.name for feature in schema.feature]
            raise UsageError(
                f"{name} fits the reviewed schema already; there is nothing to accept"
                if name in known
                else f"{name!r} is neither in the data nor in the reviewed schema; "
                f"{nearest(name, [*known, *found])}"
            )
    wider = schema_pb2.Schema()
    wider.CopyFrom(schema)
    for name in columns or found:
        for misfit in found[name].misfits:
            if misfit.by_hand:
                raise UsageError(
                    f"{name} can't be accepted: {misfit.text}; {misfit.by_hand}"
                )
        for change in found[name].changes:
            change(wider)
    return wider


def _steps(
    schema: schema_pb2.Schema,
    feature: schema_pb2.Feature,
    splits: Sequence[Feature],
    outside: Outside | None,
) -> Iterator[Step]:
    if not schema_review.is_expected(feature, schema, schema_review.TRAINING):
        return
    required = feature.presence.min_fraction or feature.presence.min_count
    if not splits:
        if required:
            yield _no_column(feature)
        return
    if required:
        yield from _presence(feature, splits)
    if all(split.missing == split.rows for split in splits):
        return
    yield from _type(feature, splits)
    yield from _values_of_a_row(feature, splits)
    yield from _numbers(schema, feature, splits, outside)
    yield from _texts(schema, feature, splits)


def _new_column(splits: Sequence[Feature]) -> Step:
    added = _described(splits)
    rows, missing = _rows(splits), _missing(splits)
    text = (
        f"new column of type {schema_pb2.FeatureType.Name(added.type)}, in "
        f"{_share(rows - missing, rows)} of the rows"
    )
    lowest, highest = _ends(splits)
    if texts := _counted(splits):
        values = max(split.unique or 0 for split in splits)
        text += f", {values:,} {'value' if values == 1 else 'values'}: {_shown(texts)}"
    elif lowest is not None and highest is not None:
        text += f", {_number(lowest)} to {_number(highest)}"
    return Misfit(added.name, text), lambda wider: wider.feature.append(added)


def _described(splits: Sequence[Feature]) -> schema_pb2.Feature:
    """Describes a column as a schema would; with its values if they are few."""
    name = splits[0].name
    kinds = [split.kind for split in splits if split.missing < split.rows]
    feature = schema_pb2.Feature(name=name, type=_TYPES.get((kinds or [""])[0]))
    share = min((s.rows - s.missing) / max(1, s.rows) for s in splits)
    if share:
        feature.presence.min_fraction = _floor(share)
        feature.presence.min_count = 1
    feature.value_count.max = max(split.most_values for split in splits)
    texts = _counted(splits)
    if 0 < len(texts) <= _FEW_VALUES:
        feature.string_domain.value[:] = sorted(texts)
    return feature


def _no_column(feature: schema_pb2.Feature) -> Step:
    wanted = _wanted_presence(feature)
    text = f"the data has no such column; the schema wants it {wanted}"

    def remove(wider: schema_pb2.Schema) -> None:
        kept = [each for each in wider.feature if each.name != feature.name]
        del wider.feature[:]
        wider.feature.extend(kept)

    return Misfit(feature.name, text), remove


def _presence(feature: schema_pb2.Feature, splits: Sequence[Feature]) -> Iterator[Step]:
    worst = max(splits, key=lambda split: split.share_missing)
    lowest = feature.presence.min_fraction
    present = worst.rows - worst.missing
    share = present / max(1, worst.rows)
    # As TFDV compares, in doubles.
    if share >= lowest and present >= feature.presence.min_count:
        return
    missing, rows = _missing(splits), _rows(splits)
    text = (
        f"presence fell: {_share(rows - missing, rows)} of the rows have a value "
        f"({missing:,} of {rows:,} don't), the schema wants it "
        f"{_wanted_presence(feature)}"
    )

    def lower(wider: schema_pb2.Schema) -> None:
        presence = _named(wider, feature.name).presence
        if share < lowest:
            presence.min_fraction = _floor(share)
        if presence.min_count:
            presence.min_count = min(present, presence.min_count)

    yield Misfit(feature.name, text), lower


def _type(feature: schema_pb2.Feature, splits: Sequence[Feature]) -> Iterator[Step]:
    kinds = {split.kind for split in splits if split.missing < split.rows}
    if len(kinds) != 1 or not kinds <= _TYPES.keys():
        return
    kind = _TYPES[kinds.pop()]
    if feature.type in {kind, schema_pb2.TYPE_UNKNOWN}:
        return
    name = schema_pb2.FeatureType.Name
    text = f"the type is {name(kind)}, the schema has {name(feature.type)}"
    why = (
        "its ranges and values are those of the other type: write them for the new one"
    )

    def retype(wider: schema_pb2.Schema) -> None:
        _named(wider, feature.name).type = kind

    bounded = feature.WhichOneof("domain_info") is not None
    yield Misfit(feature.name, text, by_hand=why if bounded else ""), retype


def _values_of_a_row(
    feature: schema_pb2.Feature, splits: Sequence[Feature]
) -> Iterator[Step]:
    if not feature.HasField("value_count"):
        return
    fewest = min(split.fewest_values for split in splits)
    most = max(split.most_values for split in splits)
    count = feature.value_count
    too_many = count.HasField("max") and most > count.max
    too_few = count.HasField("min") and fewest < count.min
    if not (too_many or too_few):
        return
    text = (
        f"rows have {fewest} to {most} values, the schema wants {count.min} to "
        f"{count.max if count.HasField('max') else 'any number'}"
    )

    def widen(wider: schema_pb2.Schema) -> None:
        allowed = _named(wider, feature.name).value_count
        if too_many:
            allowed.max = most
        if too_few:
            allowed.min = fewest

    yield Misfit(feature.name, text), widen


def _numbers(
    schema: schema_pb2.Schema,
    feature: schema_pb2.Feature,
    splits: Sequence[Feature],
    outside: Outside | None,
) -> Iterator[Step]:
    domain = schema_review.number_domain(feature, schema)
    lowest, highest = _ends(splits)
    if domain is None or lowest is None or highest is None:
        return
    yield from _not_numbers(feature, domain, splits, lowest, highest)
    low = float(domain.min) if domain.HasField("min") else -math.inf
    high = float(domain.max) if domain.HasField("max") else math.inf
    if low <= lowest and highest <= high:
        return
    text = (
        f"range grew: {_number(lowest)} to {_number(highest)}, the schema accepts "
        f"{_number(low)} to {_number(high)}"
    )
    if outside:
        below, above = outside(feature.name, low, high)
        rows = _rows(splits)
        counted = [
            f"{count:,} rows ({_share(count, rows)}) are {where}"
            for count, where in ((below, "below"), (above, "above"))
            if count
        ]
        text = "; ".join([text, *counted])

    def widen(wider: schema_pb2.Schema) -> None:
        theirs = schema_review.number_domain(_named(wider, feature.name), wider)
        whole = isinstance(theirs, schema_pb2.IntDomain)
        if lowest < low:
            theirs.min = int(lowest) if whole else _outward(lowest, -math.inf)
        if highest > high:
            theirs.max = int(highest) if whole else _outward(highest, math.inf)

    yield Misfit(feature.name, text), widen


def _not_numbers(
    feature: schema_pb2.Feature,
    domain: schema_pb2.IntDomain | schema_pb2.FloatDomain,
    splits: Sequence[Feature],
    lowest: float,
    highest: float,
) -> Iterator[Step]:
    if not isinstance(domain, schema_pb2.FloatDomain):
        return
    infinite = math.isinf(lowest) or math.isinf(highest)
    for name, found, counted in (
        ("nan", sum(split.nan for split in splits), True),
        ("inf", int(infinite), False),
    ):
        option = f"disallow_{name}"
        if not found or not getattr(domain, option):
            continue
        times = f"{found:,} values are" if counted else "some values are"

        def allow(wider: schema_pb2.Schema, option: str = option) -> None:
            theirs = schema_review.number_domain(_named(wider, feature.name), wider)
            setattr(theirs, option, False)

        yield Misfit(feature.name, f"{times} {name}, which the schema refuses"), allow


def _texts(
    schema: schema_pb2.Schema, feature: schema_pb2.Feature, splits: Sequence[Feature]
) -> Iterator[Step]:
    domain = schema_review.string_domain(feature, schema)
    if domain is None:
        return
    known = frozenset(domain.value)
    new = Counter(
        {text: n for text, n in _counted(splits).items() if text not in known}
    )
    if not new:
        return
    rows, outside = _rows(splits), int(sum(new.values()))
    allowed = schema_review.share_outside(feature)
    breaks = any(_share_outside(split, known) > allowed for split in splits)
    tolerated = f"; the schema tolerates {100 * allowed:.4g} %" if allowed else ""
    values = "new value" if len(new) == 1 else "new values"
    text = (
        f"{len(new):,} {values} in {outside:,} of {rows:,} rows "
        f"({_share(outside, rows)}): {_shown(new)}{tolerated}"
    )
    many = (
        f"{len(new):,} new values are no list that anybody reviews; remove its domain"
        if len(new) > _MOST_NEW_VALUES
        else ""
    )

    def add(wider: schema_pb2.Schema) -> None:
        theirs = schema_review.string_domain(_named(wider, feature.name), wider)
        if theirs is not None:
            theirs.value.extend(sorted(new))

    yield Misfit(feature.name, text, breaks, many), add


def _share_outside(split: Feature, known: Collection[str]) -> float:
    total = sum(value.rows for value in split.texts)
    outside = sum(value.rows for value in split.texts if value.value not in known)
    return outside / total if total else 0.0


def _named(schema: schema_pb2.Schema, name: str) -> schema_pb2.Feature:
    return next(feature for feature in schema.feature if feature.name == name)


def _rows(splits: Sequence[Feature]) -> int:
    return sum(split.rows for split in splits)


def _missing(splits: Sequence[Feature]) -> int:
    return sum(split.missing for split in splits)


def _ends(splits: Sequence[Feature]) -> tuple[float | None, float | None]:
    """Returns the smallest and the largest number of all splits."""
    lows = [split.lowest for split in splits if split.lowest is not None]
    highs = [split.highest for split in splits if split.highest is not None]
    return min(lows, default=None), max(highs, default=None)


def _counted(splits: Sequence[Feature]) -> Counter[str]:
    """Counts the rows of each text, as far as the statistics list them."""
    counts: Counter[str] = Counter()
    for split in splits:
        counts.update({value.value: int(value.rows) for value in split.texts})
    return counts


def _shown(counts: Counter[str]) -> str:
    # Of equally frequent ones the first in the alphabet, so that the text is stable.
    most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ", ".join(f"{text!r} {n:,}" for text, n in most[:_VALUES_SHOWN])
    more = len(most) - _VALUES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def _share(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.4g} %"


def _number(value: float) -> str:
    if math.isinf(value):
        return "any"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.7g}"


def _floor(share: float) -> float:
    """Rounds a share down to hundredths, which a reviewer reads as a percentage."""
    return math.floor(share * _HUNDREDTHS) / _HUNDREDTHS


def _outward(value: float, towards: float) -> float:
    """Rounds a bound to the 32 bits of the proto, never into the data's range."""
    rounded = float(np.float32(value))
    inside = rounded > value if towards < value else rounded < value
    if not inside:
        return rounded
    return float(np.nextafter(np.float32(value), np.float32(towards)))


def _wanted_presence(feature: schema_pb2.Feature) -> str:
    fraction, count = feature.presence.min_fraction, feature.presence.min_count
    if fraction:
        return f"in at least {100 * fraction:.4g} %"
    return f"in at least {count} {'row' if count == 1 else 'rows'}"
