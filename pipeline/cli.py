"""The command line: `throughline COMMAND`; flags are generated from the dataclasses."""

import argparse
import difflib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, make_dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import tyro

from pipeline import config as settings
from pipeline import create_pipeline
from pipeline.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    ThroughlineError,
    UsageError,
    explained,
    printable,
    without_secrets,
)
from pipeline.runners import job, logs
from pipeline.runners.local import runner
from pipeline.runners.local.console import quiet

Command = Callable[[list[str]], int]
Options = TypeVar("Options")

TARGETS = ("kubeflow", "vertex", "argo", *job.TARGETS)


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
    """Runs a command; whatever is raised ends in a sentence and an exit code.

    The traceback of what we didn't foresee is in a log that the sentence names. Output
    that nobody reads to its end, as in `| head -1`, is no failure.

    Args:
        main: The command; returns its exit code.
    """
    _forgive_characters()
    try:
        code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends in a sentence
        ours = explained(error)
        sys.stderr.write(printable(without_secrets(f"throughline: {ours}\n")))
        return ours.exit_code
    return code


def _forgive_characters() -> None:
    """Lets names be printed that the output's encoding has no characters for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(text: str) -> None:
    """Prints an answer; what a terminal would obey in it is escaped."""
    sys.stdout.write(f"{printable(text)}\n")


def main() -> int:
    """Runs the command that the command line names; returns the exit code."""
    return exit_code(lambda: _command(sys.argv[1:]))


def _command(words: Sequence[str]) -> int:
    name, *arguments = words or ["--help"]
    if name in {"-h", "--help"}:
        sys.stdout.write(_help())
        return EXIT_DONE
    if name == "--version":
        sys.stdout.write(f"throughline {metadata.version('throughline')}\n")
        return EXIT_DONE
    if name not in COMMANDS:
        sys.stderr.write(f"throughline: {_no_such('command', name, COMMANDS)}{_help()}")
        return EXIT_USAGE
    return COMMANDS[name](arguments)


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
        usage = f"usage: throughline schema {{{'|'.join(actions)}}} [FLAGS]\n"
        if action in {"-h", "--help"}:
            sys.stdout.write(usage)
            return 0
        problem = _no_such("action of schema", action, actions)
        sys.stderr.write(f"throughline: {problem}{usage}")
        return EXIT_USAGE
    flags = tyro.cli(_StoreFlags, prog=f"throughline schema {action}", args=rest)
    return actions[action](flags.config())


def _schema_diff(config: settings.Config) -> int:
    from pipeline.trust import schema_review
    from pipeline.trust.proposal import proposed_schema

    proposal = proposed_schema(config)
    differences = schema_review.diff(
        schema_review.read(config.schema), schema_review.read(proposal)
    )
    _say("\n".join(schema_review.lines(differences)))
    return 0


def _schema_accept(config: settings.Config) -> int:
    from pipeline.trust import schema_review
    from pipeline.trust.proposal import proposed_schema

    proposal = proposed_schema(config)
    schema_review.accept(proposal, config.schema)
    _say(
        f"{config.schema} is now what {proposal} proposed; review it, narrow what is "
        "too wide, and commit it"
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
    log_level: logs.LogLevel = "info"
    """The least severe messages on standard error."""


def _node(arguments: list[str]) -> int:
    """Run one node of a compiled pipeline; what orchestrators call."""
    flags = tyro.cli(_NodeFlags, prog="throughline node", args=arguments)
    from pipeline.runners import node

    logs.start_log(flags.log_level)
    url = flags.metadata or settings.environment().get(settings.METADATA_VARIABLE)
    return node.run_command(flags.ir, flags.node, flags.run_id, url)


@contextmanager
def _compiling(config: settings.Config) -> Iterator[None]:
    """Checks what a run would check first, and keeps TensorFlow's messages away."""
    from pipeline.trust import schema_review

    schema_review.check(config.schema, config.quality.slice_columns)
    with quiet():
        yield


def compile_for_kubeflow(program: str, arguments: Sequence[str]) -> int:
    """Compiles for Kubeflow Pipelines or Vertex AI, and submits if asked to."""
    from pipeline.runners import kubeflow

    config, options = parse(program, arguments, kubeflow.Options(), "kubeflow")
    with _compiling(config):
        return kubeflow.run(config, options, create_pipeline)


def _compile_for_argo(program: str, arguments: Sequence[str]) -> int:
    from pipeline.runners import argo

    config, options = parse(program, arguments, argo.Options(), "kubeflow")
    with _compiling(config):
        return argo.run(config, options, create_pipeline)


