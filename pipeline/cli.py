"""The command line: `throughline COMMAND`; flags are generated from the dataclasses."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from rich.console import Console

from pipeline import config as settings
from pipeline import create_pipeline
from pipeline.errors import EXIT_INTERRUPTED, EXIT_USAGE, ThroughlineError, UsageError
from pipeline.runners import job
from pipeline.runners.local import runner

Command = Callable[[list[str]], int]
Options = TypeVar("Options")


@dataclass(frozen=True)
class _StoreFlags:
    """Where earlier runs left their traces."""

    name: str = settings.Config.name
    """Name of the pipeline."""
    output: Path = settings.Config.output
    """Output directory of the runs."""
    schema: Path = settings.Config.schema
    """The reviewed schema, a text proto."""
    metadata: str | None = None
    """URL of the metadata store, if it is not metadata.db in the output directory."""

    def config(self) -> settings.Config:
        """Completes these settings to a configuration."""
        config = replace(
            settings.local(),
            name=self.name,
            output=self.output,
            schema=self.schema,
            metadata=self.metadata,
        )
        return settings.with_environment(config, settings.environment())


def parse_run(
    program: str, arguments: Sequence[str]
) -> tuple[settings.Config, runner.Options]:
    """Turns flags into a configuration and the way to run it here; see `parse`."""
    return parse(program, arguments, runner.Options())


def parse(
    program: str, arguments: Sequence[str], options: Options, preset: str = "local"
) -> tuple[settings.Config, Options]:
    """Turns flags into a configuration and what a runner is to do with it.

    `--preset` chooses the configuration whose fields the other flags replace.

    Args:
        program: What the usage message calls us.
        arguments: The command line without the program's name.
        options: A dataclass, the defaults of the runner's own flags.
        preset: The preset if the command line chooses none.

    Returns:
        What to run, completed from the environment, and how.

    Raises:
        SystemExit: With code 2 for a wrong flag, 0 after `--help`.
        UsageError: A value is out of bounds.
    """
    presets = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog=program)
    presets.add_argument("--preset", choices=settings.PRESETS, default=preset)
    chosen, rest = presets.parse_known_args(arguments)
    all_flags: Any = make_dataclass(
        "Flags",
        [
            ("config", Annotated[settings.Config, tyro.conf.arg(name="")]),
            ("options", Annotated[type(options), tyro.conf.arg(name="")]),
        ],
    )
    try:
        flags = tyro.cli(
            all_flags,
            prog=program,
            description=(
                "Runs the pipeline. --preset "
                f"{{{','.join(settings.PRESETS)}}} chooses the defaults of the rest."
            ),
            args=rest,
            default=all_flags(settings.PRESETS[chosen.preset](), options),
            config=(tyro.conf.OmitArgPrefixes,),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    config = settings.with_environment(flags.config, settings.environment())
    return config, flags.options


def exit_code(main: Callable[[], int]) -> int:
    """Runs a command; a person's mistake ends in a sentence, not in a traceback."""
    try:
        return main()
    except ThroughlineError as error:
        Console(stderr=True, highlight=False).print(
            f"throughline: {error}", markup=False, soft_wrap=True
        )
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def main() -> int:
    """Runs the command that the command line names; returns the exit code."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in {"-h", "--help"}:
        sys.stdout.write(_help())
        return 0
    if name not in COMMANDS:
        sys.stderr.write(f"throughline: there is no command {name!r}\n{_help()}")
        return EXIT_USAGE
    return exit_code(lambda: COMMANDS[name](arguments))


def _run(arguments: list[str]) -> int:
    """Run the pipeline on this machine; the same as run_local.py."""
    config, options = parse_run("throughline run", arguments)
    return runner.run(config, options, create_pipeline)


def _doctor(arguments: list[str]) -> int:
    """Print versions and resources of this machine, and what is amiss."""
    from pipeline.doctor import doctor

    argparse.ArgumentParser(prog="throughline doctor").parse_args(arguments)
    return doctor()


def _schema(arguments: list[str]) -> int:
    """Show how the newest proposal differs from the reviewed schema, or accept it."""
    actions = {"diff": _schema_diff, "accept": _schema_accept}
    action, *rest = arguments or ["--help"]
    if action not in actions:
        sys.stdout.write(f"usage: throughline schema {{{'|'.join(actions)}}} [FLAGS]\n")
        return 0 if action in {"-h", "--help"} else EXIT_USAGE
    flags = tyro.cli(_StoreFlags, prog=f"throughline schema {action}", args=rest)
    return actions[action](flags.config())


def _schema_diff(config: settings.Config) -> int:
    from pipeline.trust import schema_review
    from pipeline.trust.proposal import proposed_schema

    proposal = proposed_schema(config)
    differences = schema_review.diff(
        schema_review.read(config.schema), schema_review.read(proposal)
    )
    sys.stdout.write("\n".join([*schema_review.lines(differences), ""]))
    return 0


def _schema_accept(config: settings.Config) -> int:
    from pipeline.trust import schema_review
    from pipeline.trust.proposal import proposed_schema

    proposal = proposed_schema(config)
    schema_review.accept(proposal, config.schema)
    sys.stdout.write(
        f"{config.schema} is now what {proposal} proposed; review it, narrow what is "
        "too wide, and commit it\n"
    )
    return 0


@dataclass(frozen=True)
class _NodeFlags:
    """Which node of which run."""

    ir: Path
    """The compiled pipeline, ir.json of `throughline compile`."""
    node: str
    """Id of the node."""
    run_id: str
    """Name of the run, the same for all its nodes; new for a changed pipeline."""
    metadata: str | None = None
    """URL of the metadata store; metadata.db beside the artifacts if not given."""


def _node(arguments: list[str]) -> int:
    """Run one node of a compiled pipeline; what orchestrators call."""
    flags = tyro.cli(_NodeFlags, prog="throughline node", args=arguments)
    from pipeline.runners import node

    url = flags.metadata or settings.environment().get(settings.METADATA_VARIABLE)
    return node.run_command(flags.ir, flags.node, flags.run_id, url)


def compile_for_kubeflow(program: str, arguments: Sequence[str]) -> int:
    """Compiles for Kubeflow Pipelines or Vertex AI, and submits if asked to."""
    from pipeline.runners import kubeflow

    config, options = parse(program, arguments, kubeflow.Options(), "kubeflow")
    return kubeflow.run(config, options, create_pipeline)


def _compile_for_argo(program: str, arguments: Sequence[str]) -> int:
    from pipeline.runners import argo

    config, options = parse(program, arguments, argo.Options(), "kubeflow")
    return argo.run(config, options, create_pipeline)


def _compile(arguments: list[str]) -> int:
    """Write what an orchestrator runs, by --target; ir.json and dag.json without."""
    names = ["kubeflow", "vertex", "argo", *job.TARGETS]
    targets = argparse.ArgumentParser(
        prog="throughline compile", add_help=False, allow_abbrev=False
    )
    targets.add_argument("--target", choices=names)
    chosen, rest = targets.parse_known_args(arguments)
    program = f"throughline compile [--target {{{','.join(names)}}}]"
    if chosen.target in {"kubeflow", "vertex"}:
        return compile_for_kubeflow(program, ["--target", chosen.target, *rest])
    if chosen.target == "argo":
        return _compile_for_argo(program, rest)
    config, options = parse(program, rest, job.Options())
    return job.compile_job(config, options, chosen.target, create_pipeline)


@dataclass(frozen=True, kw_only=True)
class _ExplainFlags(_StoreFlags):
    """Which node, and where its runs left their traces."""

    node: tyro.conf.Positional[str]
    """Id of the node, such as Trainer."""


def _explain(arguments: list[str]) -> int:
    """Say why a node ran, or was cached, in the last run."""
    flags = tyro.cli(_ExplainFlags, prog="throughline explain", args=arguments)
    from pipeline.caching.explain import explain

    sys.stdout.write("\n".join([*explain(flags.config(), flags.node), ""]))
    return 0


@dataclass(frozen=True)
class _GcFlags(_StoreFlags):
    """What to free, and where."""

    keep: int = 5
    """Newest runs whose artifacts stay, whatever became of their models."""
    dry_run: bool = False
    """Only say what would be freed."""


def _gc(arguments: list[str]) -> int:
    """Free the artifacts of old runs, but none behind a blessed or pushed model."""
    flags = tyro.cli(_GcFlags, prog="throughline gc", args=arguments)
    from pipeline.runners.local import run_record
    from pipeline.store import retention

    config = flags.config()
    with run_record.output_directory_held(config):
        found = retention.find(config, flags.keep)
        if not flags.dry_run:
            retention.free(config, found)
    lines = retention.report(found, dry_run=flags.dry_run)
    sys.stdout.write("\n".join([*lines, ""]))
    return 0


@dataclass(frozen=True)
class _LineageFlags(_StoreFlags):
    """What to ask about, and how to answer."""

    asked: tyro.conf.Positional[tuple[str, ...]] = ()
    """model [VERSION] | data FILE-or-SPAN | diff VERSION VERSION"""
    json: bool = False
    """Answer in JSON."""
    dot: bool = False
    """Answer with a graph for Graphviz."""
    svg: bool = False
    """Answer with a drawing of the graph."""


def _lineage(arguments: list[str]) -> int:
    """Show what made a model, which models learned from data, or what differs."""
    flags = tyro.cli(
        _LineageFlags,
        prog="throughline lineage",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    from pipeline.lineage import views

    form = next((f for f in ("json", "dot", "svg") if getattr(flags, f)), "tree")
    sys.stdout.write(f"{views.show(flags.config(), flags.asked, form)}\n")
    return 0


@dataclass(frozen=True)
class _ReportFlags(_StoreFlags):
    """Which run."""

    run: tyro.conf.Positional[str | None] = None
    """Name of the run; the newest one if not given."""


def _report(arguments: list[str]) -> int:
    """Write the report of a run as one HTML file, and the index of all runs."""
    flags = tyro.cli(_ReportFlags, prog="throughline report", args=arguments)
    from pipeline import report

    path = report.report_on(flags.config(), flags.run)
    sys.stdout.write(f"{path}\n{path.parent.parent / 'index.html'} lists all runs\n")
    return 0


@dataclass(frozen=True, kw_only=True)
class _ExportFlags(_StoreFlags):
    """Whose examples, and where to."""

    out: Path
    """Directory for the files; it gets a directory per split."""
    run: str | None = None
    """Name of the run that ingested them; the newest one if not given."""


def _export(arguments: list[str]) -> int:
    """Write a run's examples as TFRecords of tf.Examples: export examples --out DIR."""
    what, *rest = arguments or ["--help"]
    if what != "examples":
        sys.stdout.write("usage: throughline export examples --out DIR [FLAGS]\n")
        return 0 if what in {"-h", "--help"} else EXIT_USAGE
    flags = tyro.cli(_ExportFlags, prog="throughline export examples", args=rest)
    from pipeline import artifacts

    config = flags.config()
    output, metadata = config.output, config.metadata
    run = (
        artifacts.of_run(flags.run, output=output, metadata=metadata)
        if flags.run
        else artifacts.newest(output=output, metadata=metadata)
    )
    for split, rows in run.export_examples(flags.out).items():
        sys.stdout.write(f"{rows:,} rows in {flags.out / f'Split-{split}'}\n")
    return 0


COMMANDS: Mapping[str, Command] = {
    "run": _run,
    "explain": _explain,
    "gc": _gc,
    "compile": _compile,
    "node": _node,
    "schema": _schema,
    "lineage": _lineage,
    "report": _report,
    "export": _export,
    "doctor": _doctor,
}


def _help() -> str:
    lines = (f"  {name:10} {c.__doc__}" for name, c in COMMANDS.items())
    return "\n".join(["usage: throughline COMMAND [FLAGS]", "", *lines, ""])


if __name__ == "__main__":
    sys.exit(main())
