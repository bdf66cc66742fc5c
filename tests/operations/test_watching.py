"""Which versions are watched, and how long."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from operations import watching
from operations.facts import Facts
from operations.settings import Watch
from pipeline.registry.history import Action, Event, Registry
from pipeline.registry.shadow_order import Order
from tests.operations.request_logs import START


def facts(now: datetime, action: Action = Action.PUSH) -> Facts:
    """Facts about two versions, the second of which is live since `START`."""
    events = (
        Event("2026-02-01T00:00:00+00:00", Action.PUSH, 1, content="a"),
        Event(START.isoformat(), action, 2, replaced=1, content="b"),
    )
    registry = Registry(Path("s"), (1, 2), events)
    return Facts(now, timedelta(0), registry, None, (), "", None, "", ())


def test_a_pushed_version_is_watched() -> None:
    """From its push on, with what a rollback would restore."""
    found = watching.watched(facts(START + timedelta(hours=1)), Watch(hours=2))

    assert found == watching.Watched(2, START, 1, START + timedelta(hours=2))


@pytest.mark.parametrize("hours", [0.0, 1.0])
def test_watching_ends(hours: float) -> None:
    """After its time; 0 is never."""
    now = START + timedelta(hours=1)

    assert watching.watched(facts(now), Watch(hours=hours)) is None


def test_servers_are_asked_for_shadow_answers_meanwhile() -> None:
    """Of the version that a rollback would restore; never, if no share is wanted."""
    now = facts(START + timedelta(hours=1))
    watch = Watch(hours=2, shadow_share=0.5)

    found = watching.order(now, watch)

    assert found == Order(2, 1, START + timedelta(hours=2), 0.5)
    assert watching.order(now, replace(watch, shadow_share=0)) is None
    assert watching.order(facts(START + timedelta(hours=3)), watch) is None


def test_what_a_rollback_restored_is_not_watched() -> None:
    """Nor is the only version: there must be something to go back to."""
    now = START + timedelta(hours=1)
    restored = facts(now, Action.ROLLBACK)
    only = facts(now)
    registry = Registry(Path("s"), (2,), only.registry.events[1:])

    assert watching.watched(restored, Watch()) is None
    assert watching.watched(replace(only, registry=registry), Watch()) is None
