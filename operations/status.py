"""What `throughline operate --status` prints."""

from collections.abc import Iterator

from operations import facts as derived
from operations import rules, watching
from operations.decisions import Action, Decision
from operations.facts import Facts
from operations.launching import Clock
from operations.rules import Attempting, Wait
from operations.settings import Operate
from pipeline.config import Config

_SHOWN = 15


def lines(config: Config, settings: Operate, clock: Clock) -> Iterator[str]:
    """Yields the state, what comes next, and the newest decisions; changes nothing.

    Args:
        config: The pipeline's settings.
        settings: Triggers, pauses and budgets.
        clock: Tells the time.
    """
    facts = derived.gather(config, clock())
    yield f"live       {_live(facts)}"
    if facts.observation:
        yield from _under("monitoring", facts.observation.lines())
    if facts.live:
        yield from _under("watched", watching.lines(config, facts, settings.watch))
    yield f"next       {_next(facts, config, settings)}"
    for decision in facts.decisions[-_SHOWN:]:
        yield from _decision(decision)


def _live(facts: Facts) -> str:
    if facts.live is None:
        return "no version"
    run = f", trained by run {facts.live.run}" if facts.live.run else ""
    return f"version {facts.live.version} since {_time(str(facts.live.since))} UTC{run}"


def _under(name: str, lines: Iterator[str]) -> Iterator[str]:
    for place, line in enumerate(lines):
        yield f"{'' if place else name:11}{line}"


def _next(facts: Facts, config: Config, settings: Operate) -> str:
    if not facts.decisions:
        return "the first tick begins operation"
    step = rules.decide(facts, config, settings)
    if isinstance(step, Wait):
        return step.because
    if isinstance(step, Attempting):
        return f"the run of decision {step.decision.number}: {step.decision.because}"
    return f"{step.action}, {step.rule}: {step.because}"


def _decision(decision: Decision) -> Iterator[str]:
    yield (
        f"{decision.number:4}  {_time(decision.at)}  {decision.action}, "
        f"{decision.rule}: {decision.because}"
    )
    for attempt in decision.attempts:
        ended = f" to {_time(attempt.ended)}" if attempt.ended else ", not ended"
        code = "" if attempt.exit_code is None else f", exit code {attempt.exit_code}"
        yield f"      run {attempt.run_id} {_time(attempt.started)}{ended}{code}"
    if decision.outcome and decision.action in {Action.RUN, Action.ROLLBACK}:
        yield f"      {decision.outcome}"


def _time(text: str) -> str:
    return text[:19].replace("T", " ")
