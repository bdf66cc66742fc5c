"""Maps facts to the next decision; a pure function of the facts."""

import dataclasses
import itertools
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cronsim import CronSim

from operations.decisions import Action, Attempt, Decision, key_of, text_of
from operations.facts import Facts, NewData
from operations.observation import Kind
from operations.settings import Operate
from pipeline.config import Config
from pipeline.ingestion.spans import EVERY_SPAN, TO, Newest, Pattern, in_words
from pipeline.runners.local import run_record

SCHEDULE = "schedule"
_DAY = timedelta(days=1)
_LONGEST_PAUSE = _DAY
_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_ALARMS: Mapping[str, tuple[Kind, ...]] = {
    "performance": (Kind.PERFORMANCE,),
    "drift": (Kind.DRIFT, Kind.PREDICTION),
    "skew": (Kind.SKEW,),
}


@dataclass(frozen=True)
class Wait:
    """Nothing to do now, and why.

    Attributes:
        because: Why, as a sentence.
    """

    because: str


@dataclass(frozen=True)
class Attempting:
    """The run of an open decision is to be started, or resumed.

    Attributes:
        decision: The decision.
    """

    decision: Decision


@dataclass(frozen=True)
class Window:
    """What a run would read.

    Attributes:
        id: Identifies it: spans, or the digest of the contents.
        text: For people.
        spans: Numbers of its spans.
        skipped: New spans that it skips by the policy.
        setting: Value of the setting `span`; empty without spans.
    """

    id: str
    text: str
    spans: tuple[int, ...] = ()
    skipped: tuple[int, ...] = ()
    setting: str = ""


Next = Wait | Attempting | Decision


def decide(facts: Facts, config: Config, settings: Operate) -> Next:
    """Returns the next step.

    Args:
        facts: All that is known.
        config: The pipeline's settings.
        settings: Triggers, pauses and budgets.

    Returns:
        A decision that is still to be written, the attempt of an open one, or why
        nothing is to be done.
    """
    if not facts.decisions:
        return _start(facts)
    if facts.alive:
        return Wait(f"run {facts.alive} is under way")
    if stopped := _stopped(facts, settings):
        return stopped
    if facts.open:
        return _attempt(facts, facts.open, settings)
    return _new(facts, config, settings)


def _new(facts: Facts, config: Config, settings: Operate) -> Next:
    """Returns the first trigger's decision, or why its run must wait."""
    candidate = next(_candidates(facts, config, settings), None)
    if candidate is None:
        return Wait("nothing new")
    if candidate.action is Action.RUN and (held := _held_back(facts, settings)):
        return Wait(f"{candidate.because}; {held}")
    return candidate


def _start(facts: Facts) -> Decision:
    """Records the start: data that the live model has seen triggers no run."""
    known = facts.live.data.verdict.spans if facts.live and facts.live.data else ()
    newest = max(known, default=0)
    old = [span.number for span in facts.spans if span.number <= newest]
    began = text_of(facts.now)
    because = f"version {facts.registry.live} is live" if facts.live else "no model yet"
    return Decision(
        0,
        key_of("start", began),
        Action.START,
        "start",
        because,
        began,
        {"spans": old, "contents": _learned_contents(facts)},
        ended=began,
        outcome="began",
    )


def _learned_contents(facts: Facts) -> str:
    return facts.contents if facts.live else ""


def _stopped(facts: Facts, settings: Operate) -> Wait | Decision | None:
    failures = facts.failures_in_a_row()
    if len(failures) < settings.stop_after:
        return None
    last = failures[-1]
    key = key_of("stop", last.run_id)
    text = f"{len(failures)} runs failed in a row, the last is {last.run_id}"
    if any(decision.key == key for decision in facts.decisions):
        return Wait(
            f"{text}; fix the cause, then `throughline operate --go-on TEXT` with the "
            "other flags as they are"
        )
    now = text_of(facts.now)
    return Decision(
        0,
        key,
        Action.STOP,
        "failures",
        text,
        now,
        {"runs": [attempt.run_id for attempt in failures]},
        ended=now,
        outcome="no run is started until --go-on",
    )


def _attempt(facts: Facts, decision: Decision, settings: Operate) -> Next:
    failures = facts.failures_in_a_row()
    if failures and decision.attempts:
        doubled = settings.backoff_minutes * 2 ** (len(failures) - 1)
        pause = min(timedelta(minutes=doubled), _LONGEST_PAUSE)
        until = datetime.fromisoformat(failures[-1].ended) + pause
        if facts.now < until:
            return Wait(
                f"run {failures[-1].run_id} failed; it is tried again at "
                f"{until:%Y-%m-%d %H:%M:%S} UTC"
            )
        # What was killed is resumed, and is no new run.
        is_resumed = failures[-1].exit_code == -signal.SIGKILL
        used = "" if is_resumed else _runs_used_up(facts, settings)
        if used := used or _minutes_used_up(facts, settings):
            return Wait(f"run {failures[-1].run_id} failed; {used}")
    return Attempting(decision)


