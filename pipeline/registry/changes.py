"""Changes of what is live: push, promote, roll back, delete.

Each change holds the lock of the serving directory, prepares everything under names
that servers ignore, and takes effect with one rename. A kill or a full disk before the
rename changes nothing. After it, the history is completed from the new version itself.
"""

import dataclasses
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ThroughlineError, UsageError
from pipeline.registry import history, versions
from pipeline.registry.history import Action, Event, Registry
from pipeline.registry.versions import Version
from pipeline.store import clock, durable

RETENTION = "retention"
_SHOWN = 5


@dataclass(frozen=True)
class Author:
    """Who or what makes a change.

    Attributes:
        by: A user's name, or what started the run.
        because: The reason, if there is one besides the verdict.
        run: Name of the run; empty if none.
    """

    by: str = ""
    because: str = ""
    run: str = ""


@dataclass(frozen=True)
class Change:
    """The result of a change.

    Attributes:
        version: The version that holds the model; `None` if the model is not live.
        note: What else there is to know, as a sentence; empty if nothing.
        made: Whether anything has changed.
    """

    version: int | None
    note: str = ""
    made: bool = True


NOBODY = Author()


def push_unless_live(
    model: Path, base: Path, origin: Mapping[str, Any], author: Author = NOBODY
) -> Change:
    """Pushes a model, unless it is live already, or was rolled back.

    A model with the contents of the live one is live, whichever run has trained it.

    Args:
        model: Directory of a SavedModel.
        base: The model's serving directory; created if it does not exist.
        origin: The model's origin, see `versions.identity`.
        author: Who pushes it.

    Raises:
        ThroughlineError: The highest possible version number is taken.
    """
    with _changing(base) as registry:
        if held := _held_back(registry, model, origin):
            return Change(None, held, made=False)
        return _push_unless_live(registry, model, origin, author, Action.PUSH)


def push(
    model: Path, base: Path, origin: Mapping[str, Any], author: Author = NOBODY
) -> int:
    """Pushes a model as the newest version, whatever is live.

    Args:
        model: Directory of a SavedModel.
        base: The model's serving directory; created if it does not exist.
        origin: The model's origin, see `versions.identity`.
        author: Who pushes it.

    Returns:
        The version: seconds since 1970, or one more than the highest version that ever
        was, if that is higher.

    Raises:
        ThroughlineError: The highest possible version number is taken.
    """
    with _changing(base) as registry:
        return _push(registry, model, origin, author, Action.PUSH)


def promote_model(
    model: Path, base: Path, origin: Mapping[str, Any], author: Author
) -> Change:
    """Makes a model live that is in no version, such as one that wasn't blessed.

    Args:
        model: Directory of a SavedModel.
        base: The model's serving directory; created if it does not exist.
        origin: The model's origin, see `versions.identity`.
        author: Who promotes it, with the reason.

    Raises:
        UsageError: It is not a SavedModel.
        ThroughlineError: The highest possible version number is taken.
    """
    if not (model / versions.MODEL_FILE).is_file():
        raise UsageError(
            f"{model} has no {versions.MODEL_FILE}, so it can't be served; train the "
            "model again"
        )
    with _changing(base) as registry:
        return _push_unless_live(registry, model, origin, author, Action.PROMOTE)


def promote_version(
    base: Path, number: int, author: Author, memory: Path | None = None
) -> Change:
    """Makes an earlier version's model live again, as a new version.

    Unlike after `rollback`, the model that was live may be pushed again by a run.

    Args:
        base: The model's serving directory.
        number: The version.
        author: Who promotes it, with the reason.
        memory: File that caches digests; see `digests.sha256_of`.

    Raises:
        UsageError: There is no such version, or its files are damaged.
    """
    with _changing(base, existing=True) as registry:
        return _restore(registry, number, author, Action.PROMOTE, memory)


def rollback(
    base: Path, number: int | None, author: Author, memory: Path | None = None
) -> Change:
    """Makes an earlier version live again; its files are linked, not copied.

    The model that was live counts as withdrawn: `push_unless_live` refuses it until it
    is promoted.

    Args:
        base: The model's serving directory.
        number: The version to restore; the newest undamaged one that was live before
            the live model if not given.
        author: Who rolls back, with the reason.
        memory: File that caches digests; see `digests.sha256_of`.

    Raises:
        UsageError: There is no such version, or its files are damaged.
    """
    with _changing(base, existing=True) as registry:
        if number is not None:
            return _restore(registry, number, author, Action.ROLLBACK, memory)
        # A damaged version must not keep a rollback from the next one that is whole.
        damaged: list[str] = []
        for earlier in registry.earlier():
            version = versions.version_of(base, earlier)
            if not (found := version.damage(memory)):
                change = _restore(registry, earlier, author, Action.ROLLBACK, memory)
                return dataclasses.replace(change, note=" ".join(damaged))
            damaged.append(f"Version {earlier} was skipped: {found}.")
        raise UsageError(
            " ".join([_no_earlier(registry), *damaged, *_by_number(registry)])
        )


