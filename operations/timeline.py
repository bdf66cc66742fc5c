"""What has happened to a model: decisions, runs, pushes and rollbacks, by time."""

from collections.abc import Iterator
from datetime import UTC, datetime

from operations import facts
from operations.decisions import Action, Decision
from operations.monitoring_page import Moment
from pipeline.config import Config
from pipeline.errors import (
    EXIT_DATA_REFUSED,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOT_BLESSED,
)
from pipeline.registry import history
from pipeline.registry.history import Event

_SHOWN = 50
_ENDS = {
    None: "has not ended",
    EXIT_DONE: "done",
    EXIT_DATA_REFUSED: "the data was refused",
    EXIT_NOT_BLESSED: "nothing was pushed",
    EXIT_INTERRUPTED: "interrupted",
}


def read(config: Config) -> list[Moment]:
    """Reads the newest moments, oldest first.

    Args:
        config: Names the model.

    Raises:
        ThroughlineError: A decision's file or the registry is damaged.
    """
    made = facts.decisions_of(config).all()
    events = history.read(config.serving_directory).events
    found = [
        *(moment for decision in made for moment in _of_decision(decision)),
        *map(_of_event, events),
    ]
    return sorted(found, key=lambda each: each.at)[-_SHOWN:]


def _of_decision(decision: Decision) -> Iterator[Moment]:
    yield Moment(
        _time(decision.at), f"{decision.action}, {decision.rule}", decision.because
    )
    for attempt in decision.attempts:
        ended = _ENDS.get(attempt.exit_code, f"failed with {attempt.exit_code}")
        at = _time(attempt.ended or attempt.started)
        yield Moment(at, "run", f"{attempt.run_id}: {ended}")
    if decision.action is Action.ROLLBACK and decision.ended:
        yield Moment(_time(decision.ended), "rolled back", decision.outcome)


def _of_event(event: Event) -> Moment:
    about = f"version {event.version}"
    if event.restored is not None:
        about += f", which is version {event.restored}"
    by = f" by {event.by}" if event.by else ""
    because = f": {event.because}" if event.because else ""
    return Moment(_time(event.at), event.action, f"{about}{by}{because}")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
