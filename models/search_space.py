"""The kinds of dimensions that `models/tuning.py` declares its search space with.

Importing this module imports nothing but the standard library.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from models.hyperparameters import Hyperparameters
from pipeline.errors import UsageError, nearest

Encoded = int | float | str | bool
"""What keras-tuner can store as a value; a tuple is stored as its JSON text."""

_DIGITS = 3


@dataclass(frozen=True)
class Range:
    """All values from `low` to `high`, both included; whole numbers if both are."""

    low: float
    high: float
    log: bool = False
    """Sample the logarithm uniformly, for what is tuned by factors: learning rates."""


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]


Dimension = Range | Choice
Space = Mapping[str, Dimension]
"""Dimensions by the name of a field of `Hyperparameters`."""


def problems(space: Space) -> list[str]:
    """Returns what is wrong with a search space, one clause each."""
    known = [field.name for field in fields(Hyperparameters)]
    found = [
        f"{name!r} is no hyperparameter; {nearest(name, known)}"
        for name in space
        if name not in known
    ]
    for name, dimension in space.items():
        if name in known:
            found += filter(None, [_problem(name, dimension)])
    return found if space else ["the search space is empty; declare a dimension"]


def check(space: Space) -> None:
    """Rejects a search space that can't be searched.

    Raises:
        UsageError: Names each hyperparameter and what was expected.
    """
    if found := problems(space):
        raise UsageError(f"models/tuning.py: {'; '.join(found)}")


def _problem(name: str, dimension: Dimension) -> str:
    match dimension:
        case Choice(values=values):
            if len(set(map(encoded, values))) < max(2, len(values)):
                return f"{name} is one of {values}; give two or more distinct ones"
            tried = values
        case Range(low=low, high=high, log=log):
            least = 0 if log else -float("inf")
            if not least < low < high:
                above = "above 0 and " if log else ""
                return (
                    f"{name} ranges from {low} to {high}; the first must be {above}"
                    "below the second"
                )
            tried = (low, high)
    return next(filter(None, (_unusable(name, value) for value in tried)), "")


def _unusable(name: str, value: Any) -> str:
    """Returns why a hyperparameter can't have a value; empty if it can."""
    default = getattr(Hyperparameters(), name)
    # A whole number will do for a fraction.
    kinds = (int, float) if isinstance(default, float) else type(default)
    if isinstance(value, bool) or not isinstance(value, kinds):
        return f"{name} is {value!r}; it must be of the kind of {default!r}"
    try:
        Hyperparameters.from_json({name: value})
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def encoded(value: Any) -> Encoded:
    """Returns a hyperparameter's value as keras-tuner stores it."""
    if isinstance(value, tuple | list):
        return json.dumps(list(value))
    single: Encoded = value
    return single


def decoded(value: Encoded) -> Any:
    """Returns the value of a hyperparameter that keras-tuner has stored."""
    return tuple(json.loads(value)) if isinstance(value, str) else value


def rounded(value: Encoded) -> Encoded:
    """Returns a sampled value; a fraction has three digits.

    More of them make no other model, and a diff that is harder to read.
    """
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def first_point(start: Hyperparameters, space: Space) -> dict[str, Encoded]:
    """Returns the point of a search space that hyperparameters are at."""
    return {
        name: encoded(value) for name, value in asdict(start).items() if name in space
    }


def with_values(
    start: Hyperparameters, point: Mapping[str, Encoded]
) -> Hyperparameters:
    """Replaces hyperparameters by those of a point of a search space.

    Args:
        start: Has the values of the others.
        point: Values by name, as keras-tuner stores them.

    Raises:
        ValueError: A value can't be trained with.
    """
    return replace(start, **{name: decoded(value) for name, value in point.items()})
