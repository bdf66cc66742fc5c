"""The registry of a model: which version is live, since when, and who decided it.

`registry.json` is next to the versions. It holds an append-only history of events, and
a summary computed from it, which a server can follow without the metadata store. Each
version carries the event that made it live, in the directory that one rename publishes.
So the directories decide: whoever reads the registry adds what is on disk and not yet
in the file, as after a crash between the two renames.
"""

import dataclasses
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.registry import versions
from pipeline.store import clock, durable

_LOG = logging.getLogger(__name__)

REGISTRY_FILE = "registry.json"
FORMAT = 1
_SHOWN = 5

Facts = Mapping[str, Any]


class Action(StrEnum):
    """What happened to a version."""

    PUSH = "push"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    DELETE = "delete"
    FOUND = "found"
    """Someone else put it into the directory."""
    GONE = "gone"
    """Someone else removed it from the directory."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a version.

    Attributes:
        at: When, ISO 8601 in UTC.
        action: What.
        version: The version that was added or removed.
        by: Who or what did it: a user, or a run.
        because: The reason, as the user gave it.
        run: The run that pushed it; empty if none did.
        replaced: The version that was live before; `None` if none was.
        restored: The earlier version whose files these are; `None` for a new model.
        origin: The Model artifact, see `versions.identity`; empty if unknown.
        content: Digest of the model, see `versions.Version.content`.
    """

    at: str
    action: Action
    version: int
    by: str = ""
    because: str = ""
    run: str = ""
    replaced: int | None = None
    restored: int | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    content: str = ""

    @property
    def adds(self) -> bool:
        """Whether the version is there since."""
        return self.action not in {Action.DELETE, Action.GONE}

    def is_of(self, origin: Mapping[str, Any], content: str) -> bool:
        """Whether its model is the same artifact, or has the same contents."""
        same = versions.is_same_model(self.origin, origin)
        return same or bool(content and content == self.content)

    def to_json(self) -> dict[str, Any]:
        """Returns its values that aren't empty."""
        values = dataclasses.asdict(self)
        return {n: v for n, v in values.items() if v not in (None, "", {})}


@dataclass(frozen=True)
class Period:
    """When a version was live: ISO 8601 in UTC; `until` is `None` if it still is."""

    since: str
    until: str | None = None


