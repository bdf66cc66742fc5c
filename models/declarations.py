"""The kinds of features and labels that `models/features.py` declares.

A project declares its columns with these classes; preprocessing, network, loss,
metrics, signatures and checks follow from the declarations. Adding a kind means adding
a class here, its transformation in `models.preprocessing`, and its inputs in
`models.model`.

Importing this module imports nothing but the standard library.
"""

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MISSING_FLOAT = float("nan")
MISSING_INTEGER = -(2**63)
MISSING_TEXT = ""
"""Values that mean "missing" for a client that has to send every column.

No column of whole numbers is likely to hold that integer, so it is always one of them;
a handier one, such as -1, is a value like any other unless the feature declares it.
"""

MISSING_ID = 0
UNSEEN_ID = 1
FIRST_ID = 2
"""Ids in front of a category's own: no value, and a value without an id of its own."""

WEIGHT = "label_weight"
"""Transformed column, float32: 0.0 where the label is unknown, else the row's weight,
which is 1.0 unless the label names a column of weights."""

Task = Literal["binary", "classes", "regression"]
"""What is predicted: yes or no, one of several classes, or a number."""

TimePart = Literal["hour", "weekday", "month", "yearday"]
"""A cyclic part of a time: hour of the day, day of the week, month, day of the year."""


@dataclass(frozen=True)
class Numeric:
    """A quantity, scaled to mean 0 and standard deviation 1, clipped to [-5, 5].

    A missing value becomes the mean, which is 0 after scaling.
    """

    column: str
    log: bool = False
    """Take log(1 + x) first, for quantities with a long tail; below 0 counts as 0."""
    flag_missing: bool = False
    """Add a second input that is 1.0 where the value is missing."""
    missing_value: int | None = None
    """In a column of whole numbers, what clients of `serving_raw` send for no value."""


@dataclass(frozen=True)
class Bucketized:
    """A quantity whose exact range matters; each bucket gets an embedding."""

    column: str
    boundaries: tuple[float, ...]
    """Rising lower ends of all buckets but the first, in the column's unit."""
    missing_value: int | None = None
    """As of `Numeric`."""


@dataclass(frozen=True)
class Cyclic:
    """A periodic integer, encoded as a point on a circle: 23 h is next to 0 h."""

    column: str
    period: int
    """Steps after which it starts again: 24 for hours."""
    missing_value: int | None = None
    """As of `Numeric`."""


@dataclass(frozen=True)
class IntegerCategory:
    """An integer code; each code gets an embedding."""

    column: str
    minimum: int
    maximum: int
    """Codes outside minimum..maximum share one embedding of "unseen"."""
    missing_value: int | None = None
    """As of `Numeric`."""


@dataclass(frozen=True)
class Vocabulary:
    """A text whose vocabulary is learned; each value gets an embedding.

    A column of whole numbers is read as texts of digits.
    """

    column: str
    min_count: int = 10
    """Values seen less often count as "unseen", which trains that embedding."""
    max_size: int = 1000
    """Most values to keep, the most frequent first."""
    missing_value: int | None = None
    """As of `Numeric`."""


@dataclass(frozen=True)
class Boolean:
    """Yes or no: 1.0, -1.0, and 0.0 where it is missing.

    Numbers are true unless they are 0; of texts, true, t, yes, y and 1 are true in any
    case.
    """

    column: str
    missing_value: int | None = None
    """As of `Numeric`."""


@dataclass(frozen=True)
class Timestamp:
    """A date or a time, as points on circles and as an age.

    A number is seconds since 1970; a text is a date such as 2026-01-31 or 2026/01/31,
    with a time such as 14:05 or 14:05:59 after a space or a T if it has one. Any other
    text is missing; what comes after the seconds doesn't count.
    """

    column: str
    parts: tuple[TimePart, ...] = ("hour", "weekday", "yearday")
    """Cyclic parts, each a point on a circle."""
    age: bool = False
    """Add the time itself, scaled like `Numeric`: for a trend over years. A model that
    uses it extrapolates from the first day in serving."""
    missing_value: int | None = None
    """As of `Numeric`."""


@dataclass(frozen=True)
class Items:
    """A list of texts or whole numbers: which of them a row has, in any order.

    Items are counted by a hash of them, so that two of them may share a count.
    """

    column: str
    buckets: int = 64
    """Counts in a row: more of them share less, and take more memory."""


@dataclass(frozen=True)
class FreeText:
    """A sentence or more: counts of its words, and of words next to each other.

    Words are lower case and without punctuation, and counted by a hash.
    """

    column: str
    buckets: int = 256
    """Counts in a row: more of them share less, and take more memory."""
    ngrams: int = 2
    """Longest sequence of words that is counted; 1 for single words only."""


Category = Bucketized | IntegerCategory | Vocabulary
Feature = Numeric | Cyclic | Category | Boolean | Timestamp | Items | FreeText


@dataclass(frozen=True)
class OneOf:
    """Rows in which a column has one of some values."""

    column: str
    values: tuple[str | int, ...]


@dataclass(frozen=True)
class Share:
    """A share of another column, in percent."""

    of: str
    percent: float