def _held_back(facts: Facts, settings: Operate) -> str:
    """Returns why a new run must wait; empty if it needn't."""
    attempts = facts.attempts()
    ended = [datetime.fromisoformat(a.ended) for a in attempts if a.ended]
    pause = timedelta(minutes=settings.cool_down_minutes)
    if ended and facts.now < max(ended) + pause:
        return f"it cools down until {max(ended) + pause:%Y-%m-%d %H:%M:%S} UTC"
    return _runs_used_up(facts, settings) or _minutes_used_up(facts, settings)


def _recent(facts: Facts) -> list[Attempt]:
    """Returns the starts of the last 24 hours, the newest first."""
    since = text_of(facts.now - _DAY)
    recent = [attempt for attempt in facts.attempts() if attempt.started > since]
    return sorted(recent, key=lambda attempt: attempt.started, reverse=True)


def _runs_used_up(facts: Facts, settings: Operate) -> str:
    """Returns why no run may be started by their number; empty if one may."""
    # One that was resumed is one run, from its first start on.
    runs = list({attempt.run_id: attempt for attempt in _recent(facts)}.values())
    most = settings.max_runs_per_day
    if len(runs) < most:
        return ""
    return _over(
        f"{len(runs)} of {most} runs in 24 hours (--max-runs-per-day) were started",
        runs[most - 1],
    )


def _minutes_used_up(facts: Facts, settings: Operate) -> str:
    """Returns why no run may be started by what they took; empty if one may."""
    most, recent = settings.max_minutes_per_day, _recent(facts)
    sums = itertools.accumulate(attempt.minutes for attempt in recent)
    first = next((a for a, m in zip(recent, sums, strict=True) if m >= most), None)
    if not most or first is None:
        return ""
    total = sum(attempt.minutes for attempt in recent)
    return _over(
        f"runs took {total:.0f} of {most:g} minutes in 24 hours "
        "(--max-minutes-per-day)",
        first,
    )


def _over(text: str, attempt: Attempt) -> str:
    """Adds when a budget has room again: a day after one of its runs was started."""
    until = datetime.fromisoformat(attempt.started) + _DAY
    return f"{text}; the next may start at {until:%Y-%m-%d %H:%M:%S} UTC"


def _candidates(facts: Facts, config: Config, settings: Operate) -> Iterator[Decision]:
    known = {decision.key for decision in facts.decisions}
    for trigger in _triggers(facts, config, settings):
        run = trigger.window is not None
        found = _run(facts, config, trigger) if run else _note(facts, trigger)
        if found.key not in known:
            yield found


@dataclass(frozen=True)
class _Trigger:
    """A reason to act.

    Attributes:
        rule: The rule.
        because: The reason, as a sentence.
        window: What a run would read; `None` if no run can do anything about it.
        occasion: Distinguishes it from others of the same rule and window.
    """

    rule: str
    because: str
    window: Window | None
    occasion: Any = ""


def _triggers(facts: Facts, config: Config, settings: Operate) -> Iterator[_Trigger]:
    newest = newest_window(facts, config)
    yield from _alarm_triggers(facts, newest, settings)
    if "labels" in settings.on:
        yield from _label_trigger(facts, config, settings)
    if "span" in settings.on:
        yield from _data_trigger(facts, config, settings)
    if settings.schedule and newest:
        slot = last_slot(settings.schedule, facts.now)
        if slot > _scheduled_since(facts.decisions):
            text = f"the schedule's {slot:%Y-%m-%d %H:%M}"
            yield _Trigger(SCHEDULE, text, newest, text_of(slot))


def _alarm_triggers(
    facts: Facts, newest: Window | None, settings: Operate
) -> Iterator[_Trigger]:
    found = facts.observation
    for rule, kinds in _ALARMS.items():
        alarms = [a for a in found.alarms if a.kind in kinds] if found else []
        if not found or not alarms:
            continue
        # A run would learn from a broken client that what it sends is right.
        to_learn = [alarm for alarm in alarms if not alarm.broken]
        text = f"alarm: {(to_learn or alarms)[0]}"
        if to_learn and found.broken:
            # People shall not search the data for what a client does.
            text += f"; besides, as from a broken client, {'; '.join(found.broken)}"
        names = sorted({f"{alarm.kind}:{alarm.column}" for alarm in alarms})
        # The alarm of a window that is over by now is that of other data.
        if not to_learn:
            why = f"no run, for it looks like a broken client: {alarms[0].broken}"
        elif rule not in settings.on:
            why = "it starts no run by the settings"
        elif newest and _is_new(facts, newest):
            yield _Trigger(rule, text, newest)
            continue
        else:
            why = "there is no new data to learn from"
        yield _Trigger(rule, f"{text}; {why}", None, names)


def _is_new(facts: Facts, window: Window) -> bool:
    if not window.spans:
        return facts.contents not in _contents_seen(facts)
    unseen = {span.number for span in facts.unseen}
    return bool(unseen & set(window.spans))


