"""`throughline config`: which settings hold, and where each comes from."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipeline import config as settings
from pipeline.commands.flags import parse, say
from pipeline.errors import EXIT_DONE
from pipeline.project import settings_file
from pipeline.store.url import redact

_DEFAULT = "default"
_FLAG = "flag"


@dataclass(frozen=True)
class _NoOptions:
    """A runner's own flags, of which this command has none."""


def config(arguments: list[str]) -> int:
    """Show which settings hold and where each comes from; takes run's flags."""
    found, _ = parse("throughline config", arguments, _NoOptions())
    rows = list(_rows(found, _preset_of(arguments)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell.ljust(w) for cell, w in zip(row, widths, strict=True))
        say("  ".join(padded).rstrip())
    return EXIT_DONE


def _rows(found: settings.Config, preset: str) -> Iterator[tuple[str, str, str]]:
    """Yields setting, value and origin, each as a text."""
    plain = _values(settings.Config())
    of_file = settings.project_settings()
    of_preset = _values(settings.PRESETS[preset]())
    of_environment = settings.environment().get(settings.METADATA_VARIABLE)
    yield "setting", "value", "from"
    for path, value in _values(found).items():
        origin = _DEFAULT
        if path in of_file:
            origin = settings_file.FILE_NAME
        if of_preset[path] != of_file.get(path, plain[path]):
            origin = f"preset {preset}"
        if value != of_preset[path]:
            from_environment = path == "metadata" and value == of_environment
            origin = settings.METADATA_VARIABLE if from_environment else _FLAG
        yield path.replace("_", "-"), _text(path, value), origin


def _values(of: settings.Config) -> dict[str, Any]:
    return {path: value for path, _, value in settings_file.paths_of(of)}


def _text(path: str, value: Any) -> str:
    if value is None or value in {"", ()}:
        return "-"
    if path == "metadata":
        return redact(value)
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _preset_of(arguments: list[str]) -> str:
    """Returns the preset that a valid command line chooses."""
    for word, following in pairwise([*arguments, ""]):
        if word == "--preset":
            return following
        if word.startswith("--preset="):
            return word.partition("=")[2]
    return "local"
