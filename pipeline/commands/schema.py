"""`throughline schema`: where data differs from the reviewed schema; accepting it."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from pipeline.commands.flags import StoreFlags, answer_without_action, say
from pipeline.errors import EXIT_DONE, UsageError

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

    from pipeline.config import Config
    from pipeline.trust.fit import Review


@dataclass(frozen=True)
class DiffFlags(StoreFlags):
    """Which data is compared with the reviewed schema: the newest."""


@dataclass(frozen=True, kw_only=True)
class AcceptFlags(StoreFlags):
    """What is accepted into the reviewed schema."""

    columns: tyro.conf.Positional[tuple[str, ...]] = ()
    """Columns to accept; all that differ if not given."""


@dataclass(frozen=True)
class ThresholdsFlags(StoreFlags):
    """Which of the proposed thresholds are accepted into the reviewed schema."""

    accept: tuple[str, ...] = ()
    """Columns whose proposed threshold is written into the reviewed schema."""


ACTIONS: Mapping[str, type[StoreFlags]] = {
    "diff": DiffFlags,
    "accept": AcceptFlags,
    "thresholds": ThresholdsFlags,
}


def schema(arguments: list[str]) -> int:
    """Show where data doesn't fit the reviewed schema, accept it, list thresholds."""
    actions: dict[str, Callable[[list[str]], int]] = {
        "diff": _diff,
        "accept": _accept,
        "thresholds": _thresholds,
    }
    action, *rest = arguments or ["--help"]
    if action not in actions:
        return answer_without_action("schema", action, actions)
    return actions[action](rest)


def _diff(arguments: list[str]) -> int:
    flags = tyro.cli(DiffFlags, prog="throughline schema diff", args=arguments)
    from pipeline.trust import fit, schema_review

    config = flags.config()
    found, rows = _review(config, schema_review.read(config.schema))
    say("\n".join(fit.lines(found, rows)))
    if found:
        say("`throughline schema accept COLUMN` changes the schema so that it fits")
    return EXIT_DONE


def _accept(arguments: list[str]) -> int:
    flags = tyro.cli(AcceptFlags, prog="throughline schema accept", args=arguments)
    from pipeline.trust import fit, schema_review

    config = flags.config()
    if not config.schema.exists():
        return _accept_proposal(config, flags.columns)
    reviewed = schema_review.read(config.schema)
    found, rows = _review(config, reviewed)
    if not found and not flags.columns:
        say("\n".join(fit.lines(found, rows)))
        return EXIT_DONE
    _rewrite(config.schema, fit.widened(reviewed, found, flags.columns))
    return EXIT_DONE


def _thresholds(arguments: list[str]) -> int:
    flags = tyro.cli(
        ThresholdsFlags, prog="throughline schema thresholds", args=arguments
    )
    from pipeline.trust import past, schema_review, thresholds
    from pipeline.trust.newest import newest_verdict

    config = flags.config()
    _, verdict = newest_verdict(config)
    accepted = past.accepted(config)
    between = thresholds.spread(accepted)
    found = thresholds.holding(verdict, between, len(accepted))
    if flags.accept:
        schema = schema_review.read(config.schema)
        wanted = thresholds.with_proposals(schema, found, flags.accept)
        _rewrite(config.schema, wanted)
        return EXIT_DONE
    say("\n".join(thresholds.lines(found, verdict, len(accepted))))
    return EXIT_DONE


def _rewrite(path: Path, wanted: "schema_pb2.Schema") -> None:
    """Edits the reviewed schema, and shows the change."""
    from pipeline.trust import schema_review, schema_text

    before = path.read_text("utf-8")
    after = schema_text.rewrite(before, wanted)
    schema_review.write(after, path)
    changed = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(path), str(path), n=2, lineterm=""
    )
    say("\n".join(changed))
    say(f"{path} accepts this now; review the change and commit it")


def _accept_proposal(config: "Config", columns: Sequence[str]) -> int:
    """Makes the newest proposal the first reviewed schema."""
    from pipeline.trust import schema_review
    from pipeline.trust.proposal import proposed_schema

    proposal = proposed_schema(config)
    if columns:
        raise UsageError(
            f"there is no reviewed schema {config.schema} yet to accept {columns[0]} "
            "into; accept the whole proposal first, without columns"
        )
    schema_review.accept(proposal, config.schema)
    say(
        f"{config.schema} is now what {proposal} proposed; review it, narrow what is "
        "too wide, and commit it"
    )
    return EXIT_DONE


def _review(
    config: "Config", reviewed: "schema_pb2.Schema"
) -> tuple[dict[str, "Review"], dict[str, int]]:
    """Compares the newest data with the reviewed schema; counts its rows."""
    from pipeline.trust import fit, observed

    data = observed.newest(config)
    statistics = observed.features(data.statistics)
    found = fit.review(reviewed, statistics, observed.counter(data.examples))
    return found, observed.rows(statistics)
