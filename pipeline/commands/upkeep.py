"""Commands for maintenance: explain, gc and doctor."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import tyro

from pipeline.commands.flags import StoreFlags, say
from pipeline.errors import EXIT_DONE, ThroughlineError


@dataclass(frozen=True, kw_only=True)
class ExplainFlags(StoreFlags):
    """The flags of `explain`."""

    node: tyro.conf.Positional[str]
    """Id of the node, such as Trainer."""


def explain(arguments: list[str]) -> int:
    """Show why a node ran, or was cached, in the last run."""
    flags = tyro.cli(ExplainFlags, prog="throughline explain", args=arguments)
    from pipeline.caching import explain

    say("\n".join(explain.explain(flags.config(), flags.node)))
    return EXIT_DONE


@dataclass(frozen=True)
class GcFlags(StoreFlags):
    """The flags of `gc`."""

    keep: int = 5
    """Newest runs to keep whole, blessed or not."""
    keep_versions: int = 5
    """Newest versions in serving to keep; the live one is one of them."""
    dry_run: bool = False
    """Only print what would be deleted."""


def gc(arguments: list[str]) -> int:
    """Delete artifacts, versions and directories of old runs that are not in use."""
    flags = tyro.cli(GcFlags, prog="throughline gc", args=arguments)
    from pipeline.runners.local import gc, run_record
    from pipeline.store import locks
    from pipeline.store.connection import existing_store

    config = flags.config()
    # Before the lock: a mistyped --output must not become a directory.
    existing_store(config.metadata_url)
    with (
        # Both locks: the first keeps local runs away, the second the nodes that an
        # orchestrator starts.
        run_record.output_directory_held(config),
        locks.unused(Path(config.artifact_root)),
    ):
        plan = gc.find(config, flags.keep, flags.keep_versions)
        lines = gc.lines(plan, dry_run=flags.dry_run)
        problems = [] if flags.dry_run else gc.free(config, plan)
    say("\n".join(lines))
    if problems:
        raise ThroughlineError("; ".join(problems))
    return EXIT_DONE


def doctor(arguments: list[str]) -> int:
    """Print versions and resources of this machine, and problems."""
    from pipeline import doctor

    argparse.ArgumentParser(prog="throughline doctor").parse_args(arguments)
    return doctor.doctor()
