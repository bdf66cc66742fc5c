"""Flags, generated from the dataclasses of settings: the main ones first, then groups.

A setting of a group has the group's name before its own (`--splits.time-column`), so
that groups can't take names from each other. What is listed here is how flags are
shown and abbreviated; what they are is in the dataclasses alone.
"""

import argparse
import ast
import inspect
import itertools
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import (
    dataclass,
    field,
    fields,
    is_dataclass,
    make_dataclass,
    replace,
)
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import tyro

from models import declared
from pipeline import config as settings
from pipeline.errors import EXIT_DONE, EXIT_USAGE, no_such, printable
from pipeline.project import settings_file
from pipeline.project.settings_file import replaced

Options = TypeVar("Options")

MAIN = (
    "data",
    "output",
    "name",
    "pattern",
    "window",
    "train_steps",
    "seed",
    "tune.enabled",
    "quality.min_auc",
    "resume",
    "force",
    "workers",
)
"""The settings that `--help` shows first."""

ALIASES = {
    "quality.min_auc": "--min-auc",
    "quality.max_auc_loss": "--max-auc-loss",
    "model.learning_rate": "--learning-rate",
    "tune.enabled": "--tune",
    "beam.engine": "--engine",
    "containers.image": "--image",
}
"""Short flags of settings that are in groups."""

CHOICES: Mapping[str, tuple[str, ...]] = {"label_policy": declared.POLICIES}
"""The values of settings that take texts of a list, if the list isn't empty."""

_OTHER = "other"
_HELP = {"-h", "--help"}
_HELP_ALL = "--help-all"


@dataclass(frozen=True)
class StoreFlags:
    """Names the pipeline and the places of earlier runs."""

    name: str = field(default_factory=lambda: settings.local().name)
    """Name of the pipeline."""
    output: Path = field(default_factory=lambda: settings.local().output)
    """Output directory of the runs."""
    schema: Path = field(default_factory=lambda: settings.local().schema)
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
        )
        if self.metadata:
            config = replace(config, metadata=self.metadata)
        return settings.with_environment(config, settings.environment())


def parse(  # noqa: PLR0913 - the last two are of one command's --help
    program: str,
    arguments: Sequence[str],
    options: Options,
    preset: str = "local",
    *,
    about: str = "Runs the pipeline.",
    main: Sequence[str] = MAIN,
) -> tuple[settings.Config, Options]:
    """Parses flags into a configuration and a runner's own options.

    `--preset` chooses the configuration whose fields the other flags replace.

    Args:
        program: Name of the program in the usage message.
        arguments: The command line without the program's name.
        options: A dataclass, the defaults of the runner's own flags.
        preset: The preset if the command line chooses none.
        about: What the program does, for `--help`.
        main: The settings that `--help` shows.

    Returns:
        The configuration, completed from the environment, and the options.

    Raises:
        SystemExit: With code 2 for a wrong flag, 0 after `--help`.
        UsageError: A value is out of bounds.
    """
    # Before tyro, which needs the defaults that the preset chooses. Without
    # abbreviations, or --pre would be taken here and be unknown there.
    presets = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog=program)
    presets.add_argument("--preset", choices=settings.PRESETS, default=preset)
    chosen, rest = presets.parse_known_args(arguments)
    config = settings.PRESETS[chosen.preset]()
    # One class for both: two would each have a --help of their own.
    kind = flags_class("Flags", [config, options], main=main)
    flags = tyro.cli(
        _main_of(kind, main) if _HELP & {*rest} else kind,
        prog=program,
        description=f"{about} {_more(kind)}",
        args=["--help" if word == _HELP_ALL else word for word in rest],
    )
    values = dict(_values(flags))
    config = settings.with_environment(replaced(config, values), settings.environment())
    return config, replaced(options, values)


def flags_class(
    name: str,
    defaults: Iterable[object],
    others: Mapping[str, tuple[Any, Any]] | None = None,
    main: Sequence[str] = MAIN,
) -> Any:
    """Creates a dataclass whose fields are flags, for tyro to read.

    Args:
        name: Name of the class.
        defaults: Dataclasses with the settings and their defaults; of settings with
            the same path the first counts.
        others: Further flags: type and default by name.
        main: The main settings, by path.

    Returns:
        A class with the main settings, then all others, then a class for each group.
    """
    leaves: dict[str, _Leaf] = {}
    for leaf in itertools.chain.from_iterable(map(_leaves, defaults)):
        # Several orchestrators have the same setting, such as `out`.
        leaves.setdefault(leaf.path, leaf)
    first = [leaves.pop(path) for path in main if path in leaves]
    groups: dict[str, list[_Leaf]] = {_OTHER: []}
    for leaf in leaves.values():
        groups.setdefault(leaf.group or _OTHER, []).append(leaf)
    extra = [(each, hint, value) for each, (hint, value) in (others or {}).items()]
    boxes = [_box(group, members) for group, members in groups.items() if members]
    return make_dataclass(
        name, [*extra, *(leaf.flag(leaf.path) for leaf in first), *boxes]
    )


