"""Judges a run's data: evidence in, verdict out."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from pipeline.ingestion.splitting import TRAIN
from pipeline.trust import anomalies, coverage, drift, predictions, profile, whole
from pipeline.trust.checks import Check
from pipeline.trust.policy import Exhibit, Finding, Policy, Value, Verdict
from pipeline.trust.profile import Profile

PREVIOUS, LIVE = drift.PREVIOUS, drift.LIVE

_REMEMBERED = 1000
# A change is gradual if at most this share of it has come with the new data.
_SMALL_STEP = 0.5

_Item = Finding | Value | Exhibit
Found = Iterator[_Item]


@dataclass(frozen=True)
class Baseline:
    """Accepted data that new data is compared with.

    Attributes:
        rows: Profile of all its splits together.
        verdict: What the gate found in it.
        cells: Rows by cell of each cross of its training split.
    """

    rows: Profile
    verdict: Verdict
    cells: coverage.Counts = field(default_factory=dict)

    def __str__(self) -> str:
        """Returns what it is, such as "span 15, 1,204 rows"."""
        spans = self.verdict.spans
        named = f"span {spans[-1]}, " if len(spans) == 1 else ""
        if len(spans) > 1:
            named = f"spans {spans[0]} to {spans[-1]}, "
        return f"{named}{self.rows.rows:,} rows"


@dataclass(frozen=True)
class Evidence:
    """What is known of the data of a run.

    Attributes:
        splits: Profile of each split.
        anomalies: ExampleValidator's result of each split.
        schema: The reviewed schema.
        features: Raw columns that the model reads.
        label_columns: Raw columns that the label is computed from.
        spans: Numbers of the spans that were read; empty without spans.
        quarantined: Rows that ingestion set aside.
        baselines: What to compare with, by name.
        without_baseline: Why there is no baseline of a kind, by its name.
        cells: Rows by cell of each cross, by split.
        scores: The live model's answers before and now; `None` without such.
    """

    splits: Mapping[str, Profile]
    anomalies: Mapping[str, anomalies_pb2.Anomalies]
    schema: schema_pb2.Schema
    features: Collection[str]
    label_columns: Collection[str]
    spans: tuple[int, ...] = ()
    quarantined: int = 0
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    without_baseline: Mapping[str, str] = field(default_factory=dict)
    cells: Mapping[str, coverage.Counts] = field(default_factory=dict)
    scores: predictions.Scores | None = None


def judge(evidence: Evidence, policy: Policy, today: date) -> Verdict:
    """Applies every check, and the policy to what they find.

    Args:
        evidence: What is known of the data.
        policy: Severities, limits and exceptions.
        today: Exceptions that ended before it don't count.

    Returns:
        The verdict; it has all that was measured, whether something was found or not.
    """
    together = profile.merged(list(evidence.splits.values()))
    checks: list[Callable[[], Found]] = [
        lambda: _split_by_split(evidence, policy),
        lambda: whole.find_duplicates(together, policy),
        lambda: whole.find_overlaps(evidence.splits, TRAIN, policy),
        lambda: whole.find_missing_labels(together, evidence.label_columns, policy),
        lambda: whole.find_leakage(together, evidence.features, policy),
        lambda: _covered(evidence, policy),
        lambda: _compared(evidence, together, policy, today),
        lambda: _answered(evidence, policy),
        lambda: _known_contents(evidence, together),
    ]
    found = [each for check in checks for each in check()]
    findings = [each for each in found if isinstance(each, Finding)]
    return Verdict(
        findings=tuple(policy.judge(findings, today)),
        measured=tuple(each for each in found if isinstance(each, Value)),
        exhibits=tuple(each for each in found if isinstance(each, Exhibit)),
        rows={name: split.rows for name, split in evidence.splits.items()},
        compared_with=_compared_with(evidence),
        without_baseline=dict(evidence.without_baseline),
        expired=tuple(
            f"{each}, until {each.until} ({each.because})"
            for each in (*policy.ended, *policy.exceptions)
            if each.expired(today)
        ),
        spans=evidence.spans,
        fingerprint=together.named_fingerprint(),
        history=_history(evidence),
    )


def _split_by_split(evidence: Evidence, policy: Policy) -> Found:
    for name, split in evidence.splits.items():
        yield from anomalies.find_few_rows(name, split.rows, policy.min_rows)
        if name in evidence.anomalies:
            found = list(anomalies.find_anomalies(name, evidence.anomalies[name]))
            yield from found
            yield from anomalies.find_empty_schema(name, found, len(split.columns))
    rows = sum(split.rows for split in evidence.splits.values())
    spans = max(1, len(evidence.spans))
    if 0 < rows < policy.min_rows_of_span * spans:
        text = f"{rows:,} rows"
        text += f" in {spans} spans" if spans > 1 else ""
        text += f"; gate.min-rows-of-span is {policy.min_rows_of_span:,}"
        yield Finding(Check.FEW_ROWS, text)
    share = evidence.quarantined / max(1, rows + evidence.quarantined)
    yield Value("quarantined_rows", share)
    if evidence.quarantined:
        text = f"{evidence.quarantined:,} rows ({share:.2%}) don't fit and were set "
        yield Finding(Check.QUARANTINED_ROWS, f"{text}aside")


def _covered(evidence: Evidence, policy: Policy) -> Found:
    train = evidence.cells.get(TRAIN, {})
    for name, cells in evidence.cells.items():
        if name != TRAIN:
            yield from coverage.find_uncovered(train, cells, policy, split=name)
    if LIVE in evidence.baselines:
        learned = evidence.baselines[LIVE].cells
        everything = coverage.merged(list(evidence.cells.values()))
        yield from coverage.find_uncovered(
            learned, everything, policy, split="", against=LIVE
        )


def _compared(evidence: Evidence, new: Profile, policy: Policy, today: date) -> Found:
    """Compares with the previous data, then with the live model's."""
    previous = evidence.baselines.get(PREVIOUS)
    found = list(_against(PREVIOUS, previous, evidence, new, policy))
    yield from found
    moved = _findings(found)
    learned = evidence.baselines.get(LIVE)
    against_live = list(_against(LIVE, learned, evidence, new, policy))
    if previous is None or _findings(against_live) <= moved:
        yield from against_live
        return
    earlier = list(_against(LIVE, learned, evidence, previous.rows, policy))
    gradual = _gradual(earlier, against_live) - moved
    for each in against_live:
        if not isinstance(each, Value) and _key(each) in gradual:
            yield _of_a_stale_model(each, policy, today)
        else:
            yield each


