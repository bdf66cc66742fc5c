"""Which decision follows from which facts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from operations import rules
from operations.decisions import Action, Attempt, Decision, text_of
from operations.facts import Facts, NewData
from operations.observation import Alarm, Kind, Observation
from operations.rules import Attempting, Wait
from operations.settings import Operate
from pipeline.config import Config
from pipeline.registry.history import Registry

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CONFIG = Config(pattern="span-{SPAN}/*.csv", window=2, data=Path("d"))
FILES = Config(data=Path("d"))
BEGAN = Decision(
    1,
    "s",
    Action.START,
    "start",
    "x",
    text_of(NOW - timedelta(days=3)),
    {"spans": [1]},
    ended="2026-02-26T12:00:00+00:00",
)


def facts(
    *numbers: int, decisions: tuple[Decision, ...] = (BEGAN,), **more: Any
) -> Facts:
    """Facts about spans, with no live model unless given."""
    known: dict[str, Any] = {
        "now": NOW,
        "behind": timedelta(0),
        "registry": Registry(Path("s"), (), ()),
        "live": None,
        "spans": tuple(NewData(n) for n in numbers),
        "contents": "",
        "observation": None,
        "alive": "",
        "decisions": decisions,
    }
    return Facts(**{**known, **more})


def decide(known: Facts, config: Config = CONFIG, **settings: Any) -> rules.Next:
    """Decides with some settings."""
    return rules.decide(known, config, Operate(**settings))


def run(found: rules.Next) -> Decision:
    """The decision to run, with its number set as if it were written."""
    assert isinstance(found, Decision), found
    assert found.action is Action.RUN
    return replace(found, number=9)


def ended(decision: Decision, code: int = 0, ago: float = 60) -> Decision:
    """A decision whose run ended some minutes ago."""
    end = text_of(NOW - timedelta(minutes=ago))
    begin = text_of(NOW - timedelta(minutes=ago + 10))
    attempt = Attempt("r1", begin, ended=end, exit_code=code)
    final = "" if attempt.failed else end
    return replace(decision, attempts=(*decision.attempts, attempt), ended=final)


def waits(found: rules.Next) -> str:
    """Why nothing is done."""
    assert isinstance(found, Wait), found
    return found.because


def test_the_first_decision_begins_operation() -> None:
    """What exists is no trigger; without a model, all of it is."""
    found = decide(facts(1, 2, decisions=()))

    assert isinstance(found, Decision)
    assert (found.action, found.facts["spans"]) == (Action.START, [])


def test_a_new_span_is_one_run() -> None:
    """Its window is fixed in the settings; the same facts give the same key."""
    first, again = run(decide(facts(1, 2, 3))), run(decide(facts(1, 2, 3)))

    known = (BEGAN, ended(first))
    assert first.key == again.key
    assert (first.rule, first.facts["spans"]) == ("span", [2, 3])
    assert first.config["span"] == "2..3"
    assert first.config["window"] == 1
    assert first.because == "new: spans 2 to 3; reads spans 2 to 3"
    assert waits(decide(facts(1, 2, 3, decisions=known))) == "nothing new"


def test_a_backlog_is_the_newest_only() -> None:
    """Spans that the window leaves out are named, and are no trigger later."""
    found = run(decide(facts(1, 2, 3, 4, 5)))

    assert found.facts["spans"] == [4, 5]
    assert found.facts["skipped"] == [2, 3]
    assert "skips 2 to 3, by --backlog newest" in found.because
    known = (BEGAN, ended(found))
    assert waits(decide(facts(1, 2, 3, 4, 5, decisions=known))) == "nothing new"


def test_a_backlog_is_caught_up_in_order() -> None:
    """One span after another, each with the window that it would have had."""
    read = []
    known: tuple[Decision, ...] = (BEGAN,)
    for _ in range(3):
        found = run(decide(facts(1, 2, 3, 4, decisions=known), backlog="in-order"))
        read.append(found.facts["spans"])
        known = (*known, ended(found))

    assert read == [[1, 2], [2, 3], [3, 4]]
    assert waits(decide(facts(1, 2, 3, 4, decisions=known))) == "nothing new"


def test_labels_wait_until_there_are_enough() -> None:
    """Spans that `labels add` has written are counted by their rows."""
    few = (NewData(1), NewData(2, 600))
    many = (*few, NewData(3, 500))

    assert waits(decide(facts(spans=few))) == "nothing new"
    found = run(decide(facts(spans=many)))
    assert found.rule == "labels"
    assert found.because.startswith("1,100 new labels, in spans 2 to 3")
    assert waits(decide(facts(spans=many), on=("span",))) == "nothing new"


def test_data_without_spans_is_told_apart_by_contents() -> None:
    """Other contents are new data, once."""
    found = run(decide(facts(contents="aaa"), FILES))

    assert found.because.startswith("the data has changed")
    known = (BEGAN, ended(found))
    assert waits(decide(facts(contents="aaa", decisions=known), FILES)) == "nothing new"
    assert run(decide(facts(contents="bbb", decisions=known), FILES)).key != found.key


def seen(alarm: Alarm) -> Observation:
    """An observation with an alarm."""
    return Observation("taxi", 1, "", "", "2026-03-01T11:00", 10, alarms=(alarm,))


def test_an_alarm_starts_a_run_on_new_data() -> None:
    """Drift does, and its rule comes before that of the span."""
    found = run(
        decide(facts(1, 2, observation=seen(Alarm(Kind.DRIFT, "moved", "fare"))))
    )

    assert found.rule == "drift"
    assert found.because.startswith("alarm: drift: fare: moved; reads spans 1 to 2")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Kind.DRIFT, "there is no new data to learn from"),
        (Kind.SKEW, "it starts no run by the settings"),
    ],
)
def test_an_alarm_without_remedy_is_noted_once(kind: Kind, why: str) -> None:
    """Also if the next window has it too."""
    alarm = Alarm(kind, "moved", "fare")
    found = decide(facts(1, observation=seen(alarm)))

    assert isinstance(found, Decision)
    assert found.action is Action.NOTE
    assert found.because.endswith(why)
    later = replace(seen(replace(alarm, text="moved more")), until="2026-03-02")
    known = facts(1, observation=later, decisions=(BEGAN, replace(found, number=2)))
    assert waits(decide(known)) == "nothing new"


def test_a_broken_client_starts_no_run() -> None:
    """Its alarm is noted; a change that it doesn't explain starts one all the same."""
    miles = Alarm(Kind.DRIFT, "moved", "trip_miles", broken="trip_miles is in km")
    scores = Alarm(Kind.PREDICTION, "moved", "prediction", broken="trip_miles is in km")
    fare = Alarm(Kind.DRIFT, "moved", "fare")
    only = replace(seen(miles), alarms=(miles, scores))
    both = replace(seen(miles), alarms=(miles, scores, fare))

    noted = decide(facts(1, 2, observation=only))
    started = run(decide(facts(1, 2, observation=both)))

    assert isinstance(noted, Decision)
    assert (noted.action, noted.rule) == (Action.NOTE, "drift")
    assert noted.because.endswith(
        "no run, for it looks like a broken client: trip_miles is in km"
    )
    assert started.because.startswith(
        "alarm: drift: fare: moved; besides, as from a broken client, trip_miles is in "
        "km; reads spans 1 to 2"
    )