def _main_of(kind: Any, main: Collection[str]) -> Any:
    """Creates a class of only the flags that `--help` shows."""
    # By their names: a group's own class is a flag of the whole one.
    shown = [
        (each.name, each.type, each)
        for each in fields(kind)
        if _path(each.name) in main
    ]
    return make_dataclass(kind.__name__, shown)


def _more(kind: Any) -> str:
    presets = ",".join(settings.PRESETS)
    return (
        f"--preset {{{presets}}} chooses the defaults of the rest. "
        f"{_HELP_ALL} lists all {sum(1 for _ in _values(kind()))} settings; "
        f"{settings_file.FILE_NAME} sets them for the project, and `throughline "
        "config` tells which hold."
    )


@dataclass(frozen=True)
class _Leaf:
    """A setting that is no group of others.

    Attributes:
        path: Its name, after that of its group and a dot if it is in one.
        hint: Its type.
        default: Its value if the command line gives none.
        help: Its description, from the docstring below it.
        about: Description of its group, from the docstring of the group's class.
    """

    path: str
    hint: Any
    default: Any
    help: str
    about: str

    @property
    def group(self) -> str:
        """Name of its group; empty for a setting of its own."""
        return self.path.rpartition(".")[0]

    def flag(self, name: str | None) -> tuple[str, Any, Any]:
        """Returns a field that tyro turns into its flag.

        Args:
            name: Name of the flag, without tyro's prefix.
        """
        aliases = [ALIASES[self.path]] if self.path in ALIASES else None
        # Of the others the type may hold a name, as that of --from does.
        name = name if self.group else None
        argument = tyro.conf.arg(name=name, help=self.help, aliases=aliases)
        return (
            # A field's name can't have a dot; two underscores occur in no setting.
            self.path.replace(".", "__"),
            Annotated[self.hint, argument],
            field(default=self.default),
        )


def _leaves(defaults: Any, group: str = "") -> Iterator[_Leaf]:
    kind = type(defaults)
    hints = get_type_hints(kind, include_extras=True)
    helps = _docstrings_of_fields(kind)
    for each in fields(defaults):
        value = getattr(defaults, each.name)
        path = f"{group}.{each.name}" if group else each.name
        if is_dataclass(value):
            yield from _leaves(value, path)
        else:
            about = inspect.getdoc(kind) or ""
            choices = CHOICES.get(path)
            hint = Literal[choices] if choices else hints[each.name]
            yield _Leaf(path, hint, value, helps.get(each.name, ""), about)


def _docstrings_of_fields(kind: type) -> dict[str, str]:
    """Reads the text below each field, which Python itself doesn't keep."""
    # tyro can do this too, but not for the classes that are made here, which have no
    # source.
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    pairs = itertools.pairwise(tree.body if isinstance(tree, ast.ClassDef) else [])
    return {
        before.target.id: " ".join(str(text.value.value).split())
        for before, text in pairs
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def _box(group: str, members: Sequence[_Leaf]) -> tuple[str, Any, Any]:
    """Creates the class of a group, which `--help` shows in a box of its own."""
    is_other = group == _OTHER
    kind: Any = make_dataclass(
        group, [leaf.flag(leaf.path.rpartition(".")[2]) for leaf in members]
    )
    kind.__doc__ = "" if is_other else members[0].about
    # "other" is a heading in --help, not a prefix of flags.
    hint = Annotated[kind, tyro.conf.OmitArgPrefixes] if is_other else kind
    return group, hint, field(default_factory=kind)


def _values(flags: Any) -> Iterator[tuple[str, Any]]:
    """Yields the value of each setting by its path."""
    for each in fields(flags):
        value = getattr(flags, each.name)
        if is_dataclass(value):
            yield from _values(value)
        else:
            yield _path(each.name), value


def _path(name: str) -> str:
    return name.replace("__", ".")


def answer_without_action(command: str, action: str, actions: Collection[str]) -> int:
    """Prints a command's usage, or rejects an unknown action.

    Args:
        command: Name of the command.
        action: What was given in place of an action: a flag for help, or a mistake.
        actions: Names of the command's actions.

    Returns:
        The exit code.
    """
    usage = f"usage: throughline {command} {{{'|'.join(actions)}}} [FLAGS]\n"
    if action in {"-h", "--help"}:
        sys.stdout.write(usage)
        return EXIT_DONE
    problem = no_such(f"action of {command}", action, actions)
    sys.stderr.write(f"throughline: {problem}\n{usage}")
    return EXIT_USAGE


def say(text: str) -> None:
    """Prints text with its control characters escaped."""
    print(printable(text))
