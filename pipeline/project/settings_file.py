"""Settings in a TOML file: read, checked against the dataclasses, and put into them.

A key is spelled as the setting's flag without the dashes in front, and a group is a
table:

    name = "trips"

    [quality]
    min-auc = 0.93
"""

import json
import re
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


def with_group(text: str, group: str, values: Mapping[str, Any]) -> str:
    """Sets values of one group in the text of a file, and keeps all other lines.

    Args:
        text: TOML, as the file has it.
        group: Name of the group.
        values: New values by the settings' names; a tuple becomes a list.

    Raises:
        UsageError: The group is written in a form that can't be edited line by line,
            such as a list over several lines; gives the lines to write by hand.
    """
    lines = text.splitlines()
    header = re.compile(rf"\s*\[\s*{re.escape(_key(group))}\s*\]\s*(#.*)?")
    start = next((i for i, line in enumerate(lines) if header.fullmatch(line)), None)
    if start is None:
        lines += [*([""] if lines else []), f"[{_key(group)}]"]
        start = len(lines) - 1
    for name, value in values.items():
        _set_line(lines, start + 1, _key(name), value)
    edited = "\n".join([*lines, ""])
    if not _has(edited, text, _key(group), values):
        wanted = [f"{_key(name)} = {_toml(value)}" for name, value in values.items()]
        raise UsageError(
            f"[{_key(group)}] can't be edited line by line; write into it: "
            f"{', '.join(wanted)}"
        )
    return edited


def _set_line(lines: list[str], start: int, key: str, value: Any) -> None:
    """Replaces the line of a key in a table that begins at a line, or adds one."""
    rest = range(start, len(lines))
    end = next((i for i in rest if lines[i].lstrip().startswith("[")), len(lines))
    known = re.compile(rf"(\s*{re.escape(key)}\s*=\s*).*?(\s+#.*)?")
    for i in range(start, end):
        if found := known.fullmatch(lines[i]):
            lines[i] = f"{found[1]}{_toml(value)}{found[2] or ''}"
            return
    while end > start and not lines[end - 1].strip():
        end -= 1
    lines.insert(end, f"{key} = {_toml(value)}")


def _has(edited: str, before: str, group: str, values: Mapping[str, Any]) -> bool:
    """Whether an edited text has the new values, and all else as it was."""
    wanted = tomllib.loads(before)
    new = {_key(name): json.loads(_toml(value)) for name, value in values.items()}
    wanted[group] = {**wanted.get(group, {}), **new}
    try:
        return tomllib.loads(edited) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _toml(value: Any) -> str:
    """Formats a number or a list of them, which JSON and TOML write alike."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


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