def test_one_run_at_a_time() -> None:
    """Whoever started the one that is under way."""
    found = decide(facts(1, 2, alive="20260301-115500-abc"))

    assert waits(found) == "run 20260301-115500-abc is under way"


def test_an_open_decision_is_carried_out_first() -> None:
    """Before anything new is decided."""
    known = (BEGAN, run(decide(facts(1, 2))))

    found = decide(facts(1, 2, 3, decisions=known))

    assert found == Attempting(known[1])


def test_failures_are_tried_again_later_and_later() -> None:
    """With twice the pause each time."""
    decision = run(decide(facts(1, 2)))
    once = ended(decision, code=1, ago=4)
    twice = ended(ended(decision, code=1, ago=60), code=1, ago=6)
    done: dict[str, Any] = {"stop_after": 9}

    assert "it is tried again at 2026-03-01 12:01:00" in waits(
        decide(facts(1, 2, decisions=(BEGAN, once)), **done)
    )
    assert "12:04:00" in waits(decide(facts(1, 2, decisions=(BEGAN, twice)), **done))
    ready = ended(decision, code=1, ago=6)
    found = decide(facts(1, 2, decisions=(BEGAN, ready)), **done)
    assert isinstance(found, Attempting)


def test_it_stops_after_several_failures() -> None:
    """Says so once, waits, and goes on when the user says so."""
    failed = run(decide(facts(1, 2)))
    for ago in (300, 200, 100):
        failed = ended(failed, code=1, ago=ago)
    known: tuple[Decision, ...] = (BEGAN, failed)

    stop = decide(facts(1, 2, decisions=known))

    assert isinstance(stop, Decision)
    assert stop.action is Action.STOP
    assert stop.because == "3 runs failed in a row, the last is r1"
    known = (*known, replace(stop, number=3))
    assert "--go-on" in waits(decide(facts(1, 2, decisions=known)))
    on = Decision(4, "g", Action.GO_ON, "user", "disk", text_of(NOW), ended="x")
    found = decide(facts(1, 2, decisions=(*known, on)))
    assert isinstance(found, Attempting)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cool_down_minutes": 90}, "it cools down until 2026-03-01 12:30:00"),
        (
            {"max_runs_per_day": 1},
            (
                "1 of 1 runs in 24 hours (--max-runs-per-day) were started; the next "
                "may start at 2026-03-02 10:50:00 UTC"
            ),
        ),
        (
            {"max_minutes_per_day": 10},
            (
                "runs took 10 of 10 minutes in 24 hours (--max-minutes-per-day); the "
                "next may start at 2026-03-02 10:50:00 UTC"
            ),
        ),
    ],
)
def test_budgets_hold_new_runs_back(settings: dict[str, Any], said: str) -> None:
    """With the reason why there would be one."""
    known = (BEGAN, ended(run(decide(facts(1, 2)))))

    text = waits(decide(facts(1, 2, 3, decisions=known), **settings))

    assert text.startswith("new: span 3")
    assert said in text


