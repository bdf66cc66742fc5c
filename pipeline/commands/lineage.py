"""Commands that read earlier runs: lineage, report and export."""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from pipeline.commands.flags import StoreFlags, say
from pipeline.errors import EXIT_DONE, EXIT_USAGE


@dataclass(frozen=True)
class LineageFlags(StoreFlags):
    """The query, and the format of the answer."""

    asked: tyro.conf.Positional[tuple[str, ...]] = ()
    """model [VERSION] | data FILE-or-SPAN | diff VERSION VERSION"""
    json: bool = False
    """Print JSON."""
    dot: bool = False
    """Print a graph for Graphviz."""
    svg: bool = False
    """Print a drawing of the graph."""


def lineage(arguments: list[str]) -> int:
    """Show how a model was made, the models of a file, or how two models differ."""
    flags = tyro.cli(
        LineageFlags,
        prog="throughline lineage",
        args=arguments,
        # No --no-json and so on: the three are off by default.
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    # Imported after the flags are parsed, as in all commands: --help and a wrong flag
    # are answered without the third of a second that MLMD takes.
    from pipeline.lineage import views

    form = next((f for f in ("json", "dot", "svg") if getattr(flags, f)), "tree")
    sys.stdout.write(f"{views.show(flags.config(), flags.asked, form)}\n")
    return EXIT_DONE


@dataclass(frozen=True)
class ReportFlags(StoreFlags):
    """The flags of `report`."""

    run: tyro.conf.Positional[str | None] = None
    """Name of the run; the newest one if not given."""


def report(arguments: list[str]) -> int:
    """Write the report of a run as one HTML file, and the index of all runs."""
    flags = tyro.cli(ReportFlags, prog="throughline report", args=arguments)
    from pipeline import report

    path = report.report_on(flags.config(), flags.run)
    say(f"{path}\n{path.parent.parent / 'index.html'} lists all runs")
    return EXIT_DONE


@dataclass(frozen=True, kw_only=True)
class ExportFlags(StoreFlags):
    """The flags of `export examples`."""

    out: Path
    """Directory for the files; it gets a directory per split."""
    run: str | None = None
    """Name of the run that ingested them; the newest one if not given."""


def export(arguments: list[str]) -> int:
    """Write a run's examples as TFRecords of tf.Examples: export examples --out DIR."""
    what, *rest = arguments or ["--help"]
    if what != "examples":
        sys.stdout.write("usage: throughline export examples --out DIR [FLAGS]\n")
        return EXIT_DONE if what in {"-h", "--help"} else EXIT_USAGE
    flags = tyro.cli(ExportFlags, prog="throughline export examples", args=rest)
    from pipeline import artifacts

    config = flags.config()
    output, metadata = config.output, config.metadata
    run = (
        artifacts.of_run(flags.run, output=output, metadata=metadata)
        if flags.run
        else artifacts.newest(output=output, metadata=metadata)
    )
    for split, rows in run.export_examples(flags.out).items():
        say(f"{rows:,} rows in {flags.out / f'Split-{split}'}")
    return EXIT_DONE