def _compile(arguments: list[str]) -> int:
    """Write what an orchestrator runs, by --target; ir.json and dag.json without."""
    targets = argparse.ArgumentParser(
        prog="throughline compile", add_help=False, allow_abbrev=False
    )
    targets.add_argument("--target", choices=TARGETS)
    chosen, rest = targets.parse_known_args(arguments)
    program = f"throughline compile [--target {{{','.join(TARGETS)}}}]"
    if chosen.target in {"kubeflow", "vertex"}:
        return compile_for_kubeflow(program, ["--target", chosen.target, *rest])
    if chosen.target == "argo":
        return _compile_for_argo(program, rest)
    config, options = parse(program, rest, job.Options())
    with _compiling(config):
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

    _say("\n".join(explain(flags.config(), flags.node)))
    return 0


@dataclass(frozen=True)
class _GcFlags(_StoreFlags):
    """What to free, and where."""

    keep: int = 5
    """Newest runs that stay whole, whatever became of their models."""
    keep_versions: int = 5
    """Newest versions in serving that stay; the live one is one of them."""
    dry_run: bool = False
    """Only say what would be freed."""


def _gc(arguments: list[str]) -> int:
    """Free artifacts, versions and directories of old runs; none that is in use."""
    flags = tyro.cli(_GcFlags, prog="throughline gc", args=arguments)
    from pipeline.runners.local import gc, run_record
    from pipeline.store import locks
    from pipeline.store.connection import existing_store

    config = flags.config()
    # Before the lock: a mistyped --output must not become a directory.
    existing_store(config.metadata_url)
    with (
        run_record.output_directory_held(config),
        locks.unused(config.artifact_directory),
    ):
        plan = gc.find(config, flags.keep, flags.keep_versions)
        lines = gc.lines(plan, dry_run=flags.dry_run)
        problems = [] if flags.dry_run else gc.free(config, plan)
    _say("\n".join(lines))
    if problems:
        raise ThroughlineError("; ".join(problems))
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
    _say(f"{path}\n{path.parent.parent / 'index.html'} lists all runs")
    return 0


@dataclass(frozen=True)
class _CompletionFlags:
    """For which shell."""

    shell: tyro.conf.Positional[Literal["bash", "zsh"]]
    """The shell that is to complete what is typed."""


def _completion(arguments: list[str]) -> int:
    """Write a script with which a shell completes commands, flags and their values."""
    flags = tyro.cli(_CompletionFlags, prog="throughline completion", args=arguments)
    # tyro prints the script and raises SystemExit.
    tyro.extras.subcommand_cli_from_dict(
        _flags_of_commands(),
        prog="throughline",
        args=["--tyro-print-completion", flags.shell],
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )
    return EXIT_DONE


def _flags_of_commands() -> dict[str, Callable[..., Any]]:
    """Lists each command's flags as a dataclass, for completion only.

    A command may read them in another way: `schema` has no class of its own, and
    `compile` has other flags for each target.
    """
    from pipeline.runners import argo, kubeflow

    schema: Any = make_dataclass(
        "schema",
        [
            (
                "action",
                Annotated[_StoreFlags, tyro.conf.subcommand("diff")]
                | Annotated[_StoreFlags, tyro.conf.subcommand("accept")],
            )
        ],
    )
    return {
        "run": _all_flags("run", [settings.Config, runner.Options], {}),
        "explain": _ExplainFlags,
        "gc": _GcFlags,
        "compile": _all_flags(
            "compile",
            [settings.Config, job.Options, argo.Options, kubeflow.Options],
            {"target": TARGETS},
        ),
        "node": _NodeFlags,
        "schema": schema,
        "lineage": _LineageFlags,
        "report": _ReportFlags,
        "export": make_dataclass(
            "export",
            [("what", Annotated[_ExportFlags, tyro.conf.subcommand("examples")])],
        ),
        "doctor": make_dataclass("doctor", []),
        "completion": _CompletionFlags,
    }


def _all_flags(
    name: str, classes: Sequence[type], choices: Mapping[str, Sequence[str]]
) -> Callable[..., Any]:
    """Makes one dataclass of several; of fields with the same name, the first."""
    choices = {"preset": tuple(settings.PRESETS), **choices}
    # Literal takes a tuple for its values, and only mypy wants them spelled out.
    found: dict[str, Any] = {
        name: (Literal.__getitem__(values), values[0])
        for name, values in choices.items()
    }
    for each in classes:
        hints = get_type_hints(each, include_extras=True)
        defaults = each()
        for part in fields(each):
            value = getattr(defaults, part.name)
            found.setdefault(part.name, (hints[part.name], value))
    columns = [
        (name, hint, field(default=value)) for name, (hint, value) in found.items()
    ]
    return make_dataclass(name, columns)


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
        return EXIT_DONE if what in {"-h", "--help"} else EXIT_USAGE
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
    "completion": _completion,
}


def _no_such(what: str, name: str, known: Iterable[str]) -> str:
    """Names what isn't there, and what was probably meant."""
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return f"there is no {what} {name!r}{meant}\n"


def _help() -> str:
    lines = (f"  {name:10} {c.__doc__}" for name, c in COMMANDS.items())
    usage = "usage: throughline COMMAND [FLAGS], or throughline --version"
    return "\n".join([usage, "", *lines, ""])


if __name__ == "__main__":
    sys.exit(main())
