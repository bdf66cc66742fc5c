"""Settings in a TOML file: read, checked against the dataclasses, and put into them.

A key is spelled as the setting's flag without the dashes in front, and a group is a
table:

    name = "trips"

    [quality]
    min-auc = 0.93
"""

import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.errors import UsageError, nearest

FILE_NAME = "throughline.toml"
"""The project's settings, at its root."""
PROJECT = Path(__file__).resolve().parents[2]
"""The checkout that this is part of."""

_NAMES: Mapping[type, str] = {
    str: "a text in quotes",
    Path: "a path in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


class _WrongTypeError(Exception):
    """A value is not of the setting's type."""


def paths_of(settings: Any, group: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields each setting that is no group of others.

    Args:
        settings: A dataclass of settings, and of dataclasses of them.
        group: Path of the group that it is.

    Yields:
        Path such as "quality.min_auc", type, and value.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    for each in fields(settings):
        value = getattr(settings, each.name)
        path = f"{group}.{each.name}" if group else each.name
        if is_dataclass(value):
            yield from paths_of(value, path)
        else:
            yield path, hints[each.name], value


def replaced(settings: Any, values: Mapping[str, Any], group: str = "") -> Any:
    """Replaces settings, those of groups too.

    Args:
        settings: A dataclass as for `paths_of`.
        values: What to replace by, by path; other paths are ignored.
        group: Path of the group that it is.

    Raises:
        UsageError: A value is out of bounds; names the setting as its flag.
    """
    given = {}
    for each in fields(settings):
        value = getattr(settings, each.name)
        path = f"{group}.{each.name}" if group else each.name
        if is_dataclass(value):
            given[each.name] = replaced(value, values, path)
        elif path in values:
            given[each.name] = values[path]
    # The classes check themselves in __post_init__, so bounds are written once.
    try:
        return replace(settings, **given)
    except UsageError:
        raise
    except ValueError as error:
        # models/ knows no flags: its messages begin with the field's own name.
        name, _, why = str(error).partition(" ")
        flag = f"{group}.{name}".replace("_", "-")
        raise UsageError(f"{flag} {why}") from error


def read(path: Path, settings: Any) -> dict[str, Any]:
    """Reads a file of settings.

    Args:
        path: The file; a missing one has no settings.
        settings: A dataclass as for `paths_of`; what it holds can be set.

    Returns:
        The values that the file gives, by path. Relative paths are from its directory.

    Raises:
        UsageError: It can't be read, has a key that is no setting, or a value of
            another type; names the key, and what was expected.
    """
    known = {_key(name): (name, hint) for name, hint, _ in paths_of(settings)}
    found: dict[str, Any] = {}
    for key, value in _flat(_parsed(path)):
        if key not in known:
            raise UsageError(
                f"{path} sets {key!r}, which is no setting; "
                f"{nearest(key, known.keys())}"
            )
        name, hint = known[key]
        try:
            converted = _converted(value, hint)
        except _WrongTypeError:
            raise UsageError(
                f"{path}: {key} is {value!r}; it must be {_expected(hint)}"
            ) from None
        if isinstance(converted, Path):
            converted = path.parent / converted
        found[name] = converted
    return found


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{path} can't be read: {reason}") from error
    except ValueError as error:
        # Of TOML, with line and column, and of UTF-8.
        raise UsageError(f"{path} is no TOML: {error}") from error


def _flat(table: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        key = f"{group}.{name}" if group else name
        if isinstance(value, dict):
            yield from _flat(value, key)
        else:
            yield key, value


def _key(path: str) -> str:
    return path.replace("_", "-")


def _converted(value: Any, hint: Any) -> Any:
    """Returns a TOML value as a setting's type."""
    for kind in _alternatives(hint):
        if get_origin(kind) is Literal:
            if value in get_args(kind):
                return value
        elif get_origin(kind) is tuple:
            if isinstance(value, list):
                return tuple(_converted(each, get_args(kind)[0]) for each in value)
        elif kind is Path and isinstance(value, str):
            return Path(value)
        elif kind is float and type(value) in {int, float}:
            return float(value)
        # Not isinstance: true is an int to Python.
        elif type(value) is kind:
            return value
    raise _WrongTypeError


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in {Union, types.UnionType}:
        return tuple(each for each in get_args(hint) if each is not type(None))
    return (hint,)


def _expected(hint: Any) -> str:
    return " or ".join(map(_described, _alternatives(hint)))


def _described(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(each) for each in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list, of which each is {_expected(get_args(kind)[0])}"
    return _NAMES.get(kind, str(kind))
