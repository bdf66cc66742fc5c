"""Watches a version after its push: is it worse than the one before it, or slower?"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from models import declared
from operations import labels, live, monitoring, requests, shadow, windows
from operations.decisions import Action, Decision, key_of, text_of
from operations.facts import Facts
from operations.live import LiveModel, Promise
from operations.requests import Log
from operations.settings import Watch
from operations.shadow import Pairs
from operations.windows import Traffic
from pipeline.config import Config
from pipeline.ingestion.columns import Kinds, kinds_of_schema
from pipeline.quality import titles
from pipeline.registry import history
from pipeline.registry.shadow_order import Order
from pipeline.trust import schema_review

_RULE = "watch"
_METRIC = titles.MAIN[declared.TASK]
_TITLE = titles.SHOWN[declared.TASK][_METRIC]
_ERRORS = {
    "binary": "binary_accuracy",
    "classes": "accuracy",
    "regression": "mean_absolute_error",
}
_P95 = 0.95
# Of a normal distribution: one false alarm in a thousand looks.
_DEVIATIONS = 3.1


class Verdict(StrEnum):
    """What follows from a comparison."""

    FINE = "fine"
    WAITS = "not decided"
    """For rows, labels or shadow answers."""
    DOUBTFUL = "doubtful"
    """People are told."""
    WORSE = "worse"
    """The version is rolled back."""


@dataclass(frozen=True)
class Watched:
    """A version that is being watched.

    Attributes:
        version: Its number.
        since: When it became live.
        before: The version that a rollback restores.
        until: When watching ends.
    """

    version: int
    since: datetime
    before: int
    until: datetime


def watched(facts: Facts, settings: Watch) -> Watched | None:
    """Returns the live version, if it is new and there is one to go back to."""
    found = _standing(facts, settings)
    return found if isinstance(found, Watched) else None


def _standing(facts: Facts, settings: Watch) -> Watched | str:
    """Returns what is watched, or why the live version isn't, as a sentence."""
    registry = facts.registry
    if registry.live is None:
        return "no version is live"
    name = f"version {registry.live}"
    if registry.previous is None:
        return f"{name} is not watched: there is no earlier one to go back to"
    # What a rollback has restored has been live before; going further back would be
    # a matter for people.
    if registry.added[registry.live].action is history.Action.ROLLBACK:
        return f"{name} is not watched: a rollback restored it"
    since = datetime.fromisoformat(registry.periods[registry.live][-1].since)
    until = since + timedelta(hours=settings.hours)
    if facts.now >= until:
        return f"{name} is no longer watched, since {_minute(until)}"
    return Watched(registry.live, since, registry.previous, until)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def order(facts: Facts, settings: Watch) -> Order | None:
    """Returns what servers are asked to do meanwhile; `None` if nothing."""
    found = watched(facts, settings)
    if found is None or not settings.shadow_share:
        return None
    return Order(found.version, found.before, found.until, settings.shadow_share)


def _asked(found: Watched, now: datetime) -> shadow.Asked:
    return shadow.Asked(found.version, found.before, found.since, now)


@dataclass(frozen=True)
class Check:
    """One comparison of a watched version.

    Attributes:
        what: What is compared, in a word or two.
        text: What was found, or what it waits for, with the version as the subject.
        verdict: What follows.
    """

    what: str
    text: str
    verdict: Verdict


def judge(config: Config, facts: Facts, settings: Watch) -> Decision | None:
    """Decides whether the live version is to be rolled back, or looked at by people.

    Args:
        config: Names the model, its request log, its registry and the schema.
        facts: The facts of the tick.
        settings: How it is watched.

    Returns:
        The decision to roll back, or to tell people once; `None` if the version is not
        watched, or is fine.
    """
    found = watched(facts, settings)
    if found is None or facts.live is None:
        return None
    doubtful: Check | None = None
    for check in _Look(config, facts, facts.live, found, settings).checks():
        if check.verdict is Verdict.WORSE:
            return _rollback(found, check, facts)
        if check.verdict is Verdict.DOUBTFUL:
            doubtful = doubtful or check
    return _note(found, doubtful, facts) if doubtful else None


def _rollback(found: Watched, check: Check, facts: Facts) -> Decision:
    return Decision(
        0,
        key_of("rollback", found.version),
        Action.ROLLBACK,
        _RULE,
        f"version {found.version} {check.text}",
        text_of(facts.now),
        {"version": found.version, "restores": found.before, "reason": check.text},
    )


def _note(found: Watched, check: Check, facts: Facts) -> Decision:
    now = text_of(facts.now)
    return Decision(
        0,
        key_of("note", _RULE, found.version),
        Action.NOTE,
        _RULE,
        f"version {found.version} {check.text}",
        now,
        {"version": found.version, "before": found.before},
        ended=now,
        outcome="told",
    )


