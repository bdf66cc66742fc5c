"""Commands about the versions of the model: which is live, and what changes that.

Nothing here imports TFX or TensorFlow, and a rollback is done before the metadata store
is opened: at night, it must work even if the store's server doesn't.
"""

import json
import os
import pwd
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from pipeline import config as settings
from pipeline.commands.flags import StoreFlags, answer_without_action, say
from pipeline.errors import (
    EXIT_DONE,
    ThroughlineError,
    UsageError,
    cause_of,
    printable,
)
from pipeline.ingestion import digests
from pipeline.quality import titles
from pipeline.registry import changes, history, versions
from pipeline.registry.changes import Author, Change
from pipeline.registry.history import Registry

_NONE = "-"


@dataclass(frozen=True)
class ListFlags(StoreFlags):
    """Which model, and how to answer."""

    json: bool = False
    """Answer in JSON."""


@dataclass(frozen=True, kw_only=True)
class ShowFlags(ListFlags):
    """Which version."""

    version: tyro.conf.Positional[str]
    """Its number, or live, or previous."""


@dataclass(frozen=True, kw_only=True)
class PromoteFlags(ListFlags):
    """Which model is to be live, and why."""

    model: tyro.conf.Positional[str]
    """A version, previous, the name of a run, or the id of a Model artifact."""
    because: str
    """The reason, for the history."""


@dataclass(frozen=True, kw_only=True)
class RollbackFlags(ListFlags):
    """What to restore, and why."""

    version: tyro.conf.Positional[str | None] = None
    """The version to restore; `previous` if not given."""
    because: str
    """The reason, for the history."""


@dataclass(frozen=True, kw_only=True)
class DeleteFlags(ListFlags):
    """Which version to delete."""

    version: tyro.conf.Positional[str]
    """Its number."""
    because: str = ""
    """The reason, for the history."""


