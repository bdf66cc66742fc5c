"""Commands that answer questions about earlier runs."""

import sys
from dataclasses import dataclass

import tyro

from pipeline.commands.flags import StoreFlags, say
from pipeline.errors import EXIT_DONE


@dataclass(frozen=True)
class LineageFlags(StoreFlags):
    """What to ask about, and how to answer."""

    asked: tyro.conf.Positional[tuple[str, ...]] = ()
    """model [VERSION] | data FILE-or-SPAN | diff VERSION VERSION"""
    json: bool = False
    """Answer in JSON."""
    dot: bool = False
    """Answer with a graph for Graphviz."""
    svg: bool = False
    """Answer with a drawing of the graph."""


def lineage(arguments: list[str]) -> int:
    """Show what made a model, which models learned from data, or what differs."""
    flags = tyro.cli(
        LineageFlags,
        prog="throughline lineage",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    from pipeline.lineage import views

    form = next((f for f in ("json", "dot", "svg") if getattr(flags, f)), "tree")
    sys.stdout.write(f"{views.show(flags.config(), flags.asked, form)}\n")
    return EXIT_DONE


@dataclass(frozen=True)
class ReportFlags(StoreFlags):
    """Which run."""

    run: tyro.conf.Positional[str | None] = None
    """Name of the run; the newest one if not given."""


def report(arguments: list[str]) -> int:
    """Write the report of a run as one HTML file, and the index of all runs."""
    flags = tyro.cli(ReportFlags, prog="throughline report", args=arguments)
    from pipeline import report

    path = report.report_on(flags.config(), flags.run)
    say(f"{path}\n{path.parent.parent / 'index.html'} lists all runs")
    return EXIT_DONE
