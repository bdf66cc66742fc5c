"""Monitors a model: compares a window of its request log with baselines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2

from models import declared
from operations import expected, labels, ledger, live, requests, windows
from operations.joining import Status
from operations.ledger import Ledger
from operations.live import LiveModel
from operations.observation import Alarm, Comparison, Kind, Observation, Quality
from operations.requests import PREDICTION, Log
from operations.settings import Limits
from operations.windows import Window
from pipeline.config import Config
from pipeline.ingestion.columns import Kinds, kinds_of_schema
from pipeline.quality import titles
from pipeline.store import clock
from pipeline.trust import drift, gate, schema_review, units
from pipeline.trust.policy import Policy

BEFORE = "window before's"
"""Name of the baseline that is the window before."""

_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_SERVING = "SERVING"
# Alarms of what follows from the features.
_FOLLOW = frozenset({Kind.PREDICTION, Kind.PERFORMANCE, Kind.EXPECTED})


def directory_of(config: Config) -> Path:
    """Returns the directory of a model's monitoring results."""
    return config.monitoring_page.parent


def observe(config: Config, limits: Limits, until: datetime) -> Observation:
    """Compares a window of the request log with what the live model expects.

    Args:
        config: Names the model, its request log, its registry and the schema.
        limits: What is compared, and when to raise an alarm.
        until: End of the window; the one before ends where it begins.

    Raises:
        UsageError: No version is live, or there is no metadata store.
        ThroughlineError: The log or the ledger is damaged.
    """
    model = live.read(config)
    schema = schema_review.read(config.schema)
    kinds = kinds_of_schema(schema)
    log = Log(requests.directory_of(config))
    log.close()
    raw = {n: kinds[n] for n in declared.RAW_COLUMNS if n in kinds}
    since = until - limits.window
    now = windows.read(log, raw, since, until)
    before = windows.read(log, raw, since - limits.window, since)
    parts = _Parts(model, now, before, limits, schema)
    measured = [*parts.compared()]
    book = labels.ledger_of(config)
    quality = _quality(model, now, book, kinds, can_expect=not parts.too_few)
    total = now.total
    return Observation(
        model=config.name,
        version=model.version,
        at=_text(clock.now()),
        since=_text(since),
        until=_text(until),
        rows=now.rows,
        versions={str(v): t.rows for v, t in sorted(now.traffic.items()) if t.rows},
        failed=dict(sorted(total.failed.items())),
        failed_share=total.failed_share,
        latency_ms=_latency(now),
        comparisons=tuple(_comparison(each) for each in measured),
        labelled=quality.labelled,
        metrics=quality.metrics,
        outside=quality.outside,
        alarms=(
            *parts.traffic_alarms(),
            *parts.explained(
                [
                    *(_drift_alarm(each) for each in measured if each.over),
                    *quality.alarms,
                ]
            ),
        ),
        notes=(*model.missing, *parts.notes(), *quality.notes),
    )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _latency(window: Window) -> dict[str, float]:
    found = {n: window.total.latency(share) for n, share in _PERCENTILES.items()}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class _Parts:
    """A window, and the baselines that it is compared with."""

    model: LiveModel
    now: Window
    before: Window
    limits: Limits
    schema: schema_pb2.Schema

    @property
    def policy(self) -> Policy:
        """How sure a difference must be."""
        return Policy(false_alarms=self.limits.false_alarms)

    @property
    def too_few(self) -> bool:
        """Whether the window has too few rows for its features to be compared."""
        return self.now.rows < self.limits.min_rows

    def compared(self) -> Iterator[drift.Drift]:
        """Compares features with the training data, and all with the window before."""
        if self.too_few or self.now.profile is None:
            return
        yield from self._skew_now
        if self.before.profile and self.before.rows >= self.limits.min_rows:
            wanted = schema_pb2.Schema(
                feature=[
                    feature
                    for feature in _served(self.schema).feature
                    if feature.name not in self.returned
                ]
            )
            if not self.returned:
                wanted.feature.add(name=PREDICTION)
            yield from drift.compare(
                self.before.profile, self.now.profile, BEFORE, self.policy, wanted
            )

    @cached_property
    def _skew_now(self) -> list[drift.Drift]:
        return self._skew_of(self.now)

    @cached_property
    def returned(self) -> frozenset[str]:
        """Features that differed from the training data before, and no longer do.

        So it is when a broken client is fixed. They differ from the window before too,
        which is no drift: there is nothing in it to learn.
        """
        before = {d.value.column for d in self._skew_of(self.before) if d.over}
        return frozenset(before - {d.value.column for d in self._skew_now if d.over})

    def _skew_of(self, window: Window) -> list[drift.Drift]:
        """Compares the features of a window with the training data."""
        if self.model.data is None or window.profile is None:
            return []
        if window.rows < self.limits.min_rows:
            return []
        return list(
            drift.compare(
                self.model.data.rows,
                window.profile,
                gate.LIVE,
                self.policy,
                _served(self.schema),
            )
        )

    @cached_property
    def broken(self) -> dict[str, str]:
        """Features that differ from the training data as by a broken client, and how.

        It sends another unit, or leaves the feature out.
        """
        if self.model.data is None or self.now.profile is None:
            return {}
        before, after = self.model.data.rows.columns, self.now.profile.columns
        found: dict[str, str] = {}
        for each in (d for d in self._skew_now if d.over):
            name = each.value.column
            if each.value.measure == drift.MISSING_SHARE:
                old, new = (c[name].missing / c[name].rows for c in (before, after))
                if new > old:
                    found[name] = f"{name} is missing in {new:.1%} of the rows"
            elif each.value.measure == drift.JENSEN_SHANNON:
                limit = float(each.value.threshold or 0)
                if how := units.changed(before[name], after[name], limit):
                    found[name] = f"{name} is {how}"
        return found

    def explained(self, alarms: Sequence[Alarm]) -> Iterator[Alarm]:
        """Marks alarms that a broken client explains.

        Those of the features that it sends wrongly, and of what follows from features.
        """
        for alarm in alarms:
            about = self.broken.get(alarm.column, "")
            if self.broken and alarm.kind in _FOLLOW:
                about = "; ".join(self.broken.values())
            yield replace(alarm, broken=about) if about else alarm

    def traffic_alarms(self) -> Iterator[Alarm]:
        """Judges rows, failures and latency."""
        limits, total = self.limits, self.now.total
        if self.now.rows < limits.min_traffic:
            text = f"{self.now.rows:,} rows; at least {limits.min_traffic:,} expected"
            yield Alarm(Kind.TRAFFIC, text)
        if total.failed_share > limits.max_failed:
            named = ", ".join(f"{n:,} {s}" for s, n in sorted(total.failed.items()))
            text = f"{total.failed_share:.2%} of requests failed ({named})"
            yield Alarm(Kind.ERRORS, f"{text}; the limit is {limits.max_failed:.2%}")
        slow = total.latency(_PERCENTILES["p95"])
        if limits.max_latency_ms and slow and slow > limits.max_latency_ms:
            text = f"95 % of the answers took up to {slow:.3g} ms"
            yield Alarm(Kind.LATENCY, f"{text}; the limit is {limits.max_latency_ms:g}")

    def notes(self) -> Iterator[str]:
        """Reports what was not compared, and changes of the version."""
        if self.too_few:
            yield (
                f"the window has {self.now.rows:,} rows and {self.limits.min_rows:,} "
                "are needed, so features and scores were not compared"
            )
        elif self.before.rows < self.limits.min_rows:
            yield (
                f"the window before has {self.before.rows:,} rows, so nothing was "
                "compared with it"
            )
        elif self.returned:
            named = ", ".join(sorted(self.returned))
            yield (
                f"{named} differed from the training data in the window before, and no "
                "longer do, so neither that nor the predictions were compared with it"
            )
        versions = {
            v for w in (self.now, self.before) for v, t in w.traffic.items() if t.rows
        }
        if len(versions) > 1:
            named = ", ".join(map(str, sorted(versions)))
            yield (
                f"versions {named} answered in the two windows, so a change of the "
                "predictions may be one of the model"
            )


