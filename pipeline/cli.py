"""The command line: `throughline COMMAND`; flags are generated from the dataclasses."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from pipeline import config as settings
from pipeline import create_pipeline
from pipeline.errors import EXIT_USAGE, ThroughlineError, UsageError
from pipeline.runners import local

EXIT_INTERRUPTED = 130

Command = Callable[[list[str]], int]


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


@dataclass(frozen=True)
class _RunFlags:
    """Everything that can be said on a command line about a run."""

    config: Annotated[settings.Config, tyro.conf.arg(name="")]
    options: Annotated[local.Options, tyro.conf.arg(name="")] = field(
        default_factory=local.Options
    )


def parse_run(
    program: str, arguments: Sequence[str]
) -> tuple[settings.Config, local.Options]:
    """Turns flags into a configuration and the way to run it.

    `--preset` chooses the configuration whose fields the other flags replace.

    Args:
        program: What the usage message calls us.
        arguments: The command line without the program's name.

    Returns:
        What to run, completed from the environment, and how.

    Raises:
        SystemExit: With code 2 for a wrong flag, 0 after `--help`.
        UsageError: A value is out of bounds.
    """
    presets = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog=program)
    presets.add_argument("--preset", choices=settings.PRESETS, default="local")
    chosen, rest = presets.parse_known_args(arguments)
    try:
        flags = tyro.cli(
            _RunFlags,
            prog=program,
            description=(
                "Runs the pipeline. --preset "
                f"{{{','.join(settings.PRESETS)}}} chooses the defaults of the rest."
            ),
            args=rest,
            default=_RunFlags(settings.PRESETS[chosen.preset]()),
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagConversionOff),
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
    return local.run(config, options, create_pipeline)


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
    from pipeline import metadata, schema_review

    proposal = metadata.proposed_schema(config)
    differences = schema_review.diff(
        schema_review.read(config.schema), schema_review.read(proposal)
    )
    sys.stdout.write("\n".join([*schema_review.lines(differences), ""]))
    return 0


def _schema_accept(config: settings.Config) -> int:
    from pipeline import metadata, schema_review

    proposal = metadata.proposed_schema(config)
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


def _compile(arguments: list[str]) -> int:
    """Write ir.json and dag.json, which every orchestrator runs."""
    out = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    out.add_argument("--out", type=Path, default=Path("compiled"))
    chosen, rest = out.parse_known_args(arguments)
    config, _ = parse_run("throughline compile [--out DIR]", rest)
    from pipeline.runners import compiler

    compiler.write(compiler.compile_pipeline(create_pipeline(config)), chosen.out)
    sys.stdout.write(f"{chosen.out} has {compiler.IR_FILE} and {compiler.DAG_FILE}\n")
    return 0


COMMANDS: Mapping[str, Command] = {
    "run": _run,
    "compile": _compile,
    "node": _node,
    "schema": _schema,
    "doctor": _doctor,
}


def _help() -> str:
    lines = (f"  {name:10} {c.__doc__}" for name, c in COMMANDS.items())
    return "\n".join(["usage: throughline COMMAND [FLAGS]", "", *lines, ""])


if __name__ == "__main__":
    sys.exit(main())