@dataclass(frozen=True)
class Registry:
    """The versions of a model and their history.

    Attributes:
        base: The model's serving directory.
        numbers: The versions that are there, ascending.
        events: The history, oldest first.
        facts: Run, data, code and metrics of a version's model, if they were noted.
    """

    base: Path
    numbers: tuple[int, ...]
    events: tuple[Event, ...]
    facts: Mapping[int, Facts] = field(default_factory=dict)

    @property
    def live(self) -> int | None:
        """The live version; `None` if there is no version."""
        # Not from the history: a server that reads only the directory must agree.
        return max(self.numbers, default=None)

    @property
    def previous(self) -> int | None:
        """The version that a rollback restores; `None` if there is none."""
        return next(self.earlier(), None)

    @cached_property
    def added(self) -> Mapping[int, Event]:
        """The event that added each version, those of deleted versions too."""
        return {event.version: event for event in self.events if event.adds}

    @cached_property
    def periods(self) -> Mapping[int, tuple[Period, ...]]:
        """When each version was live, oldest first."""
        # Replayed, so that it is known of deleted versions too.
        found: dict[int, list[Period]] = {}
        there: set[int] = set()
        live: int | None = None
        for event in self.events:
            (there.add if event.adds else there.discard)(event.version)
            now = max(there, default=None)
            if now == live:
                continue
            if live is not None:
                begun = found[live].pop()
                found[live].append(Period(begun.since, event.at))
            if now is not None:
                found.setdefault(now, []).append(Period(event.at))
            live = now
        return {number: tuple(each) for number, each in found.items()}

    def number(self, asked: str) -> int:
        """Returns a version by its number, or by the alias live or previous.

        Raises:
            UsageError: There is no such version.
        """
        aliases = {"live": self.live, "previous": self.previous}
        found = int(asked) if asked.isdecimal() else aliases.get(asked)
        if found is None or found not in self.numbers:
            known = ", ".join(map(str, self.numbers[-_SHOWN:])) or "none"
            names = " and ".join(name for name, held in aliases.items() if held)
            named = f", also by the names {names}" if names else ""
            raise UsageError(
                f"there is no version {asked!r} in {self.base}; there are "
                f"{known}{named}"
            )
        return found

    def earlier(self) -> Iterator[int]:
        """Yields the versions to roll back to, the latest first.

        Starts before the live model, and goes on before each of these. A version that a
        rollback has restored counts as the one whose files it has: rolling back twice
        goes two models back, not forth again.
        """
        number = self.live
        now = self.added.get(number) if number is not None else None
        seen: set[int] = set()
        while number is not None and number not in seen:
            seen.add(number)
            event = self.added.get(self._line(number))
            number = event.replaced if event else None
            if number is None:
                return
            # Retention may have deleted the copy, and kept the version it was made of.
            there = [n for n in (number, self._line(number)) if n in self.numbers]
            same = now and self._is_same(now, number)
            if there and not same:
                yield there[0]

    def withdrawn(self, origin: Mapping[str, Any], content: str) -> Event | None:
        """Returns the rollback that took a model out of serving, if it still holds.

        Args:
            origin: The model's origin, see `versions.identity`.
            content: Digest of the model, see `versions.Version.content`.
        """
        found: Event | None = None
        for event in self.events:
            if not event.adds:
                continue
            before = self.added.get(event.replaced or 0)
            # Pushed or promoted once more since the rollback, which no longer holds.
            if event.is_of(origin, content):
                found = None
            elif event.action is Action.ROLLBACK and before:
                found = event if before.is_of(origin, content) else found
        return found

    def needed(self, keep: int) -> set[int]:
        """Returns the versions that retention must not delete.

        Args:
            keep: Number of the newest versions to keep, including the live one.
        """
        newest = set(self.numbers[-keep:])
        return newest | {n for n in (self.live, self.previous) if n is not None}

    def with_event(self, event: Event) -> "Registry":
        """Returns the registry after an event."""
        numbers = {*self.numbers, event.version} if event.adds else set(self.numbers)
        if not event.adds:
            numbers.discard(event.version)
        facts = dict(self.facts)
        if event.restored in facts:
            facts[event.version] = facts[event.restored]
        return Registry(self.base, tuple(sorted(numbers)), (*self.events, event), facts)

    def to_json(self) -> dict[str, Any]:
        """Returns the contents of `registry.json`."""
        return {
            "format": FORMAT,
            "model": self.base.name,
            "live": self.live,
            "previous": self.previous,
            "versions": [self.describe(number) for number in self.numbers],
            "history": [event.to_json() for event in self.events],
        }

    def describe(self, number: int) -> dict[str, Any]:
        """Returns what is known of a version, as JSON values."""
        aliases = {"live": self.live, "previous": self.previous}
        event = self.added[number]
        return {
            "version": number,
            "aliases": [name for name, holder in aliases.items() if holder == number],
            "live": [
                {"from": period.since, "to": period.until}
                for period in self.periods.get(number, ())
            ],
            **{n: v for n, v in event.to_json().items() if n != "version"},
            "facts": dict(self.facts.get(number, {})),
        }

    def _line(self, number: int) -> int:
        """Follows rollbacks to the version that they restored."""
        event = self.added.get(number)
        while event and event.action is Action.ROLLBACK and event.restored:
            if event.restored >= number:
                break  # Only an edited file says so; it must not make this endless.
            number = event.restored
            event = self.added.get(number)
        return number

    def _is_same(self, event: Event, number: int) -> bool:
        other = self.added.get(number)
        return bool(other and event.is_of(other.origin, other.content))


def now() -> str:
    """Returns the time as events have it."""
    return clock.now().isoformat(timespec="milliseconds")


def read(base: Path) -> Registry:
    """Reads the registry of a model; takes no lock, and works at any moment.

    Args:
        base: The model's serving directory.

    Returns:
        The registry, with what is on disk and not yet in the file.
    """
    stored = versions.read_json(base / REGISTRY_FILE)
    # After the file: a version that is published in between is added as an event.
    numbers = tuple(versions.versions(base))
    events = tuple(_events_in(stored))
    there = Registry(base, (), events)
    # A kill between the renames, or a person with `cp` and `rm`, leaves these apart.
    present = _present(events)
    missed = sorted(
        [
            *(_event_of(there, number) for number in set(numbers) - present),
            *(_gone(base, number) for number in present - set(numbers)),
        ],
        key=lambda event: (event.at, event.version),
    )
    facts = {
        int(entry["version"]): entry["facts"]
        for entry in stored.get("versions", ())
        if entry.get("facts")
    }
    return Registry(base, numbers, (*events, *missed), facts)


