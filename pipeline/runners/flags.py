"""Converts a configuration to command-line flags.

They pass the configuration to the container that compiles the pipeline. Only settings
that differ from a preset are included, so the command stays readable in the
orchestrator's user interface.
"""

import dataclasses
from typing import Any

from pipeline.config import Config


def flags_of(config: Config, base: Config) -> list[str]:
    """Returns the flags that change one configuration into another.

    The metadata store's URL is left out, since it may hold a password.

    Args:
        config: The configuration that the flags describe.
        base: The configuration without the flags, such as a preset.

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
        elif isinstance(value, bool):
            flags.append(flag if value else f"{prefix}no-{flag.removeprefix(prefix)}")
        else:
            # tyro reads the values of a tuple as separate words.
            values = value if isinstance(value, tuple) else (value,)
            flags += [flag, *map(str, values)]
    return flags