def test_a_budget_is_of_24_hours() -> None:
    """Older runs don't count."""
    known = (BEGAN, ended(run(decide(facts(1, 2))), ago=25 * 60))

    found = run(decide(facts(1, 2, 3, decisions=known), max_runs_per_day=1))

    assert found.facts["spans"] == [2, 3]


@pytest.mark.parametrize(
    ("code", "settings", "said"),
    [
        (1, {"max_runs_per_day": 1}, "run r1 failed; 1 of 1 runs"),
        (1, {"max_minutes_per_day": 9}, "run r1 failed; runs took 10 of 9 minutes"),
        (-9, {"max_minutes_per_day": 9}, "run r1 failed; runs took 10 of 9 minutes"),
        (-9, {"max_runs_per_day": 1}, ""),
        (130, {"max_runs_per_day": 1}, ""),
    ],
)
def test_budgets_hold_a_failed_run_back(
    code: int, settings: dict[str, Any], said: str
) -> None:
    """A second try is one more run; what was killed is resumed, and is none."""
    tried = replace(ended(run(decide(facts(1, 2))), code=code), ended="")

    found = decide(facts(1, 2, decisions=(BEGAN, tried)), **settings)

    if said:
        assert said in waits(found)
    else:
        assert isinstance(found, Attempting)


def test_each_time_of_a_schedule_is_one_run() -> None:
    """Of several that were missed, the newest one; none from before the beginning."""
    settings: dict[str, Any] = {"schedule": "0 6 * * *", "on": ()}
    found = run(decide(facts(1), **settings))

    assert found.because == "the schedule's 2026-03-01 06:00; reads spans 1"
    known = (BEGAN, ended(found))
    assert waits(decide(facts(1, decisions=known), **settings)) == "nothing new"
    tomorrow = facts(1, decisions=known, now=NOW + timedelta(days=1))
    assert run(decide(tomorrow, **settings)).key != found.key
    fresh = replace(BEGAN, at=text_of(NOW - timedelta(hours=1)))
    assert waits(decide(facts(1, decisions=(fresh,)), **settings)) == "nothing new"


@pytest.mark.parametrize(
    ("schedule", "slot"),
    [
        ("0 12 * * *", "2026-03-01T12:00"),
        ("1 12 * * *", "2026-02-28T12:01"),
        ("@daily", "2026-03-01T00:00"),
        ("*/15 * * * *", "2026-03-01T12:00"),
    ],
)
def test_the_last_time_of_a_schedule(schedule: str, slot: str) -> None:
    """Now is one of them, the next minute isn't."""
    assert rules.last_slot(schedule, NOW).isoformat().startswith(slot)


def test_dates_are_spans_too() -> None:
    """Their window is given as dates."""
    config = Config(pattern="{YYYY}-{MM}-{DD}/*.csv", window=2, data=Path("d"))

    found = run(decide(facts(20_000, 20_001, 20_002), config))

    assert found.config["span"] == "2024-10-05..2024-10-06"