def best(registry: Registry, count: int, metric: str = "auc") -> int | None:
    """Returns the version with the highest metric of those that were live last.

    A model that was rolled back doesn't count, whatever its metrics were, nor do those
    before a promotion: the user has decided that a model is to be live that may be
    worse than these, and later ones are to be compared with it.

    Args:
        registry: The registry.
        count: How many of the newest models count, the live one among them.
        metric: Name of a metric in `Registry.facts`.

    Returns:
        A version that holds it; `None` if the metric is known of none.
    """
    # By contents: a model that was restored five times must not fill all places.
    newest: dict[str, int] = {}
    for number in reversed(registry.numbers):
        event = registry.added[number]
        key = event.content or str(number)
        if len(newest) == count and key not in newest:
            break
        if registry.withdrawn(event.origin, event.content) is None:
            newest.setdefault(key, number)
            if event.action is Action.PROMOTE:
                break
    known = {
        number: value
        for number in newest.values()
        for value in [registry.facts.get(number, {}).get("metrics", {}).get(metric)]
        if value is not None
    }
    # Of equal models the newest, whose files retention keeps longest.
    return max(known, key=lambda number: (known[number], number), default=None)


def staged(registry: Registry) -> Path:
    """Writes the registry to a temporary file.

    The caller holds the lock, and renames the file to `REGISTRY_FILE`.
    """
    _set_damaged_aside(registry.base / REGISTRY_FILE)
    text = json.dumps(registry.to_json(), indent=1, ensure_ascii=False) + "\n"
    part = registry.base / f".{REGISTRY_FILE}.part"
    # Readable by others: a model server may run as another user.
    return durable.stage(part, text, mode=0o644)


def note_facts(base: Path, facts: Mapping[int, Facts]) -> None:
    """Adds facts about versions to the registry.

    Args:
        base: The model's serving directory.
        facts: JSON values by version.
    """
    with versions.exclusive(base):
        found = read(base)
        staged(dataclasses.replace(found, facts={**found.facts, **facts})).replace(
            base / REGISTRY_FILE
        )


def _events_in(stored: Mapping[str, Any]) -> Iterator[Event]:
    for values in stored.get("history", ()):
        yield _event(values)


def _event(values: Mapping[str, Any]) -> Event:
    known = {each.name for each in dataclasses.fields(Event)}
    # A newer version of Throughline may have written more.
    given = {name: value for name, value in values.items() if name in known}
    return Event(**{**given, "action": Action(given["action"])})


def _present(events: Iterable[Event]) -> set[int]:
    present: set[int] = set()
    for event in events:
        (present.add if event.adds else present.discard)(event.version)
    return present


def _event_of(registry: Registry, number: int) -> Event:
    """Returns the event that added a version which the file doesn't have."""
    version = versions.version_of(registry.base, number)
    values = versions.read_json(version.path / versions.EVENT_FILE)
    # Another number's event is in a directory that someone has copied.
    if values.get("version") == number:
        return _event(values)
    origin = version.origin()
    before = [n for n in versions.versions(registry.base) if n < number]
    return Event(
        at=_changed(version.path),
        # Early versions of Throughline wrote an origin and no event.
        action=Action.PUSH if origin and not values else Action.FOUND,
        version=number,
        replaced=max(before, default=None),
        origin=origin,
        content=version.content(),
    )


def _gone(base: Path, number: int) -> Event:
    return Event(_changed(base), Action.GONE, number)


def _changed(path: Path) -> str:
    """Returns when a directory's entries changed last; now if it is gone."""
    try:
        seconds = path.stat().st_mtime
    except OSError:
        return now()
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _set_damaged_aside(path: Path) -> None:
    """Keeps a registry file that can't be read, before it is written again."""
    if path.is_file() and not versions.read_json(path):
        aside = path.with_name(f"{path.name}.damaged-{os.getpid()}")
        path.rename(aside)
        _LOG.warning(
            "%s couldn't be read and is now %s; the history begins again with the "
            "versions that are there",
            path,
            aside,
        )
