"""`throughline new`: generates a project from data, without prompts."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from models.declarations import Task
from pipeline import config as settings
from pipeline.commands.flags import say
from pipeline.errors import EXIT_DONE, UsageError
from pipeline.ingestion.source import UTF_8
from pipeline.ingestion.spans import EVERY_FILE
from pipeline.project.settings_file import PROJECT

if TYPE_CHECKING:
    from pipeline.project.decisions import Plan
    from pipeline.project.survey import Survey


@dataclass(frozen=True, kw_only=True)
class NewFlags:
    """Directory, data and label of the new project."""

    directory: tyro.conf.Positional[Path]
    """The project's directory, whose last part is its name; . turns this checkout into
    it."""
    data: Path
    """Directory of .csv, .csv.gz or .parquet files with the same columns."""
    label: str
    """The column to predict."""
    task: Task | None = None
    """What is predicted: yes or no, one of several classes, or a number; by the label's
    values if not given."""
    positive: str | None = None
    """For yes or no: the label's value that is yes; all others are no."""
    weight: str = ""
    """Column with the weight of each row."""
    pattern: str = EVERY_FILE
    """Which files of the directory."""
    encoding: str = UTF_8
    """Encoding of text files, by Python's name."""


def new(arguments: list[str]) -> int:
    """Write a project of your own from data: features, label, schema, settings."""
    flags = tyro.cli(NewFlags, prog="throughline new", args=arguments)
    name = _name(flags.directory)
    from pipeline.runners.local.console import quiet

    # TensorFlow, which computes the labels, speaks of devices on standard error.
    with quiet():
        found, plan, own = _planned(flags, name)
    from pipeline.project import files, layout

    removed = layout.write(flags.directory, own)
    for line in _lines(files.table(plan)):
        say(line)
    say(f"\n{found.rows:,} rows read, {found.rejected:,} don't fit.")
    for path in removed:
        say(f"removed  {path}")
    for path in own:
        say(f"written  {flags.directory / path}")
    here = flags.directory.resolve() == Path.cwd().resolve()
    change = "" if here else f"cd {shlex.quote(str(flags.directory))} && "
    say(f"next     {change}make run")
    return EXIT_DONE


def _planned(flags: NewFlags, name: str) -> tuple["Survey", "Plan", dict[str, str]]:
    """Looks at the data; returns what was found, decided, and is to be written."""
    from pipeline.project import decisions, files, survey

    found = survey.survey(flags.data, flags.pattern, flags.encoding)
    if flags.weight and not found.column(flags.weight, "weight").is_number:
        raise UsageError(f"weight is {flags.weight!r}, a column of texts, not numbers")
    label, about = decisions.label_of(
        found.column(flags.label, "label"), flags.task, flags.positive, flags.weight
    )
    plan = decisions.decide(found, label, about, survey.labelled(found, label))
    data = files.relative(flags.data, flags.directory)
    return found, plan, files.generated(found, plan, name, data)


def _name(directory: Path) -> str:
    """Returns the project's name, the last part of its directory.

    Raises:
        UsageError: It can't be the name of a pipeline and a model.
    """
    name = directory.resolve().name
    if directory.resolve() == PROJECT:
        name = PROJECT.name
    try:
        settings.Config(name=name)
    except UsageError as error:
        raise UsageError(f"{error}; choose another directory") from error
    return name


def _lines(rows: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    table = [("column", "used as", "because"), *rows]
    widths = [max(len(row[at]) for row in table) for at in range(2)]
    for row in table:
        yield f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}"
