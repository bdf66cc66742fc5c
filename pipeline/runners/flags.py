"""Writes a configuration as the flags that give it.

A container that compiles the pipeline by itself is told what to compile in this way:
the flags are readable where an orchestrator shows them, and only differences are there.
"""

import dataclasses
from typing import Any

from pipeline.config import Config


def flags_of(config: Config, base: Config) -> list[str]:
    """Lists the flags that turn one configuration into another.

    The metadata store's URL is left out, since it may hold a password.

    Args:
        config: What the flags are to give.
        base: What they are added to, such as a preset.

    Returns:
        Flags and their values, such as `["--train-steps", "20"]`.
    """
    return _flags(dataclasses.replace(config, metadata=base.metadata), base, "--")


def _flags(settings: Any, base: Any, prefix: str) -> list[str]:
    flags = []
    for field in dataclasses.fields(settings):
        value, default = getattr(settings, field.name), getattr(base, field.name)
        if value == default:
            continue
        flag = prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            flags += _flags(value, default, f"{flag}.")
        else:
            values = value if isinstance(value, tuple) else (value,)
            flags += [flag, *map(str, values)]
    return flags