def _gradual(earlier: Sequence[_Item], now: Sequence[_Item]) -> set[tuple[str, str]]:
    """Returns the findings of which most had happened by the previous data.

    That the previous data isn't significantly different is not enough: few rows hide
    much.

    Args:
        earlier: What the previous data shows against a baseline.
        now: What the new data shows against it.
    """
    before = _findings(earlier)
    distances = {
        (v.column, v.measure): v.value for v in earlier if isinstance(v, Value)
    }
    steps: dict[str, list[bool]] = {}
    for value in now:
        if isinstance(value, Value) and value.value > (value.threshold or math.inf):
            reached = distances.get((value.column, value.measure), 0.0)
            is_small = value.value - reached <= _SMALL_STEP * value.value
            steps.setdefault(value.column, []).append(is_small)
    return {
        (anomaly, column)
        for anomaly, column in _findings(now)
        if (anomaly, column) in before or all(steps.get(column, [False]))
    }


def _against(
    name: str,
    baseline: Baseline | None,
    evidence: Evidence,
    new: Profile,
    policy: Policy,
) -> Found:
    if baseline is None:
        return
    old = baseline.rows
    if name == PREVIOUS or PREVIOUS not in evidence.baselines:
        # How many rows a model has learned from says nothing about rows that are lost.
        yield from whole.find_lost_rows(old, new, name, policy)
    for each in drift.compare(old, new, name, policy, evidence.schema):
        yield each.value
        if each.over:
            yield each.finding()
            yield from filter(None, [each.exhibit])
    yield from whole.find_missing_together(old, new, name)
    yield from whole.find_lost_relations(old, new, name, evidence.features)
    if _are_other_spans(evidence.spans, baseline.verdict.spans):
        yield from whole.find_delivered_again(old, new, name)


def _findings(found: Sequence[_Item]) -> set[tuple[str, str]]:
    return {_key(each) for each in found if isinstance(each, Finding)}


def _key(found: Finding | Exhibit) -> tuple[str, str]:
    return found.anomaly, found.column


def _of_a_stale_model(
    found: Finding | Exhibit, policy: Policy, today: date
) -> Finding | Exhibit:
    """Renames what would block, so that the data can make a newer model.

    Rows that were delivered before are a defect whatever they are compared with.
    """
    judged = policy.judge([Finding(found.anomaly, "", found.column)], today)
    blocks = any(each.blocking for each in judged)
    if not blocks or found.anomaly == Check.DELIVERED_AGAIN:
        return found
    if isinstance(found, Finding):
        text = f"{found.text}; most of it is so in the previous data: the live model, "
        text += "not the data, is out of date"
        return replace(found, anomaly=Check.STALE_MODEL, text=text)
    return replace(found, anomaly=Check.STALE_MODEL)


def _answered(evidence: Evidence, policy: Policy) -> Found:
    if evidence.scores:
        yield from predictions.find_drift(evidence.scores, policy)


def _compared_with(evidence: Evidence) -> dict[str, str]:
    found = {name: str(each) for name, each in evidence.baselines.items()}
    if evidence.scores:
        found[predictions.AGAINST] = str(evidence.scores)
    return found


def _known_contents(evidence: Evidence, new: Profile) -> Found:
    """Finds data that an older span, no baseline any more, had exactly so."""
    spans = _history(evidence).get(new.named_fingerprint(), ())
    if _are_other_spans(evidence.spans, spans):
        text = f"the rows are those of span {', '.join(map(str, spans))}"
        yield Finding(Check.DELIVERED_AGAIN, text)


def _are_other_spans(ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
    return bool(ours and theirs) and not set(ours) & set(theirs)


def _history(evidence: Evidence) -> dict[str, tuple[int, ...]]:
    """Returns the spans of all earlier data of this pipeline, by fingerprint."""
    known: dict[str, tuple[int, ...]] = {}
    for baseline in evidence.baselines.values():
        verdict = baseline.verdict
        known |= {**verdict.history, verdict.fingerprint: verdict.spans}
    return dict(list(known.items())[-_REMEMBERED:])