def delete(base: Path, number: int, author: Author) -> Change:
    """Deletes a version.

    Raises:
        UsageError: There is no such version, or it is live.
    """
    with _changing(base, existing=True) as registry:
        _require(registry, number)
        if number == registry.live:
            raise UsageError(
                f"version {number} is live and can't be deleted; `throughline models "
                "rollback` or `promote` makes another one live first"
            )
        _delete(registry, number, author)
        return Change(number)


def disposable(base: Path, keep: int) -> list[Version]:
    """Returns the versions that can be deleted.

    Args:
        base: The model's serving directory.
        keep: Number of the newest versions to keep, including the live one; at least 1.

    Returns:
        The others that were pushed by us, oldest first; never the live one, nor the one
        that a rollback restores.
    """
    registry = history.read(base)
    kept = registry.needed(keep)
    old = [versions.version_of(base, n) for n in registry.numbers if n not in kept]
    return [version for version in old if version.origin()]


def free(base: Path, old: Collection[Version]) -> None:
    """Deletes versions, unless one of them is needed by now.

    Also deletes the partial copies that a killed change has left.
    """
    if not base.is_dir():
        return
    with _changing(base):
        for version in old:
            registry = history.read(base)
            is_needed = version.number in registry.needed(keep=1)
            if version.number in registry.numbers and not is_needed:
                _delete(registry, version.number, Author(by=RETENTION))


@contextmanager
def _changing(base: Path, *, existing: bool = False) -> Iterator[Registry]:
    """Locks a serving directory, and removes what is left of an unfinished change."""
    if existing and not base.is_dir():
        raise UsageError(
            f"there is no model in {base}; a run that ends with 0 pushes one, and "
            "--output or --name name another"
        )
    base.mkdir(parents=True, exist_ok=True)
    with versions.exclusive(base):
        versions.remove_partial_copies(base)
        try:
            yield history.read(base)
        except BaseException:
            # Such as a full disk: what was begun would only take up more of it.
            versions.remove_partial_copies(base)
            raise


def _push_unless_live(
    registry: Registry,
    model: Path,
    origin: Mapping[str, Any],
    author: Author,
    action: Action,
) -> Change:
    note = ""
    # By contents too: the same training once more gives the same model.
    content = versions.content_of(versions.contents_of(model))
    if registry.live is not None:
        now = versions.version_of(registry.base, registry.live)
        is_live = (
            versions.is_same_model(now.origin(), origin) or content == now.content()
        )
        damage = now.damage() if is_live else ""
        if is_live and not damage:
            return Change(
                now.number,
                f"it was live already as version {now.number}; nothing was pushed",
                made=False,
            )
        if damage:
            note = f"version {now.number} is damaged ({damage}); its model was pushed"
    # A, then B, then A from the cache: A is live again, and the user is told that.
    before = [n for n, e in registry.added.items() if e.is_of(origin, content)]
    if before and not note:
        note = f"the model of version {before[-1]} is back; it was pushed"
    version = _push(registry, model, origin, author, action)
    return Change(version, f"{note} again as {version}" if note else "")


def _push(
    registry: Registry,
    model: Path,
    origin: Mapping[str, Any],
    author: Author,
    action: Action,
) -> int:
    _next_number(registry)
    partial = versions.copied(model, registry.base, origin)
    stored = versions.read_json(partial / versions.CONTENTS_FILE)
    event = _event(action, author, origin, versions.content_of(stored))
    return _publish(registry, partial, event)


def _restore(
    registry: Registry,
    number: int,
    author: Author,
    action: Action,
    memory: Path | None,
) -> Change:
    _require(registry, number)
    if number == registry.live or _is_live_again(registry, number, memory):
        return Change(
            registry.live,
            f"the model of version {number} is live already, as {registry.live}"
            if number != registry.live
            else f"version {number} is live already",
            made=False,
        )
    # Checked before it is live: afterwards a server would already load it.
    version = versions.version_of(registry.base, number)
    if damage := version.damage(memory):
        raise UsageError(
            f"version {number} can't be served: {damage}; choose another one, or "
            "promote the model that it was pushed from, by the name of its run"
        )
    known = registry.added[number]
    # A new number for old files: servers load the highest number, and nothing else.
    event = _event(action, author, known.origin, known.content)
    partial = versions.linked(version)
    made = _publish(registry, partial, dataclasses.replace(event, restored=number))
    return Change(made)


