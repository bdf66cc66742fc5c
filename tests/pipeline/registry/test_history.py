"""The registry of versions: what it reads from disk, and what it computes."""

import json
import os
import shutil
from pathlib import Path

import pytest

from pipeline.registry import history
from pipeline.registry.changes import (
    Author,
    delete,
    promote_model,
    promote_version,
    push,
    rollback,
)
from pipeline.registry.history import Action, Event, Period, Registry
from pipeline.registry.versions import identity
from tests.pipeline.registry.saved_models import FILES, named, write

ME = Author(by="me", because="a test")


def _pushed(tmp_path: Path, base: Path, names: str) -> list[int]:
    return [
        push(named(tmp_path, name), base, identity(ord(name), f"/m/{name}", 7), ME)
        for name in names
    ]


def test_the_file_is_for_servers(tmp_path: Path, base: Path) -> None:
    """It has what is live and previous and the history, and others may read it."""
    a, b = _pushed(tmp_path, base, "ab")

    file = base / "registry.json"
    stored = json.loads(file.read_text())

    assert (stored["model"], stored["live"], stored["previous"]) == ("taxi", b, a)
    assert [entry["aliases"] for entry in stored["versions"]] == [
        ["previous"],
        ["live"],
    ]
    assert [entry["live"][0]["to"] is None for entry in stored["versions"]] == [
        False,
        True,
    ]
    assert [event["action"] for event in stored["history"]] == ["push", "push"]
    assert stored["history"][1]["replaced"] == a
    assert stored["versions"][1]["origin"] == identity(ord("b"), "/m/b", 7)
    assert file.stat().st_mode & 0o444 == 0o444


def test_what_the_file_lacks_comes_from_the_versions(
    tmp_path: Path, base: Path
) -> None:
    """After a kill between the two renames, the version itself tells what happened."""
    _pushed(tmp_path, base, "ab")
    file = base / "registry.json"
    before = file.read_text()
    rollback(base, None, ME)
    after = history.read(base)
    file.write_text(before)

    found = history.read(base)

    assert found.events == after.events
    assert found.live == after.live


def test_without_the_file_the_history_is_that_of_the_versions(
    tmp_path: Path, base: Path
) -> None:
    """A registry that is lost or unreadable is made again; a damaged one is kept."""
    _pushed(tmp_path, base, "ab")
    before = history.read(base)
    (base / "registry.json").write_text("{")

    found = history.read(base)
    push(named(tmp_path, "c"), base, {})

    assert found.events == before.events
    assert [e.version for e in history.read(base).events[:2]] == list(found.numbers)
    (kept,) = base.glob("registry.json.damaged-*")
    assert kept.read_text() == "{"


def test_versions_of_others_are_found_and_missed(tmp_path: Path, base: Path) -> None:
    """A version that is put there or removed by hand is in the history, unexplained."""
    a, b = _pushed(tmp_path, base, "ab")
    theirs = write(base / str(b + 100), FILES)
    (base / str(a)).rename(tmp_path / "removed")
    os.utime(base)

    registry = history.read(base)

    added = registry.events[2:]
    assert {(event.action, event.version) for event in added} == {
        (Action.FOUND, b + 100),
        (Action.GONE, a),
    }
    assert registry.live == int(theirs.name)
    assert registry.previous == b


def test_a_copied_version_is_found(tmp_path: Path, base: Path) -> None:
    """A copy of a version's directory is one that others put there, and no event."""
    a, b = _pushed(tmp_path, base, "ab")
    shutil.copytree(base / str(a), base / str(b + 100))

    found = history.read(base)

    assert (found.live, found.previous) == (b + 100, b)
    assert found.added[b + 100].action is Action.FOUND
    rollback(base, None, ME)
    assert history.read(base).added[b + 101].restored == b


def test_a_version_from_before_the_registry_is_a_push(model: Path, base: Path) -> None:
    """Early versions have an origin and no event."""
    origin = {"assets.extra/origin.json": json.dumps(identity(1, "/m/1", 7))}
    write(base / "5", FILES | origin)
    write(base / "9", FILES | origin)

    events = history.read(base).events

    assert [(e.action, e.version, e.replaced) for e in events] == [
        (Action.PUSH, 5, None),
        (Action.PUSH, 9, 5),
    ]
    assert events[0].origin == identity(1, "/m/1", 7)