def _served(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """Returns the features that the model reads in serving."""
    kept = [
        feature
        for feature in schema.feature
        if feature.name in declared.RAW_COLUMNS
        and _SERVING not in feature.not_in_environment
    ]
    return schema_pb2.Schema(feature=kept)


def _comparison(each: drift.Drift) -> Comparison:
    value = each.value
    moved = "; ".join(f"{n}: {b:.1%} -> {a:.1%}" for n, b, a in each.moved)
    return Comparison(
        value.column,
        value.measure,
        value.against,
        value.value,
        float(value.threshold or 0),
        each.null,
        moved,
    )


def _drift_alarm(each: drift.Drift) -> Alarm:
    value = each.value
    if value.against == gate.LIVE:
        kind = Kind.SKEW
    else:
        kind = Kind.PREDICTION if value.column == PREDICTION else Kind.DRIFT
    return Alarm(kind, each.finding().text, value.column)


@dataclass(frozen=True)
class _Found:
    """What is known of the quality of a window's predictions."""

    labelled: int
    metrics: Mapping[str, Quality]
    outside: float | None
    alarms: Sequence[Alarm]
    notes: Sequence[str]


def _quality(
    model: LiveModel, now: Window, book: Ledger, kinds: Kinds, *, can_expect: bool
) -> _Found:
    scores, plot = now.scores, model.calibration
    task = declared.TASK
    can_expect = can_expect and task != "regression"
    estimate = expected.estimate(scores, plot, task) if can_expect else None
    labelled = count_labels(book, now.since, now.until)
    measured, bounds = _measured(model, now, book, kinds, labelled)
    names = dict.fromkeys([*measured, *(estimate.metrics if estimate else ())])
    metrics = {}
    for name in names:
        promised, found = model.promised.get(name), measured.get(name)
        guess = estimate.metrics.get(name) if estimate else None
        metrics[name] = Quality(
            promised.value if promised else None,
            promised.low if promised else None,
            found.value if found else None,
            found.low if found else None,
            found.high if found else None,
            guess.value if guess else None,
            guess.low if guess else None,
            guess.high if guess else None,
        )
    alarms = [*_performance_alarms(metrics, bounds)]
    notes = [expected.NOT_OF_NUMBERS] if task == "regression" else []
    if can_expect and model.evaluation and not plot:
        notes.append(expected.NO_CALIBRATION)
    if labelled < now.rows:
        notes.append(f"{now.rows - labelled:,} of {now.rows:,} rows have no label yet")
    if labelled and not measured:
        notes.append(
            "live metrics were not computed: the evaluation's settings are unknown, or "
            "the answers aren't those of a model of this project's label"
        )
    if estimate:
        notes.append(expected.CONDITION)
    return _Found(
        labelled, metrics, estimate.outside if estimate else None, alarms, notes
    )


def count_labels(book: Ledger, since: datetime, until: datetime) -> int:
    """Counts the predictions of a period that have a label.

    Args:
        book: The labels.
        since: First moment of the predictions.
        until: The moment after the last.
    """
    kind = ledger.FIXED[ledger.REQUEST_TIME]
    count = 0
    for batch in book.rows([Status.JOINED], [ledger.REQUEST_TIME]):
        times = batch.column(ledger.REQUEST_TIME)
        inside = pc.and_(
            pc.greater_equal(times, pa.scalar(since, kind)),
            pc.less(times, pa.scalar(until, kind)),
        )
        count += pc.sum(inside).as_py() or 0
    return count


def _measured(
    model: LiveModel, now: Window, book: Ledger, kinds: Kinds, labelled: int
) -> tuple[Mapping[str, live.Promise], Mapping[str, float]]:
    if not labelled or not model.evaluation:
        return {}, {}
    # Imports TensorFlow, which takes seconds, and there may be no label.
    from operations import performance

    asked = performance.Asked(
        now.since, now.until, model.evaluation, model.label_policy
    )
    found = performance.measure(book, kinds, asked)
    return found.metrics, found.bounds


def _performance_alarms(
    metrics: Mapping[str, Quality], bounds: Mapping[str, float]
) -> Iterator[Alarm]:
    # Only where a threshold says that more is better; of the main one it is known.
    for name in dict.fromkeys([*bounds, titles.MAIN[declared.TASK]]):
        found = metrics.get(name, Quality())
        promised = [b for b in (found.promised_low, bounds.get(name)) if b is not None]
        if not promised:
            continue
        least = max(promised)
        if found.live_high is not None and found.live_high < least:
            text = f"{name} is {found.live:.4g}, at most {found.live_high:.4g}"
            yield Alarm(Kind.PERFORMANCE, f"{text}; at least {least:.4g} was promised")
        if found.expected_high is not None and found.expected_high < least:
            text = f"{name} is expected to be {found.expected:.4g} by the scores"
            most = f"at most {found.expected_high:.4g}; {least:.4g} was promised"
            yield Alarm(Kind.EXPECTED, f"{text}, {most}")