Condition = OneOf | None
"""Where a label is known; `None` for all rows that have one."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """What all three kinds of label have; declare one of these.

    A row whose label is missing, or unknown under the chosen policy, has the weight 0:
    it is neither trained on nor evaluated.
    """

    column: str
    """Raw column that the label is, or is computed from."""
    name: str = "label"
    """Name of the transformed column, and of the label in reports."""
    weight: str = ""
    """Raw column with the weight of each row, at least 0; a row without one has 0."""
    policies: Mapping[str, Condition] = field(default_factory=dict)
    """Ways to decide which labels are known, by name; the first is the default, and
    `--label-policy` chooses another."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns without which a row has no label."""
        return (self.column,)

    @property
    def read(self) -> tuple[str, ...]:
        """Raw columns that label and weight are computed from."""
        conditions = [each.column for each in self.policies.values() if each]
        named = [*self.columns, self.weight, *conditions]
        return tuple(dict.fromkeys(filter(None, named)))

    def condition(self, policy: str) -> Condition:
        """Returns where the label is known under a policy.

        Args:
            policy: Name of a policy; empty for the default.

        Raises:
            ValueError: The label declares no such policy.
        """
        if not policy and not self.policies:
            return None
        if policy and policy not in self.policies:
            known = " or ".join(map(repr, self.policies)) or "left out: there is none"
            msg = f"label_policy is {policy!r}; it must be {known}"
            raise ValueError(msg)
        return self.policies[policy or next(iter(self.policies))]


@dataclass(frozen=True, kw_only=True)
class Binary(Label):
    """Yes or no.

    Without `above`, the label is 1 where the column has one of the `positive` values,
    0 where it has one of the `negative` ones, and else unknown.
    """

    positive: tuple[str | int, ...] = (1,)
    negative: tuple[str | int, ...] = (0,)
    above: float | Share | None = None
    """The label is 1 where the column is more than this; exactly this is not more."""
    unit: float = 0.0
    """Compare in whole units, such as 0.01 for cents: as 32-bit numbers, some amounts
    that are exactly the share would seem to be more. 0 compares as they are."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns without which a row has no label."""
        other = (self.above.of,) if isinstance(self.above, Share) else ()
        return (self.column, *other)


@dataclass(frozen=True, kw_only=True)
class Classes(Label):
    """One of several classes; a row with another value is unknown."""

    values: tuple[str, ...] | tuple[int, ...]
    """The column's values, texts or whole numbers; a class is a position in them."""


@dataclass(frozen=True, kw_only=True)
class Regression(Label):
    """A number; one that is not finite is unknown."""

    log: bool = False
    """Learn log(1 + x), for quantities with a long tail; below 0 counts as 0."""
    middle: float | None = None
    """Checks of the data divide the labels into those above this and the others, such
    as the median; without it they can't see a feature that gives the label away."""


AnyLabel = Binary | Classes | Regression


@dataclass(frozen=True)
class Group:
    """Groups of the values of a column.

    Attributes:
        name: Name of the grouping, used like a column's in rules.
        column: The raw column.
        values: The column's values by name of the group. Rows with any other value, or
            none, are in no group.
    """

    name: str
    column: str
    values: Mapping[str, tuple[int | str, ...]]


def task_of(label: AnyLabel) -> Task:
    """Returns the kind of task that a label makes."""
    match label:
        case Binary():
            return "binary"
        case Classes():
            return "classes"
        case Regression():
            return "regression"


def input_name(column: str) -> str:
    """Returns a column's name as an input of the model and of `serving_raw`.

    TensorFlow's signatures only take identifiers, so other names are changed: a letter
    beyond ASCII becomes u and its code, such as u0446, any other character an
    underscore; a digit in front and one of Python's words get an underscore more.
    """
    name = re.sub(
        r"\W",
        lambda found: f"u{ord(found[0]):04x}" if found[0].isalnum() else "_",
        column,
        flags=re.ASCII,
    )
    if not name or name[0].isdigit() or name[0] == "_":
        name = f"column_{name.lstrip('_')}"
    return f"{name}_" if keyword.iskeyword(name) or name in _TAKEN else name


def transformed_name(feature: Feature) -> str:
    """Returns the name of a feature's transformed column, such as "fare_bucket"."""
    return f"{input_name(feature.column)}_{_SUFFIXES[type(feature)]}"


def missing_name(feature: Numeric) -> str:
    """Returns the name of the transformed column that `flag_missing` adds."""
    return f"{input_name(feature.column)}_missing"


def age_name(feature: Timestamp) -> str:
    """Returns the name of the transformed column that `age` adds."""
    return f"{input_name(feature.column)}_age"


def transformed_names(feature: Feature) -> list[str]:
    """Returns the names of all transformed columns of a feature."""
    match feature:
        case Numeric(flag_missing=True):
            return [transformed_name(feature), missing_name(feature)]
        case Timestamp():
            parts = [transformed_name(feature)] if feature.parts else []
            return [*parts, *([age_name(feature)] if feature.age else [])]
        case _:
            return [transformed_name(feature)]


# Names of the parameters in front of a signature's own.
_TAKEN = ("self", "cls")
_SUFFIXES: dict[type[Feature], str] = {
    Numeric: "scaled",
    Bucketized: "bucket",
    Cyclic: "cycle",
    IntegerCategory: "id",
    Vocabulary: "id",
    Boolean: "flag",
    Timestamp: "cycles",
    Items: "items",
    FreeText: "words",
}
