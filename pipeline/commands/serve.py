"""The command that serves the live version over REST and gRPC."""

import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import tyro

from pipeline import config as settings
from pipeline.errors import UsageError
from pipeline.registry import versions
from pipeline.runners.local.console import quiet
from serving.settings import Settings


@dataclass(frozen=True)
class ServeFlags(Settings):
    """Which model to serve, and how."""

    name: str = field(default_factory=lambda: settings.local().name)
    """Name of the model."""
    output: Path = field(default_factory=lambda: settings.local().output)
    """Output directory of the runs."""
    schema: Path = field(default_factory=lambda: settings.local().schema)
    """The reviewed schema, a text proto."""


def serve(arguments: list[str]) -> int:
    """Serve the live version over TensorFlow Serving's REST and gRPC protocols."""
    flags = tyro.cli(
        ServeFlags,
        prog="throughline serve",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    config = replace(
        settings.local(), name=flags.name, output=flags.output, schema=flags.schema
    )
    base = config.serving_directory
    # Before TensorFlow is imported, which takes seconds.
    if not versions.versions(base):
        raise UsageError(
            f"there is no version in {base}; a run that ends with 0 pushes one, and "
            "--output or --name name another place"
        )
    # TensorFlow's notes about its sessions and processors, once per loaded version.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    with quiet():
        from serving import request_log, server
        from serving.live import Source

    how = Settings(**{f.name: getattr(flags, f.name) for f in fields(Settings)})
    return server.serve(
        server.Places(
            Source(base, config.schema),
            request_log.directory_of(config.output, config.name),
            config.monitoring_page,
        ),
        how,
    )