def lines(config: Config, facts: Facts, settings: Watch) -> Iterator[str]:
    """Yields what is watched, and each comparison or what it waits for, as sentences.

    Args:
        config: Names the model, its request log, its registry and the schema.
        facts: The facts of the tick.
        settings: How it is watched.
    """
    found = _standing(facts, settings)
    if isinstance(found, str):
        yield found
        return
    yield (
        f"version {found.version} until {_minute(found.until)}; version {found.before} "
        "is what a rollback restores"
    )
    if any(d.key == key_of("rollback", found.version) for d in facts.decisions):
        yield "it was rolled back before, and is not a second time"
    if facts.live:
        for check in _Look(config, facts, facts.live, found, settings).checks():
            yield f"{check.what}: {check.verdict}: {check.text}"


@dataclass(frozen=True)
class _Look:
    config: Config
    facts: Facts
    model: LiveModel
    watched: Watched
    settings: Watch

    @property
    def now(self) -> datetime:
        """The end of what is looked at."""
        return self.facts.now

    def checks(self) -> Iterator[Check]:
        """Yields all comparisons; what is cheap to find comes first."""
        log = Log(requests.directory_of(self.config))
        since, length = self.watched.since, self.now - self.watched.since
        after = windows.traffic(log, since, self.now).get(
            self.watched.version, Traffic()
        )
        before = _sum(windows.traffic(log, since - length, since))
        pairs = shadow.answers(log, _asked(self.watched, self.now))
        can_pair = pairs is not None and pairs.requests >= self.settings.min_rows
        both = pairs if can_pair else None
        yield self._shadow(pairs, can_pair=can_pair)
        yield self._failures(both, after, before)
        yield self._latency(both, after, before)
        if both:
            yield self._disagreement(both)
        book = labels.ledger_of(self.config)
        labelled = monitoring.count_labels(book, since, self.now)
        if labelled < self.settings.min_rows:
            yield _waits(
                _TITLE,
                f"{labelled:,} predictions since the push have a label, "
                f"{self.settings.min_rows:,} are needed",
            )
            return
        kinds = kinds_of_schema(schema_review.read(self.config.schema))
        yield self._quality(kinds)
        yield self._quality_of_pairs(log, kinds)

    def _shadow(self, pairs: Pairs | None, *, can_pair: bool) -> Check:
        what = "shadow answers"
        if pairs and can_pair:
            return Check(what, pairs.line(), Verdict.FINE)
        if not self.settings.shadow_share:
            return _waits(what, "none are requested, by watch.shadow-share 0")
        count = pairs.requests if pairs else 0
        return _waits(
            what,
            f"{count:,} requests in the log have an answer of both, "
            f"{self.settings.min_rows:,} are needed; the shadow answers only where a "
            "core is idle",
        )

    def _too_few(self, what: str, after: Traffic, before: Traffic) -> Check | None:
        least = self.settings.min_rows
        if min(after.rows, before.rows) >= least:
            return None
        return _waits(
            what,
            f"has answered {after.rows:,} rows, and {before.rows:,} were answered in "
            f"as long a time before the push; {least:,} of each are needed",
        )

    def _failures(self, pairs: Pairs | None, after: Traffic, before: Traffic) -> Check:
        # The same requests tell the version from its clients, who may have begun to
        # send what no version takes.
        if pairs:
            return self._failures_of_pairs(pairs)
        if few := self._too_few("failures", after, before):
            return few
        new, old = after.failed_share, before.failed_share
        asked = after.rows + after.failures, before.rows + before.failures
        pooled = (after.failures + before.failures) / sum(asked)
        spread = math.sqrt(pooled * (1 - pooled) * sum(1 / each for each in asked))
        is_worse = new - old > max(self.settings.max_failed, _DEVIATIONS * spread)
        return Check(
            "failures",
            f"fails {new:.2%} of its requests, {old:.2%} failed before it",
            _verdict(is_worse),
        )

    def _failures_of_pairs(self, pairs: Pairs) -> Check:
        new, old = pairs.failed, pairs.before_failed
        worse = (new - old) / pairs.requests
        # Of a difference of two shares of the same requests.
        spread = math.sqrt(new + old) / pairs.requests
        return Check(
            "failures",
            f"fails {new:,} of {pairs.requests:,} requests that version "
            f"{self.watched.before} answers, which fails {old:,} that it answers",
            _verdict(worse > max(self.settings.max_failed, _DEVIATIONS * spread)),
        )

    def _latency(self, pairs: Pairs | None, after: Traffic, before: Traffic) -> Check:
        """Compares with the shadow, whose latency is an upper bound, and the past.

        The shadow takes the same requests at the same time, but has to wait for an idle
        core: a version that is slower than that is slow. The past had another load. So
        it counts only if the version before isn't slower itself by now.
        """
        most = self.settings.max_slowdown
        now, shadowed = (
            (pairs.latency_ms, pairs.before_latency_ms) if pairs else (None, None)
        )
        if now and shadowed and now > shadowed * most:
            return Check(
                "latency",
                f"answers 95 % within {now:.3g} ms, and version {self.watched.before} "
                f"the same requests within {shadowed:.3g} ms",
                Verdict.WORSE,
            )
        if few := self._too_few("latency", after, before):
            return few
        new, old = after.latency(_P95), before.latency(_P95)
        if not new or not old:
            return _waits("latency", "the log has none of one of the versions")
        text = f"answers 95 % within {new:.3g} ms, it was {old:.3g} ms before it"
        if new <= old * most:
            return Check("latency", text, Verdict.FINE)
        if shadowed and shadowed > old * most:
            return _waits(
                "latency",
                f"{text}; but version {self.watched.before}, which answers the same "
                f"requests on idle cores, takes {shadowed:.3g} ms now, so the machine "
                "is busier than before the push",
            )
        return Check("latency", text, Verdict.WORSE)

    def _disagreement(self, pairs: Pairs) -> Check:
        """Compares how far both are apart with what their errors allow.

        Where two versions differ, at least one is wrong. So the share of differing
        answers is at most the sum of their shares of wrong ones, and for numbers the
        mean difference at most the sum of their mean absolute errors.
        """
        what = "agreement"
        if pairs.apart is None:
            return _waits(what, "no example has an answer of both")
        origin = self.facts.registry.added[self.watched.before].origin
        promises = self.model.promised, live.promised(self.config, origin)
        errors = [_largest_error(each) for each in promises]
        if None in errors:
            return _waits(
                what, "the evaluations of both are needed, and one of them is gone"
            )
        allowed = sum(error or 0.0 for error in errors)
        mean, before = pairs.apart.mean, self.watched.before
        least = mean - _DEVIATIONS * pairs.apart.error
        text = (
            f"differs from version {before} by {mean:.3g}, and their errors on the "
            f"test splits allow {allowed:.3g} together"
            if declared.TASK == "regression"
            else f"answers {mean:.1%} of the examples otherwise than version {before}, "
            f"and their errors on the test splits allow {allowed:.1%} together"
        )
        if least <= allowed:
            return Check(what, text, Verdict.FINE)
        return Check(
            what,
            f"{text}: one of them is worse on these requests than was promised, labels "
            "will tell which",
            Verdict.DOUBTFUL,
        )

    def _quality(self, kinds: Kinds) -> Check:
        """Compares live metrics with what the evaluation promised."""
        from operations import performance

        what = f"{_TITLE} and promise"
        promised = self.model.promised.get(_METRIC, live.Promise(0.0)).low
        if not self.model.evaluation or promised is None:
            return _waits(what, "its evaluation is gone, or has no interval")
        asked = performance.Asked(
            self.watched.since,
            self.now,
            self.model.evaluation,
            self.model.label_policy,
            self.watched.version,
        )
        book = labels.ledger_of(self.config)
        measured = performance.measure(book, kinds, asked)
        found = measured.metrics.get(_METRIC)
        if not found or found.high is None:
            return _waits(
                what,
                f"{measured.rows:,} of its predictions have a label, which give no "
                f"{_TITLE} with an interval",
            )
        return Check(
            what,
            f"has {_TITLE} {found.value:.4g}, at most {found.high:.4g}, and "
            f"promised at least {promised:.4g}",
            _verdict(found.high < promised),
        )

    def _quality_of_pairs(self, log: Log, kinds: Kinds) -> Check:
        """Compares the metric with that of the version before, on the same requests."""
        asked = _asked(self.watched, self.now)
        book = labels.ledger_of(self.config)
        found = shadow.quality(log, book, kinds, asked, self.model.label_policy)
        what, least = f"{_TITLE} of both", self.settings.min_rows
        if found is None or found.rows < least:
            count = found.rows if found else 0
            return _waits(
                what,
                f"{count:,} labelled requests have an answer of both, {least:,} are "
                "needed",
            )
        return Check(
            what,
            f"has {_TITLE} {found.live:.4g} where version {self.watched.before} has "
            f"{found.before:.4g}, on the same {found.rows:,} requests",
            _verdict(found.high < -self.settings.max_loss),
        )


def _waits(what: str, text: str) -> Check:
    return Check(what, text, Verdict.WAITS)


def _verdict(is_worse: bool) -> Verdict:  # noqa: FBT001 - what the name says
    return Verdict.WORSE if is_worse else Verdict.FINE


def _largest_error(promised: Mapping[str, Promise]) -> float | None:
    """Returns the upper end of the promised error; `None` if nothing was promised.

    It is the share of wrong answers, of yes or no by deciding at 1/2, or of numbers the
    mean absolute error.
    """
    found = promised.get(_ERRORS[declared.TASK])
    if found is None:
        return None
    if declared.TASK == "regression":
        return found.value if found.high is None else found.high
    wrong = 1 - found.value
    if found.low is not None:
        return 1 - found.low
    rows = promised.get("example_count", Promise(1.0)).value
    return wrong + _DEVIATIONS * math.sqrt(wrong * (1 - wrong) / max(rows, 1.0))


def _sum(traffic: dict[int, Traffic]) -> Traffic:
    total = Traffic()
    for each in traffic.values():
        total.add(each)
    return total
