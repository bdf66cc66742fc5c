"""The command that adds outcomes to the request log, as labels to learn from."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from operations.settings import Joining
from pipeline.commands.flags import StoreFlags, answer_without_action, say
from pipeline.errors import EXIT_DONE
from pipeline.ingestion.source import UTF_8
from pipeline.ingestion.spans import Pattern
from pipeline.store import clock

ACTIONS = ("add",)


@dataclass(frozen=True, kw_only=True)
class AddFlags(StoreFlags, Joining):
    """Which outcomes, and which training data they become."""

    file: tyro.conf.Positional[Path | None] = None
    """A .csv, .csv.gz or .parquet file with request_id (or --key and --time) and the
    label's columns; without one, only outcomes that found no request are tried
    again."""
    data: Path
    """Directory of the training data, which gets a new span."""
    pattern: str = "span-{SPAN}/*.csv"
    """Pattern of its spans, as for run_local.py."""
    encoding: str = UTF_8
    """Encoding of text files, by Python's name."""


def labels(arguments: list[str]) -> int:
    """Join outcomes to the request log: labels for monitoring and a new span."""
    action, *rest = arguments or ["--help"]
    if action not in ACTIONS:
        return answer_without_action("labels", action, ACTIONS)
    flags = tyro.cli(AddFlags, prog="throughline labels add", args=rest)
    from operations import label_records
    from operations import labels as joined
    from operations.training_files import Place

    place = Place(flags.data, Pattern(flags.pattern), flags.encoding)
    config = flags.config()
    added = joined.add(config, flags.file, joined.job_of(flags, place), clock.now())
    if added.before:
        say(
            f"{flags.file} was added {added.before.about.added}, so nothing is added; "
            f"{added.before.path} has its rows"
        )
    for entry in added.entries:
        say("\n".join(label_records.lines(entry)))
    if not added.entries and not added.before:
        say("No outcome that found no request has found one now.")
    label_records.record_if_possible(config, joined.ledger_of(config))
    return EXIT_DONE