def models(arguments: list[str]) -> int:
    """List the model's versions; show, promote, roll back to or delete one."""
    action, *rest = arguments or ["list"]
    if action.startswith("--") and action != "--help":
        action, rest = "list", arguments
    if action not in ACTIONS:
        return answer_without_action("models", action, ACTIONS)
    kind, do = ACTIONS[action]
    flags = tyro.cli(
        kind,
        prog=f"throughline models {action}",
        args=rest,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return do(flags)


def _list(flags: ListFlags) -> int:
    registry = _registry(flags)
    if flags.json:
        _say_json(registry.to_json())
        return EXIT_DONE
    rows = [_TITLES, *_rows(registry)]
    say("\n".join(_aligned(rows)))
    return EXIT_DONE


def _show(flags: ShowFlags) -> int:
    registry = _registry(flags)
    number = registry.number(flags.version)
    found = registry.describe(number)
    found["path"] = str(registry.base / str(number))
    found["damage"] = versions.version_of(registry.base, number).damage(_memory(flags))
    if flags.json:
        _say_json(found)
        return EXIT_DONE
    say("\n".join(_aligned(list(_facts(found)))))
    return EXIT_DONE


def _card(flags: ShowFlags) -> int:
    registry = _registry(flags)
    number = registry.number(flags.version)
    text = _card_of(flags.config(), registry, number)
    if flags.json:
        _say_json({"version": number, "markdown": text})
    else:
        say(text.rstrip("\n"))
    return EXIT_DONE


def _card_of(config: settings.Config, registry: Registry, number: int) -> str:
    """Makes the card from the metadata store, or reads the one that was stored."""
    from ml_metadata.errors import StatusError

    from pipeline.lineage import card
    from pipeline.lineage.query import open_lineage

    try:
        return card.markdown(open_lineage(config), registry, number)
    except (ThroughlineError, StatusError, OSError):
        return card.stored(registry.base, number)


def _promote(flags: PromoteFlags) -> int:
    config, author = flags.config(), _author(_reason(flags.because))
    base = config.serving_directory
    registry = history.read(base)
    if flags.model in {"live", "previous"} or _is_version(registry, flags.model):
        number = registry.number(flags.model)
        change = changes.promote_version(base, number, author, _memory(flags))
    else:
        change = _promote_artifact(config, flags.model, author)
    return _answer(flags, change, "promoted as")


def _promote_artifact(config: settings.Config, asked: str, author: Author) -> Change:
    """Promotes the model of a run or of an artifact, from the run's own files."""
    from pipeline.columnar import files
    from pipeline.lineage.query import open_lineage
    from pipeline.store import artifact_files, upkeep

    lineage = open_lineage(config)
    model = lineage.model(asked)
    (artifact,) = lineage.graph.store.get_artifacts_by_id([model.artifact])
    place = artifact_files.location(model.uri)
    if place is None or not upkeep.is_whole(lineage.graph.store, artifact.id):
        raise UsageError(
            f"the files of model {model.artifact} in {model.uri} are gone or "
            "incomplete; train it again, or promote another one"
        )
    origin = versions.identity(
        model.artifact, model.uri, artifact.create_time_since_epoch
    )
    with files.local_copy(place) as copy:
        saved = versions.saved_model_in(Path(copy))
        return changes.promote_model(saved, config.serving_directory, origin, author)


def _rollback(flags: RollbackFlags) -> int:
    base = flags.config().serving_directory
    number = history.read(base).number(flags.version) if flags.version else None
    author = _author(_reason(flags.because))
    change = changes.rollback(base, number, author, _memory(flags))
    return _answer(flags, change, "rolled back: its model is restored as")


def _delete(flags: DeleteFlags) -> int:
    base = flags.config().serving_directory
    number = history.read(base).number(flags.version)
    change = changes.delete(base, number, _author(flags.because))
    return _answer(flags, change, "deleted version")


ACTIONS: dict[str, tuple[Any, Callable[[Any], int]]] = {
    "list": (ListFlags, _list),
    "show": (ShowFlags, _show),
    "card": (ShowFlags, _card),
    "promote": (PromoteFlags, _promote),
    "rollback": (RollbackFlags, _rollback),
    "delete": (DeleteFlags, _delete),
}


def _answer(flags: ListFlags, change: Change, done: str) -> int:
    """Prints what a change did, then records it in the metadata store."""
    registry = _registry(flags)
    if flags.json:
        _say_json(
            {
                "version": change.version,
                "changed": change.made,
                "note": change.note,
                "live": registry.live,
                "previous": registry.previous,
            }
        )
    else:
        said = [f"{done} {change.version}"] if change.made else []
        noted = [change.note[:1].upper() + change.note[1:]] if change.note else []
        live = f"live is {registry.base / str(registry.live)}"
        say("\n".join([*said, *noted, live]))
    sys.stdout.flush()
    if change.made and (problem := _record(flags.config(), registry)):
        sys.stderr.write(printable(f"throughline: {problem}\n"))
    return EXIT_DONE


def _record(config: settings.Config, registry: Registry) -> str:
    """Records the history in the metadata store, and what that has on a new model.

    Returns:
        What is not recorded and why, as a sentence; empty if all is.
    """
    from ml_metadata.errors import StatusError
    from ml_metadata.metadata_store.metadata_store import MetadataStore

    from pipeline.lineage import registered
    from pipeline.lineage.query import open_lineage
    from pipeline.registry import recording
    from pipeline.store.connection import existing_store

    try:
        if registry.live in registry.facts:
            # Does not read the whole store, as lineage does.
            store = MetadataStore(existing_store(config.metadata_url))
            recording.record(store, config.name, registry)
        else:
            registered.synchronize(open_lineage(config))
    except (ThroughlineError, StatusError, OSError) as error:
        return (
            "it is done, and not yet recorded in the metadata store; the next push or "
            f"change records it. {cause_of(error)}"
        )
    return ""


def _registry(flags: ListFlags) -> Registry:
    base = flags.config().serving_directory
    if not base.is_dir():
        raise UsageError(
            f"there is no model in {base}; a run that ends with 0 pushes one, and "
            "--output or --name name another"
        )
    return history.read(base)


def _is_version(registry: Registry, asked: str) -> bool:
    return asked.isdecimal() and int(asked) in registry.numbers


def _memory(flags: ListFlags) -> Any:
    return flags.output.absolute() / digests.MEMORY_FILE


def _reason(because: str) -> str:
    if not because.strip():
        raise UsageError("because is empty; give the reason, which the history keeps")
    return because


def _author(because: str) -> Author:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"user {os.getuid()}"  # As in a container, without an entry.
    return Author(by=user, because=because)


_TITLES = ("version", "", "live from", "to", "by", "metric", "run", "because")


def _rows(registry: Registry) -> Iterator[Sequence[str]]:
    """Yields a row per version and period, newest last; those of deleted ones too."""
    for number, event in sorted(registry.added.items()):
        found = registry.facts.get(number, {})
        title, value = titles.main(found.get("metrics", {}))
        aliases = {"live": registry.live, "previous": registry.previous}
        names = [name for name, holder in aliases.items() if holder == number]
        if number not in registry.numbers:
            names = ["deleted"]
        for period in registry.periods.get(number, ()):
            yield (
                str(number),
                " ".join(names),
                _time(period.since),
                _time(period.until) if period.until else "now",
                event.action.value,
                f"{title} {value:.4f}" if value is not None else _NONE,
                found.get("run") or event.run or _NONE,
                event.because,
            )


def _facts(found: dict[str, Any]) -> Iterator[Sequence[str]]:
    """Yields the lines about a version, as name and value."""
    facts = found["facts"]
    yield "version", " ".join([str(found["version"]), *found["aliases"]])
    yield "path", found["path"]
    yield "files", found["damage"] or "as pushed"
    for period in found["live"]:
        until = _time(period["to"]) if period["to"] else "now"
        yield "live", f"{_time(period['from'])} to {until}"
    for name in ("action", "by", "because", "restored", "replaced"):
        if name in found:
            yield name, str(found[name])
    yield "run", facts.get("run", _NONE)
    for data in facts.get("data", ()):
        rows = ", ".join(f"{n:,} {split}" for split, n in data["rows"].items())
        spans = ", ".join(map(str, data["spans"]))
        yield "data", "; ".join(filter(None, [rows, spans and f"spans {spans}"]))
        for file in data["files"]:
            yield "", f"{file['path']} sha256 {file['sha256'][:12]}"
    for node, code in facts.get("code", {}).items():
        yield "code", f"{node} {code[:12]}"
    for name, value in facts.get("metrics", {}).items():
        yield "metric", f"{name} {value:.6g}"


def _time(text: str) -> str:
    return text[:19].replace("T", " ")


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _say_json(values: dict[str, Any]) -> None:
    say(json.dumps(values, indent=1, ensure_ascii=False))