def test_periods_have_no_gap() -> None:
    """One version is live at each time; one may be live twice."""
    events = (
        Event("t1", Action.PUSH, 1),
        Event("t2", Action.PUSH, 2, replaced=1),
        Event("t3", Action.GONE, 2),
        Event("t4", Action.ROLLBACK, 3, replaced=1),
        Event("t5", Action.DELETE, 1),
    )

    registry = Registry(Path("taxi"), (3,), events)

    assert registry.periods == {
        1: (Period("t1", "t2"), Period("t3", "t4")),
        2: (Period("t2", "t3"),),
        3: (Period("t4", None),),
    }


@pytest.mark.parametrize(
    ("events", "earlier"),
    [
        ("", []),
        ("push a", []),
        ("push a, push b", [1]),
        ("push a, push b, push c", [2, 1]),
        # A restored version stands for the one that it was restored from.
        ("push a, push b, rollback a", []),
        ("push a, push b, push c, rollback b", [1]),
        ("push a, push b, rollback a, push c", [3]),
        # A promotion replaced a model that was good enough to be live.
        ("push a, push b, promote a", [2]),
        # The live model isn't restored from an earlier version of itself.
        ("push a, push b, push b", [1]),
    ],
)
def test_what_a_rollback_restores(events: str, earlier: list[int]) -> None:
    """The models that were live before, the latest first, without going forth again."""
    made: list[Event] = []
    for number, text in enumerate(filter(None, events.split(", ")), start=1):
        action, model = text.split()
        same = [e.version for e in made if e.content == model]
        made.append(
            Event(
                "t",
                Action(action),
                number,
                replaced=number - 1 or None,
                restored=None if action == "push" else same[0],
                content=model,
            )
        )

    registry = Registry(Path("taxi"), tuple(e.version for e in made), tuple(made))

    assert list(registry.earlier()) == earlier


def test_facts_go_along_with_a_rollback(tmp_path: Path, base: Path) -> None:
    """A restored version has its model's facts; what is unknown to us is kept out."""
    a, b = _pushed(tmp_path, base, "ab")
    history.note_facts(base, {a: {"run": "first"}, b: {"run": "second"}})

    restored = rollback(base, None, ME).version
    delete(base, a, ME)

    assert restored
    assert history.read(base).facts == {
        b: {"run": "second"},
        restored: {"run": "first"},
    }


def test_events_of_newer_versions_are_read(tmp_path: Path, base: Path) -> None:
    """What another version of Throughline adds to an event is no error."""
    _pushed(tmp_path, base, "a")
    file = base / "registry.json"
    stored = json.loads(file.read_text())
    stored["history"][0]["weather"] = "rain"
    file.write_text(json.dumps(stored))

    (event,) = history.read(base).events

    assert event.action is Action.PUSH


def test_the_best_of_the_last_models_is_known_by_its_metric(
    tmp_path: Path, base: Path
) -> None:
    """Of the last models, without one that was rolled back, the highest AUC counts."""
    a, b, c, d = _pushed(tmp_path, base, "abcd")
    known = {a: 0.9, b: 0.7, c: 0.8}
    history.note_facts(base, {n: {"metrics": {"auc": v}} for n, v in known.items()})
    registry = history.read(base)

    assert [history.best(registry, count) for count in (1, 2, 3, 4, 9)] == [
        # Of the newest one nothing is known yet.
        None,
        c,
        c,
        a,
        a,
    ]
    assert d == registry.live
    rollback(base, b, ME)
    history.note_facts(base, {d: {"metrics": {"auc": 0.99}}})
    assert history.best(history.read(base), 9) == a


def test_a_promotion_is_what_later_models_are_compared_with(
    tmp_path: Path, base: Path
) -> None:
    """Models that were live before it count again only if it is rolled back."""
    a, b = _pushed(tmp_path, base, "ab")
    promote_model(named(tmp_path, "c"), base, identity(1, "/m/c", 7), ME)
    worse = history.read(base).numbers[-1]
    known = {a: 0.9, b: 0.8, worse: 0.7}
    history.note_facts(base, {n: {"metrics": {"auc": v}} for n, v in known.items()})

    def best() -> int | None:
        return history.best(history.read(base), 9)

    promoted = best()
    rollback(base, None, ME)
    rolled_back = best()
    again = promote_version(base, worse, ME)
    _pushed(tmp_path, base, "d")

    assert promoted == worse
    assert rolled_back == a
    assert best() == again.version
