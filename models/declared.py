"""What `models/features.py` declares, checked, and what follows from it.

The rest of the project reads declarations from here.
"""

from models import features as declarations
from models.declarations import (
    MISSING_INTEGER,
    AnyLabel,
    Classes,
    Feature,
    FreeText,
    Items,
    Task,
    input_name,
    task_of,
    transformed_names,
)
from models.declarations import WEIGHT as WEIGHT_NAME
from models.features import FEATURES, LABEL, SLICE_COLUMNS
from pipeline.errors import UsageError

_MOST_CLASSES = 1000
_FEWEST_CLASSES = 2


def problems(features: tuple[Feature, ...], label: AnyLabel) -> list[str]:
    """Returns what contradicts itself in declarations, a sentence each."""
    found = [
        f"{feature.column!r} is a feature, and the label is computed from it: a "
        "request doesn't have it"
        for feature in features
        if feature.column == label.column
    ]
    names = [name for feature in features for name in transformed_names(feature)]
    names += [label.name, WEIGHT_NAME]
    found += [
        f"two declarations make a transformed column {name!r}; take one of them out"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    columns = sorted({feature.column for feature in features})
    inputs = [input_name(column) for column in columns]
    found += [
        f"column {column!r} and another both become the input {name!r}; rename one"
        for column, name in zip(columns, inputs, strict=True)
        if inputs.count(name) > 1
    ]
    if not features:
        found.append("FEATURES is empty; a model needs at least one feature")
    if isinstance(label, Classes):
        count = len(set(label.values))
        if not _FEWEST_CLASSES <= count <= _MOST_CLASSES or count < len(label.values):
            found.append(
                f"the label has {len(label.values)} classes, {count} of them distinct; "
                f"it must have {_FEWEST_CLASSES} to {_MOST_CLASSES} distinct ones"
            )
    return found


def _checked(
    features: tuple[Feature, ...], label: AnyLabel
) -> tuple[tuple[Feature, ...], AnyLabel]:
    if found := problems(features, label):
        raise UsageError(f"models/features.py: {'; '.join(found)}")
    return features, label


_FEATURES, _LABEL = _checked(tuple(FEATURES), LABEL)

TASK: Task = task_of(_LABEL)
"""The kind of task that the label makes."""

CLASSES: tuple[str | int, ...] = _LABEL.values if isinstance(_LABEL, Classes) else ()
"""The classes in the order of their numbers; none of another task."""

RAW_COLUMNS: tuple[str, ...] = tuple(dict.fromkeys(f.column for f in _FEATURES))
"""Raw columns that the model needs to serve, each once, in the order of `FEATURES`."""

LIST_COLUMNS: tuple[str, ...] = tuple(
    f.column for f in _FEATURES if isinstance(f, Items)
)
"""Those of them that hold several values in a row."""

LABEL_COLUMNS: tuple[str, ...] = _LABEL.columns
"""Raw columns without which a row has no label; reports mark them."""

LABEL_NAME = _LABEL.name
"""Transformed column: int64 [N] 0 or 1, int64 [N] of a class, or float32 [N]."""

CROSSES: tuple[tuple[str, ...], ...] = getattr(
    declarations, "CROSSES", tuple((column,) for column in SLICE_COLUMNS)
)
"""Combinations of raw columns that training should cover; if `models/features.py`
declares none, each column that the evaluation is sliced by."""

POLICIES: tuple[str, ...] = tuple(_LABEL.policies)
"""Names of the label's policies, the default first."""


def missing_integers(column: str) -> tuple[int, ...]:
    """Returns the whole numbers that mean "missing" in requests, in a column of them.

    Data itself has no such numbers: there a value is missing or it isn't.
    """
    declared = {
        feature.missing_value
        for feature in _FEATURES
        if feature.column == column and not isinstance(feature, Items | FreeText)
    }
    return (MISSING_INTEGER, *sorted(each for each in declared if each is not None))


__all__ = [
    "CLASSES",
    "CROSSES",
    "FEATURES",
    "LABEL",
    "LABEL_COLUMNS",
    "LABEL_NAME",
    "LIST_COLUMNS",
    "POLICIES",
    "RAW_COLUMNS",
    "SLICE_COLUMNS",
    "TASK",
    "WEIGHT_NAME",
    "missing_integers",
    "problems",
]
