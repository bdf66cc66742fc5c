"""The command line: `throughline COMMAND`; each command is in pipeline/commands/."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

from pipeline.commands import completion, lineage, run, schema, upkeep
from pipeline.commands.flags import parse
from pipeline.commands.run import compile_for_kubeflow, parse_run
from pipeline.errors import EXIT_DONE, EXIT_USAGE, exit_code, no_such

__all__ = ["compile_for_kubeflow", "exit_code", "main", "parse", "parse_run"]

Command = Callable[[list[str]], int]

# In the order of --help. The modules import TFX within their functions, so that the
# table costs nothing.
COMMANDS: Mapping[str, Command] = {
    "run": run.run,
    "explain": upkeep.explain,
    "gc": upkeep.gc,
    "compile": run.compile_pipeline,
    "node": run.node,
    "schema": schema.schema,
    "lineage": lineage.lineage,
    "report": lineage.report,
    "export": lineage.export,
    "doctor": upkeep.doctor,
    "completion": completion.completion,
}


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
        problem = no_such("command", name, COMMANDS)
        sys.stderr.write(f"throughline: {problem}\n{_help()}")
        return EXIT_USAGE
    return COMMANDS[name](arguments)


def _help() -> str:
    """Lists the commands, each with the first line of its docstring."""
    lines = (f"  {name:10} {c.__doc__}" for name, c in COMMANDS.items())
    usage = "usage: throughline COMMAND [FLAGS], or throughline --version"
    return "\n".join([usage, "", *lines, ""])


if __name__ == "__main__":
    sys.exit(main())
