"""`throughline tuning`: what `--tune` found; making it the project's."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import tyro

from pipeline.commands.flags import StoreFlags, answer_without_action, say
from pipeline.errors import EXIT_DONE, UsageError

if TYPE_CHECKING:
    from pipeline.config import Config

_GROUP = "model"


@dataclass(frozen=True)
class ShowFlags(StoreFlags):
    """Which search."""

    run: str = ""
    """Name of the run; the newest that has searched if not given."""
    json: bool = False
    """Answer in JSON."""


@dataclass(frozen=True)
class AcceptFlags(StoreFlags):
    """Which search's best hyperparameters the project gets."""

    run: str = ""
    """Name of the run; the newest that has searched if not given."""


ACTIONS: Mapping[str, type[StoreFlags]] = {"show": ShowFlags, "accept": AcceptFlags}


def tuning(arguments: list[str]) -> int:
    """Show the trials of a search for hyperparameters; make the best the project's."""
    actions: dict[str, Callable[[list[str]], int]] = {
        "show": _show,
        "accept": _accept,
    }
    action, *rest = arguments or ["--help"]
    if action not in actions:
        return answer_without_action("tuning", action, actions)
    return actions[action](rest)


def _show(arguments: list[str]) -> int:
    flags = tyro.cli(
        ShowFlags,
        prog="throughline tuning show",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    import json

    run, found = _search(flags.config(), flags.run)
    if flags.json:
        sys.stdout.write(f"{json.dumps({'run': run, **found}, indent=1)}\n")
        return EXIT_DONE
    say("\n".join(_lines(run, found)))
    return EXIT_DONE


def _accept(arguments: list[str]) -> int:
    flags = tyro.cli(AcceptFlags, prog="throughline tuning accept", args=arguments)
    from pipeline import config as settings
    from pipeline.project import settings_file
    from pipeline.store import durable

    run, found = _search(flags.config(), flags.run)
    best = _values_of_best(found)
    path = settings_file.PROJECT / settings_file.FILE_NAME
    in_use = asdict(settings.local().model)
    if gone := sorted(best.keys() - in_use.keys()):
        raise UsageError(
            f"run {run} searched {', '.join(gone)}, which models/hyperparameters.py "
            "doesn't have any more; `python run_local.py --tune` searches again"
        )
    new = {name: value for name, value in best.items() if value != _plain(in_use[name])}
    if not new:
        say(f"{path} has the best values of run {run} already; nothing was changed")
        return EXIT_DONE
    text = path.read_text("utf-8") if path.exists() else ""
    try:
        edited = settings_file.with_group(text, _GROUP, new)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    part = durable.stage(path.with_name(f".{path.name}.part"), edited, mode)
    part.replace(path)
    for name, value in new.items():
        say(f"{_flag(name)}  {_text(in_use[name])} -> {_text(value)}")
    say(
        f"{path} has the best values of run {run} now; review the change (git diff "
        f"{path.name}) and commit it. `python run_local.py` trains with them"
    )
    return EXIT_DONE


def _search(config: "Config", asked: str) -> tuple[str, Mapping[str, Any]]:
    """Finds the trials of a run.

    Returns:
        The run's name, and what `artifact_files.read_trials` reads.

    Raises:
        UsageError: The run, or any run, has searched nothing here, or its files are
            gone.
    """
    from pipeline.config import TUNER_NODE
    from pipeline.lineage.query import open_lineage
    from pipeline.store.artifact_files import location, read_trials

    graph = open_lineage(config).graph
    steps = (s for s in graph.node(config.name, TUNER_NODE) if s.succeeded)
    step = next((s for s in steps if asked in {"", s.run}), None)
    if step is None:
        which = f"run {asked}" if asked else f"any run of pipeline {config.name}"
        raise UsageError(
            f"there is no search for hyperparameters of {which} in {config.output}; "
            "`python run_local.py --tune` makes one"
        )
    (artifact,) = graph.by_id(step.outputs["tuner_results"])
    place = location(artifact.uri)
    found = read_trials(place) if place else {}
    if not found:
        raise UsageError(f"the trials of run {step.run} are gone from {artifact.uri}")
    return step.run, found


def _values_of_best(found: Mapping[str, Any]) -> Mapping[str, Any]:
    values: Mapping[str, Any] = next(
        each["values"] for each in found["trials"] if each["trial"] == found["best"]
    )
    return values


def _lines(run: str, found: Mapping[str, Any]) -> Iterator[str]:
    from pipeline.store.artifact_files import best_first
    from pipeline.trust.policy import table

    names = list(_values_of_best(found))
    trials = best_first(found)
    yield f"run {run}: {len(trials)} trials; trial 0 is of the values in use then"
    yield from table(
        ("trial", *map(_flag, names), found["metric"], "step", "seconds"),
        [
            (
                str(each["trial"]),
                *(_text(each["values"][name]) for name in names),
                f"{each['score']:.4f}" if "score" in each else each["error"],
                f"{each['step']:,}" if "step" in each else "-",
                f"{each['seconds']:.1f}" if "seconds" in each else "-",
            )
            for each in trials
        ],
    )
    if found["best"]:
        yield "`throughline tuning accept` makes the best values the project's"
    else:
        yield "the values in use were the best"


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _plain(value: Any) -> Any:
    """Returns a value as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
