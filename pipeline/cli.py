"""The command line: `throughline COMMAND`; each command is in pipeline/commands/."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import EXIT_DONE, EXIT_USAGE, UsageError, exit_code, no_such
from pipeline.project.settings_file import FILE_NAME, PROJECT

__all__ = ["exit_code", "main"]


@dataclass(frozen=True)
class Command:
    """A command, imported when it is called: a rollback must not wait for the others.

    Attributes:
        module: Its module in pipeline/commands/.
        name: Name of its function.
    """

    module: str
    name: str

    def __call__(self, arguments: list[str]) -> int:
        """Runs it; returns the exit code."""
        code: int = self._function()(arguments)
        return code

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        return str(self._function().__doc__)

    def _function(self) -> Any:
        module = importlib.import_module(f"pipeline.commands.{self.module}")
        return getattr(module, self.name)


# In the order of --help. The modules import TFX within their functions, so that the
# table costs nothing.
COMMANDS: Mapping[str, Command] = {
    "run": Command("run", "run"),
    "new": Command("new", "new"),
    "config": Command("config", "config"),
    "explain": Command("upkeep", "explain"),
    "gc": Command("upkeep", "gc"),
    "compile": Command("run", "compile_pipeline"),
    "node": Command("run", "node"),
    "schema": Command("schema", "schema"),
    "gate": Command("gate", "gate"),
    "features": Command("features", "features"),
    "tuning": Command("tuning", "tuning"),
    "models": Command("models", "models"),
    "predict": Command("predict", "predict"),
    "serve": Command("serve", "serve"),
    "labels": Command("labels", "labels"),
    "monitor": Command("monitor", "monitor"),
    "operate": Command("operate", "operate"),
    "lineage": Command("lineage", "lineage"),
    "report": Command("lineage", "report"),
    "export": Command("lineage", "export"),
    "cluster": Command("cluster", "cluster"),
    "doctor": Command("upkeep", "doctor"),
    "completion": Command("completion", "completion"),
}


def __getattr__(name: str) -> Any:
    """Returns what run_local.py and run_kubeflow.py use, imported when it is used."""
    if name == "parse":
        return importlib.import_module("pipeline.commands.flags").parse
    if name in {"compile_for_kubeflow", "parse_run"}:
        return getattr(importlib.import_module("pipeline.commands.run"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# They write elsewhere, or nothing.
_ANYWHERE = {"new", "doctor", "completion"}


def main() -> int:
    """Runs the command that the command line names; returns the exit code."""
    return exit_code(lambda: _command(sys.argv[1:]))


def _command(words: Sequence[str]) -> int:
    name, *arguments = words or ["--help"]
    if name in {"-h", "--help"}:
        sys.stdout.write(_help())
        return EXIT_DONE
    if name == "--version":
        from importlib import metadata

        sys.stdout.write(f"throughline {metadata.version('throughline')}\n")
        return EXIT_DONE
    if name not in COMMANDS:
        problem = no_such("command", name, COMMANDS)
        sys.stderr.write(f"throughline: {problem}\n{_help()}")
        return EXIT_USAGE
    if name not in _ANYWHERE:
        _refuse_other_project(Path.cwd())
    return COMMANDS[name](arguments)


def _refuse_other_project(here: Path) -> None:
    """Refuses to run in another project, with the features and settings of this one.

    Raises:
        UsageError: The directory is a project with code of its own.
    """
    is_project = (here / FILE_NAME).is_file() and (here / "pipeline/cli.py").is_file()
    if is_project and here.resolve() != PROJECT:
        raise UsageError(
            f"{here} is a project of its own, and this is the throughline of "
            f"{PROJECT}; type `make env` and `. .venv/bin/activate` there first"
        )


def _help() -> str:
    """Lists the commands, each with the first line of its docstring."""
    lines = (f"  {name:10} {c.summary}" for name, c in COMMANDS.items())
    usage = "usage: throughline COMMAND [FLAGS], or throughline --version"
    return "\n".join([usage, "", *lines, ""])


if __name__ == "__main__":
    sys.exit(main())