def _event(
    action: Action, author: Author, origin: Mapping[str, Any], content: str
) -> Event:
    """Returns the event of a new version, without its number."""
    return Event(
        at=history.now(),
        action=action,
        version=0,
        by=author.by,
        because=author.because,
        run=author.run,
        origin=dict(origin),
        content=content,
    )


def _publish(registry: Registry, partial: Path, event: Event) -> int:
    """Makes a partial version live, with the event that is stored in it.

    Returns:
        Its number.
    """
    number = _next_number(registry)
    event = dataclasses.replace(event, version=number, replaced=registry.live)
    versions.write_json(partial / versions.EVENT_FILE, event.to_json())
    versions.make_durable(partial)
    # Written before the version is live: afterwards the disk could be full.
    staged = history.staged(registry.with_event(event))
    partial.rename(registry.base / str(number))
    staged.replace(registry.base / history.REGISTRY_FILE)
    durable.force_to_disk(registry.base)
    return number


def _delete(registry: Registry, number: int, author: Author) -> None:
    event = Event(
        history.now(), Action.DELETE, number, by=author.by, because=author.because
    )
    # In the order of `_publish`: staged while it can fail, then renames only.
    staged = history.staged(registry.with_event(event))
    aside = versions.set_aside(versions.version_of(registry.base, number))
    staged.replace(registry.base / history.REGISTRY_FILE)
    durable.force_to_disk(registry.base)
    shutil.rmtree(aside)


def _next_number(registry: Registry) -> int:
    """Returns the next version: a server may still have loaded a deleted one."""
    # A version with the highest number leaves no room; one that is gone is forgotten.
    used = [n for n in registry.added if n != versions.HIGHEST]
    newest = max([*registry.numbers, *used], default=0)
    if newest == versions.HIGHEST:
        raise ThroughlineError(
            f"nothing was pushed: {registry.base / str(newest)} has the highest "
            "version number that a model server reads; remove it or give it a lower "
            "number"
        )
    # Seconds tell when a version was pushed; + 1 holds if the clock was set back.
    return max(int(clock.now().timestamp()), newest + 1)


def _held_back(registry: Registry, model: Path, origin: Mapping[str, Any]) -> str:
    """Returns why a model must not be pushed; empty if it may."""
    if not any(event.action is Action.ROLLBACK for event in registry.events):
        return ""
    # By contents too: a run that trains the withdrawn model once more has a new origin.
    content = versions.content_of(versions.contents_of(model))
    event = registry.withdrawn(origin, content)
    if event is None:
        return ""
    who = f" by {event.by}" if event.by else ""
    return (
        f"this model was live as version {event.replaced} and was rolled back "
        f"{event.at[:19]} UTC{who}: {event.because or 'no reason given'}; version "
        f"{registry.live} stays live. `throughline models promote {event.replaced} "
        "--because TEXT` makes it live again"
    )


def _is_live_again(registry: Registry, number: int, memory: Path | None) -> bool:
    """Whether the live version holds an earlier version's model, undamaged."""
    if registry.live is None:
        return False
    live, event = registry.added[registry.live], registry.added[number]
    now = versions.version_of(registry.base, registry.live)
    return live.is_of(event.origin, event.content) and not now.damage(memory)


def _require(registry: Registry, number: int) -> None:
    if number not in registry.numbers:
        raise UsageError(
            f"there is no version {number}; {_known(registry, 'a version')}"
        )


def _no_earlier(registry: Registry) -> str:
    if registry.live is None:
        return f"No version is live in {registry.base}."
    return f"Nothing can be restored: no other model was live before {registry.live}."


def _by_number(registry: Registry) -> Iterator[str]:
    """Yields advice if there are versions beside the live one."""
    others = [number for number in registry.numbers if number != registry.live]
    if others:
        newest = ", ".join(map(str, others[-_SHOWN:]))
        yield f"To restore another version, give its number: {newest}."


def _known(registry: Registry, what: str) -> str:
    newest = ", ".join(map(str, registry.numbers[-_SHOWN:])) or "none"
    return f"give {what}: {newest}"
