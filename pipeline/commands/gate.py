"""The command about the data gate: its newest verdict, and exceptions to its policy."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime

import tyro

from pipeline.commands.flags import StoreFlags, say
from pipeline.errors import EXIT_DATA_REFUSED, EXIT_DONE

_SHOWN = 15


@dataclass(frozen=True)
class GateFlags(StoreFlags):
    """How much of the verdict."""

    all: bool = False
    """Show all that was measured, not only what is nearest to its threshold."""
    json: bool = False
    """Answer in JSON."""


@dataclass(frozen=True, kw_only=True)
class AcceptFlags(StoreFlags):
    """What is accepted, how long, and why."""

    anomaly: tyro.conf.Positional[str]
    """TFDV's anomaly type, or a check of the gate, such as DRIFT."""
    feature: str = ""
    """The only column that it is accepted for; any column if not given."""
    until: str
    """The last day on which it is accepted, such as 2026-12-31."""
    because: str
    """The reason, in one line."""


def gate(arguments: list[str]) -> int:
    """Show what the gate found in the newest data and what training covers; accept."""
    if arguments[:1] == ["accept"]:
        return _accept(arguments[1:])
    if arguments[:1] == ["coverage"]:
        return _coverage(arguments[1:])
    flags = tyro.cli(
        GateFlags,
        prog="throughline gate",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    from pipeline.trust.newest import newest_verdict

    execution, verdict = newest_verdict(flags.config())
    if flags.json:
        sys.stdout.write(f"{verdict.to_json()}\n")
    else:
        text = verdict.to_text(None if flags.all else _SHOWN)
        say(f"run {execution.run}\n{text.rstrip()}")
    return EXIT_DATA_REFUSED if verdict.blocking else EXIT_DONE


def _coverage(arguments: list[str]) -> int:
    flags = tyro.cli(StoreFlags, prog="throughline gate coverage", args=arguments)
    from pipeline.ingestion.splitting import TRAIN
    from pipeline.trust import coverage, past

    found = past.covered(flags.config())
    lines = coverage.lines(found.splits, TRAIN, found.min_rows)
    say("\n".join([f"run {found.run}", *lines]))
    return EXIT_DONE


def _accept(arguments: list[str]) -> int:
    flags = tyro.cli(AcceptFlags, prog="throughline gate accept", args=arguments)
    from pipeline.trust import exceptions, schema_review
    from pipeline.trust.policy import Accepted

    schema = flags.config().schema
    path = exceptions.file_of(schema)
    accepted = Accepted(flags.anomaly, flags.until, flags.because, flags.feature)
    if schema.exists():
        exceptions.refuse_unknown_column(accepted, schema_review.read(schema))
    exceptions.add(path, accepted, datetime.now(UTC).date())
    say(
        f"{path} accepts {accepted} until {flags.until}; review and commit it. Runs of "
        "run_local.py heed it from now on, compiled pipelines when compiled again"
    )
    return EXIT_DONE