def _contents_seen(facts: Facts) -> set[str]:
    return {str(decision.facts.get("contents", "")) for decision in facts.decisions}


def _label_trigger(
    facts: Facts, config: Config, settings: Operate
) -> Iterator[_Trigger]:
    labelled = [span for span in facts.unseen if span.labels]
    rows = sum(span.labels for span in labelled)
    if rows < settings.new_labels:
        return
    window = _window_to(facts, config, labelled[-1].number, ())
    text = f"{rows:,} new labels, in {_named(config, labelled)}"
    yield _Trigger("labels", text, window)


def _data_trigger(
    facts: Facts, config: Config, settings: Operate
) -> Iterator[_Trigger]:
    if config.wanted_spans is None:
        newest = newest_window(facts, config)
        if newest and facts.contents not in _contents_seen(facts):
            yield _Trigger("span", "the data has changed", newest)
        return
    new = [span for span in facts.unseen if not span.labels]
    if not new:
        return
    last = new[0] if settings.backlog == "in-order" else new[-1]
    left_out = [s for s in new if s.number < last.number]
    window = _window_to(facts, config, last.number, [s.number for s in left_out])
    yield _Trigger("span", f"new: {_named(config, new)}", window)


def _named(config: Config, found: Sequence[NewData]) -> str:
    names = in_words([span.number for span in found], Pattern(config.pattern).name_of)
    return f"{'span' if len(found) == 1 else 'spans'} {names}"


def newest_window(facts: Facts, config: Config) -> Window | None:
    """Returns what a run would read now; `None` if there is no data."""
    if config.wanted_spans is not None:
        if not facts.spans:
            return None
        return _window_to(facts, config, facts.spans[-1].number, ())
    if not facts.contents:
        return None
    return Window(facts.contents, "the files of the data directory")


def _window_to(
    facts: Facts, config: Config, last: int, left_out: Sequence[int]
) -> Window:
    """Returns the window that ends with a span, which is fixed in the run's settings.

    So spans that arrive between the decision and the run are not read by it, and are
    new afterwards.
    """
    wanted = config.wanted_spans
    count = wanted.count if isinstance(wanted, Newest) else EVERY_SPAN
    numbers = tuple(s.number for s in facts.spans if s.number <= last)[-count:]
    name = Pattern(config.pattern).name_of
    setting = f"{name(numbers[0])}{TO}{name(numbers[-1])}"
    skipped = tuple(number for number in left_out if number not in numbers)
    return Window(
        in_words(numbers), f"spans {in_words(numbers, name)}", numbers, skipped, setting
    )


def _run(facts: Facts, config: Config, trigger: _Trigger) -> Decision:
    window = trigger.window
    assert window is not None  # noqa: S101 - the caller has checked it
    skipped = ""
    if window.skipped:
        name = Pattern(config.pattern).name_of
        skipped = f"; skips {in_words(window.skipped, name)}, by --backlog newest"
    given = dataclasses.replace(
        config,
        data=config.data.absolute() if config.data else None,
        output=config.output.absolute(),
        schema=config.schema.absolute(),
        span=window.setting or config.span,
        window=1,
    )
    return Decision(
        0,
        key_of("run", trigger.rule, window.id, facts.registry.live, trigger.occasion),
        Action.RUN,
        trigger.rule,
        f"{trigger.because}; reads {window.text}{skipped}",
        text_of(facts.now),
        {
            "window": window.id,
            "spans": list(window.spans),
            "skipped": list(window.skipped),
            "contents": facts.contents,
            "live": facts.registry.live,
            "occasion": trigger.occasion,
            "observation": facts.observation.until if facts.observation else "",
        },
        run_record.to_json(given),
    )


def _note(facts: Facts, trigger: _Trigger) -> Decision:
    now = text_of(facts.now)
    return Decision(
        0,
        key_of("note", trigger.rule, facts.registry.live, trigger.occasion),
        Action.NOTE,
        trigger.rule,
        trigger.because,
        now,
        {
            "live": facts.registry.live,
            "occasion": trigger.occasion,
            "observation": facts.observation.until if facts.observation else "",
        },
        ended=now,
        outcome="told",
    )


def last_slot(schedule: str, now: datetime) -> datetime:
    """Returns the newest time of a schedule that is not after now.

    Args:
        schedule: Five cron fields, or a macro such as @daily; in UTC.
        now: The time.
    """
    fields = _MACROS.get(schedule, schedule)
    # cronsim's reverse search begins before the time that it is given.
    found: datetime = next(CronSim(fields, now + timedelta(minutes=1), reverse=True))
    return found if found <= now else next(CronSim(fields, found, reverse=True))


def _scheduled_since(decisions: Sequence[Decision]) -> datetime:
    """Returns the newest slot that was decided, or when operation began."""
    times = [
        datetime.fromisoformat(str(decision.facts["occasion"]))
        for decision in decisions
        if decision.rule == SCHEDULE
    ]
    return max([*times, datetime.fromisoformat(decisions[0].at)])
