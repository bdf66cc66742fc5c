"""The command that monitors the live model by its request log."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime

import tyro

from operations.settings import Limits
from pipeline.commands.flags import StoreFlags, say
from pipeline.errors import EXIT_ALARM, EXIT_DONE
from pipeline.ingestion.times import seconds_in
from pipeline.store import clock


@dataclass(frozen=True)
class MonitorFlags(StoreFlags, Limits):
    """Which window is looked at, and beyond what an alarm is raised."""

    until: str = ""
    """End of the window, such as 2026-01-31T18:00 in UTC or seconds since 1970; now if
    not given."""
    json: bool = False
    """Print the observation as JSON."""


def monitor(arguments: list[str]) -> int:
    """Compare the newest requests with what the live model expects; 5 is an alarm."""
    flags = tyro.cli(
        MonitorFlags,
        prog="throughline monitor",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    until = (
        datetime.fromtimestamp(seconds_in(flags.until), UTC)
        if flags.until
        else clock.now()
    )
    from pipeline.runners.local.console import quiet

    config = flags.config()
    # TensorFlow, which labels are computed with, prints when it is imported.
    with quiet():
        from operations import monitor_files, monitoring, timeline

        found = monitoring.observe(config, flags, until)
        written = monitor_files.write(monitoring.directory_of(config), found)
        page, moments = config.monitoring_page, timeline.read(config)
        monitor_files.write_page(page, config.name, moments, found.until)
    if flags.json:
        sys.stdout.write(found.to_json())
    else:
        say(found.line())
        for note in found.notes:
            say(f"  {note}")
        say(f"page {page}\ngauges {written.gauges}")
    return EXIT_ALARM if found.alarms else EXIT_DONE
