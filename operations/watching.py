"""Watches a version after its push: is it worse than the one before it, or slower?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from models import declared
from operations import labels, live, monitoring, requests, shadow, windows
from operations.decisions import Action, Decision, key_of, text_of
from operations.facts import Facts
from operations.live import LiveModel
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

_METRIC = titles.MAIN[declared.TASK]
_TITLE = titles.SHOWN[declared.TASK][_METRIC]
_P95 = 0.95
# Of a normal distribution: one false alarm in a thousand looks.
_DEVIATIONS = 3.1


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
    registry = facts.registry
    if registry.live is None or registry.previous is None:
        return None
    # What a rollback has restored has been live before; going further back would be
    # a matter for people.
    if registry.added[registry.live].action is history.Action.ROLLBACK:
        return None
    since = datetime.fromisoformat(registry.periods[registry.live][-1].since)
    until = since + timedelta(hours=settings.hours)
    if facts.now >= until:
        return None
    return Watched(registry.live, since, registry.previous, until)


def order(facts: Facts, settings: Watch) -> Order | None:
    """Returns what servers are asked to do meanwhile; `None` if nothing."""
    found = watched(facts, settings)
    if found is None or not settings.shadow_share:
        return None
    return Order(found.version, found.before, found.until, settings.shadow_share)


def paired(config: Config, facts: Facts, settings: Watch) -> Pairs | None:
    """Compares the answers of a watched version with those of its shadow.

    Args:
        config: Names the model and its request log.
        facts: The facts of the tick.
        settings: How it is watched.

    Returns:
        The comparison; `None` if no version is watched, or there are no shadow answers.
    """
    found = watched(facts, settings)
    if found is None:
        return None
    log = Log(requests.directory_of(config))
    return shadow.answers(log, _asked(found, facts.now))


def _asked(found: Watched, now: datetime) -> shadow.Asked:
    return shadow.Asked(found.version, found.before, found.since, now)


def judge(config: Config, facts: Facts, settings: Watch) -> Decision | None:
    """Decides whether the live version is to be rolled back.

    Args:
        config: Names the model, its request log, its registry and the schema.
        facts: The facts of the tick.
        settings: How it is watched.

    Returns:
        The decision to roll back; `None` if the version is not watched, or is fine.
    """
    found = watched(facts, settings)
    if found is None or facts.live is None:
        return None
    look = _Look(config, facts.live, found, settings, facts.now)
    reason = next(look.reasons(), None)
    if reason is None:
        return None
    return Decision(
        0,
        key_of("rollback", found.version),
        Action.ROLLBACK,
        "watch",
        f"version {found.version} {reason}",
        text_of(facts.now),
        {"version": found.version, "restores": found.before, "reason": reason},
    )


@dataclass(frozen=True)
class _Look:
    config: Config
    model: LiveModel
    watched: Watched
    settings: Watch
    now: datetime

    def reasons(self) -> Iterator[str]:
        """Yields why the version is worse; what is cheap to find comes first."""
        log = Log(requests.directory_of(self.config))
        since, length = self.watched.since, self.now - self.watched.since
        after = windows.traffic(log, since, self.now).get(self.watched.version)
        before = _sum(windows.traffic(log, since - length, since))
        pairs = shadow.answers(log, _asked(self.watched, self.now))
        least = self.settings.min_rows
        can_pair = pairs is not None and pairs.requests >= least
        if pairs is not None and can_pair:
            yield from self._failures_of_pairs(pairs)
            yield from self._latency_of_pairs(pairs)
        if after and min(after.rows, before.rows) >= least:
            # The same requests tell the version from its clients, who may have begun
            # to send what no version takes.
            if not can_pair:
                yield from self._failures(after, before)
            yield from self._latency(after, before)
        book = labels.ledger_of(self.config)
        if monitoring.count_labels(book, since, self.now) >= self.settings.min_rows:
            kinds = kinds_of_schema(schema_review.read(self.config.schema))
            yield from self._quality(kinds)
            yield from self._quality_of_pairs(log, kinds)

    def _failures(self, after: Traffic, before: Traffic) -> Iterator[str]:
        new, old = after.failed_share, before.failed_share
        asked = after.rows + after.failures, before.rows + before.failures
        pooled = (after.failures + before.failures) / sum(asked)
        spread = math.sqrt(pooled * (1 - pooled) * sum(1 / each for each in asked))
        if new - old > max(self.settings.max_failed, _DEVIATIONS * spread):
            yield f"fails {new:.2%} of its requests, {old:.2%} failed before it"

    def _latency(self, after: Traffic, before: Traffic) -> Iterator[str]:
        new, old = after.latency(_P95), before.latency(_P95)
        if new and old and new > old * self.settings.max_slowdown:
            yield f"answers 95 % within {new:.3g} ms, it was {old:.3g} ms before it"

    def _quality(self, kinds: Kinds) -> Iterator[str]:
        """Compares live metrics with what the evaluation promised."""
        from operations import performance

        promised = self.model.promised.get(_METRIC, live.Promise(0.0)).low
        if not self.model.evaluation or promised is None:
            return
        asked = performance.Asked(
            self.watched.since,
            self.now,
            self.model.evaluation,
            self.model.label_policy,
            self.watched.version,
        )
        book = labels.ledger_of(self.config)
        found = performance.measure(book, kinds, asked).metrics.get(_METRIC)
        if found and found.high is not None and found.high < promised:
            yield (
                f"has {_TITLE} {found.value:.4g}, at most {found.high:.4g}, and "
                f"promised at least {promised:.4g}"
            )

    def _failures_of_pairs(self, pairs: Pairs) -> Iterator[str]:
        new, old = pairs.failed, pairs.before_failed
        worse = (new - old) / pairs.requests
        # Of a difference of two shares of the same requests.
        spread = math.sqrt(new + old) / pairs.requests
        if worse > max(self.settings.max_failed, _DEVIATIONS * spread):
            yield (
                f"fails {new:,} of {pairs.requests:,} requests that version "
                f"{self.watched.before} answers, which fails {old:,} that it answers"
            )

    def _latency_of_pairs(self, pairs: Pairs) -> Iterator[str]:
        new, old = pairs.latency_ms, pairs.before_latency_ms
        if new and old and new > old * self.settings.max_slowdown:
            yield (
                f"answers 95 % within {new:.3g} ms, and version {self.watched.before} "
                f"the same requests within {old:.3g} ms"
            )

    def _quality_of_pairs(self, log: Log, kinds: Kinds) -> Iterator[str]:
        """Compares the AUC with that of the version before, on the same requests."""
        asked = _asked(self.watched, self.now)
        book = labels.ledger_of(self.config)
        found = shadow.quality(log, book, kinds, asked, self.model.label_policy)
        if (
            found
            and found.rows >= self.settings.min_rows
            and found.high < -self.settings.max_auc_loss
        ):
            yield (
                f"has an AUC of {found.live:.4g} where version {self.watched.before} "
                f"has {found.before:.4g}, on the same {found.rows:,} requests"
            )


def _sum(traffic: dict[int, Traffic]) -> Traffic:
    total = Traffic()
    for each in traffic.values():
        total.add(each)
    return total
