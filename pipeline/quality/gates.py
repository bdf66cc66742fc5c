"""Judges a candidate by rules, on all rows and on slices, with intervals.

A rule about all rows is kept or broken by the measured value; a loss that is sure, by a
one-sided interval, may besides be a fifth of its bound only.
A rule about slices is broken only with confidence, corrected for the number of slices
(Bonferroni), so that chance in many small slices blocks nothing. A slice with too few
rows is undecided, and says so.
"""

import collections
import dataclasses
import itertools
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from models.declarations import Task
from pipeline.quality import comparisons, pairs
from pipeline.quality.aggregates import Partial
from pipeline.quality.comparisons import Comparison
from pipeline.quality.pairs import Estimates
from pipeline.quality.rules import Kind, Rule, metrics_of, parse
from pipeline.quality.slices import SliceKey

PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"
LIVE = "live"
BEST = "best"
ITSELF = ""
"""What the candidate is paired with if there is no other model."""

_FEWEST_OF_A_CLASS = 10
_SURE_SHARE = 0.2
"""Of a loss's bound, on all rows: more than this may not be lost with confidence."""
_PERCENTILES = (2.5, 97.5)
_LABELS = {LIVE: "the live model's", BEST: "that of the best recent live model"}


@dataclass(frozen=True)
class Settings:
    """What is judged, and how sure a judgement must be.

    Attributes:
        rules: The rules as texts, see `rules`.
        confidence: Of the one-sided intervals, 0.5 to 1.
        min_rows: Fewest rows of a slice that is judged.
        groups: Groupings whose metrics are reported though no rule may name them.
        task: The kind of task.
        classes: The classes in the order of their numbers, if there are several.
    """

    rules: tuple[str, ...]
    confidence: float
    min_rows: int
    groups: tuple[str, ...] = ()
    task: Task = "binary"
    classes: tuple[str | int, ...] = ()

    def to_json(self) -> str:
        """Formats them as a parameter of the component."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Restores them."""
        given = json.loads(text)
        lists = {name: tuple(given[name]) for name in ("rules", "groups", "classes")}
        return cls(**{**given, **lists})

    @property
    def parsed(self) -> tuple[Rule, ...]:
        """The rules."""
        return tuple(parse(text) for text in self.rules)

    def comparison(self, thresholds: tuple[float, float]) -> Comparison:
        """Returns how the candidate and a rival of these thresholds are compared."""
        return comparisons.comparison(self.task, self.classes, thresholds)

    @property
    def columns(self) -> tuple[tuple[str, ...], ...]:
        """What the rows are sliced by, each combination once; () for all rows."""
        named = [tuple(sorted(rule.by)) for rule in self.parsed]
        return tuple(dict.fromkeys([(), *named, *((name,) for name in self.groups)]))


@dataclass(frozen=True)
class Finding:
    """What a rule found in a slice, or in two whose gap it is about.

    Attributes:
        rule: The rule as it is written.
        where: The slice, in words.
        outcome: `PASSED`, `FAILED` or `UNDECIDED`.
        against: `LIVE` or `BEST` if it is a loss.
        value: The candidate's metric, or the gap.
        other: The other model's metric.
        low: One-sided lower bound of the value, the loss or the gap.
        high: One-sided upper bound.
        rows: Effective number of rows.
        text: The finding as a sentence.
        doubt: Part of the text: that a naive model may be as good; empty if it isn't.
    """

    rule: str
    where: str
    outcome: str
    text: str
    against: str = ""
    value: float | None = None
    other: float | None = None
    low: float | None = None
    high: float | None = None
    rows: float = 0.0
    doubt: str = ""


@dataclass(frozen=True)
class Judged:
    """The verdict.

    Attributes:
        findings: Those of each rule, in the rules' order.
        metrics: Each slice's metrics with 95 % intervals, as JSON values.
        confidence: Of the one-sided intervals.
        comparisons: Number of slices that share it.
        calibration: Of classes, see `group_pairs.class_calibration`; empty for other
            tasks.
    """

    findings: tuple[Finding, ...]
    metrics: tuple[Mapping[str, Any], ...]
    confidence: float
    comparisons: int
    calibration: Sequence[Mapping[str, float]] = ()

    @property
    def passed(self) -> bool:
        """Whether no rule is broken."""
        return not any(each.outcome == FAILED for each in self.findings)

    def to_json(self, **more: Any) -> str:
        """Formats it for `rules.GATES_FILE`, with more values by name."""
        return json.dumps({**dataclasses.asdict(self), **more}, indent=1)


def judge(settings: Settings, partial: Partial, rivals: Sequence[str]) -> Judged:
    """Judges a candidate.

    Args:
        settings: The rules.
        partial: Sums of the comparison with each rival, one rival's after another's.
        rivals: `LIVE`, `BEST` or both; `ITSELF` alone if there is neither.
    """
    # The thresholds are in the sums already.
    comparison = settings.comparison((0.0, 0.0))
    each = len(comparison.kinds)
    found = {
        rival: {
            where: comparison.estimates(
                partial.tables[at * each : (at + 1) * each],
                number,
                zlib.crc32(repr(where).encode()),
            )
            for number, where in enumerate(partial.slices)
        }
        for at, rival in enumerate(rivals)
    }
    alone = found[rivals[0]]
    tests = [
        (rule, rival, where)
        for rule in dict.fromkeys(settings.parsed)
        for rival in _rivals_of(rule, rivals)
        for where in _slices(rule, alone)
    ]
    comparisons = max(1, _count(tests))
    judging = _Judging(settings, found, rivals[0], comparisons)
    return Judged(
        tuple(judging.findings(tests)),
        tuple(_reported(settings, where, each) for where, each in alone.items()),
        settings.confidence,
        comparisons,
        tuple(_calibration(comparison, partial)),
    )


def _calibration(
    comparison: Comparison, partial: Partial
) -> Sequence[Mapping[str, float]]:
    if () not in partial.slices:
        return ()
    return comparison.calibration(partial.tables, partial.slices.index(()))


@dataclass(frozen=True)
class _Judging:
    settings: Settings
    found: Mapping[str, Mapping[SliceKey, Estimates]]
    first: str
    comparisons: int

    def findings(
        self, tests: Sequence[tuple[Rule, str, SliceKey]]
    ) -> Iterator[Finding]:
        """Yields what each rule finds."""
        for rule in dict.fromkeys(self.settings.parsed):
            own = [(rival, where) for r, rival, where in tests if r == rule]
            if rule.kind is Kind.GAP:
                yield self._gap(rule, [where for _, where in own])
                continue
            for rival, where in own:
                yield self._one(rule, rival, where)

    def _one(self, rule: Rule, rival: str, where: SliceKey) -> Finding:
        each = self.found[rival or self.first][where]
        name = slice_text(where)
        given: dict[str, Any] = {
            "rule": str(rule),
            "where": name,
            "against": rival,
            "rows": each.rows,
        }
        value = float(each.candidate[rule.metric][0])
        if why := self._too_few(rule, where, each):
            outcome = UNDECIDED if where else FAILED
            return Finding(outcome=outcome, text=f"{name}: {why}", **given)
        if rule.kind is Kind.LOSS:
            return self._loss(rule, rival, where, each, given)
        error = pairs.standard_error(each.candidate[rule.metric][1:])
        low, high = self._bounds(value, error, sliced=bool(where))
        # All rows are judged by the value: there is nothing that it hides in.
        seen_low, seen_high = (low, high) if where else (value, value)
        at_least = rule.kind is Kind.AT_LEAST
        broken = seen_high < rule.bound if at_least else seen_low > rule.bound
        sure = f" ({low:.4g} to {high:.4g})" if where else ""
        doubt = "" if where else _doubt(rule, low)
        return Finding(
            outcome=FAILED if broken else PASSED,
            text=f"{name}: {rule.metric} is {value:.4g}{sure}; it must be {rule.kind} "
            f"{rule.bound:.4g}{doubt}",
            doubt=doubt,
            value=value,
            low=low,
            high=high,
            **given,
        )

    def _loss(
        self,
        rule: Rule,
        rival: str,
        where: SliceKey,
        each: Estimates,
        given: dict[str, Any],
    ) -> Finding:
        other = each.other[rule.metric]
        sign = 1 if rule.larger_is_better else -1
        losses = sign * (other - each.candidate[rule.metric])
        if rule.relative:
            losses = pairs.ratio(losses, np.abs(other))
        show = _share if rule.relative else _number
        loss, error = float(losses[0]), pairs.standard_error(losses[1:])
        low, high = self._bounds(loss, error, sliced=bool(where))
        if where:
            broken, why = low > rule.bound, ""
        else:
            # A loss that is sure need not be as large: ten in a row would add up.
            sure = rule.bound * _SURE_SHARE
            broken = loss > rule.bound or low > sure
            why = f", and {show(sure)} with confidence" if loss <= rule.bound else ""
        return Finding(
            outcome=FAILED if broken else PASSED,
            text=f"{given['where']}: {rule.metric} is "
            f"{_share(abs(loss)) if rule.relative else f'{abs(loss):.4f}'} "
            f"{'worse' if loss > 0 else 'better'} than {_LABELS[rival]} (loss "
            f"{show(low)} to {show(high)}); at most {show(rule.bound)} is allowed{why}",
            value=float(each.candidate[rule.metric][0]),
            other=float(each.other[rule.metric][0]),
            low=low,
            high=high,
            **given,
        )

    def _gap(self, rule: Rule, slices: Sequence[SliceKey]) -> Finding:
        """Judges the two slices whose gap is the widest with confidence."""
        each = {where: self.found[self.first][where] for where in slices}
        known = [
            where for where in slices if not self._too_few(rule, where, each[where])
        ]
        few = len(slices) - len(known)
        skipped = f"; {few} with too few rows are left out" if few else ""
        given: dict[str, Any] = {
            "rule": str(rule),
            "where": f"by {', '.join(rule.by)}",
        }
        if len(known) < 2:  # noqa: PLR2004 - a gap is between two
            text = f"{given['where']}: fewer than two groups have enough rows{skipped}"
            return Finding(outcome=UNDECIDED, text=text, **given)
        gaps = (self._apart(rule, *two) for two in itertools.combinations(known, 2))
        widest = max(gaps, key=lambda gap: gap.low)
        show = _share if rule.relative else _number
        return Finding(
            outcome=FAILED if widest.low > rule.bound else PASSED,
            text=f"{rule.metric} {given['where']}: the gap is {show(widest.value)} "
            f"({show(widest.low)} to {show(widest.high)}; {widest.between}); at most "
            f"{show(rule.bound)} is allowed{skipped}",
            value=widest.value,
            low=widest.low,
            high=widest.high,
            rows=sum(each[where].rows for where in known),
            **given,
        )

    def _apart(self, rule: Rule, one: SliceKey, other: SliceKey) -> "_Gap":
        """Returns the gap between two slices, with its one-sided bounds."""
        found = self.found[self.first]
        unit = found[()].candidate[rule.metric] if rule.relative else 1
        first, second = (
            found[where].candidate[rule.metric] / unit for where in (one, other)
        )
        gap = abs(float(first[0] - second[0]))
        # The groups have no row in common, so their errors are independent.
        error = math.hypot(
            pairs.standard_error(first[1:]), pairs.standard_error(second[1:])
        )
        low, high = self._bounds(gap, error, sliced=True)
        values = {w: float(found[w].candidate[rule.metric][0]) for w in (one, other)}
        ascending = sorted(values, key=values.__getitem__)
        between = ", ".join(f"{slice_text(w)} {values[w]:.4g}" for w in ascending)
        return _Gap(gap, low, high, between)

    def _too_few(self, rule: Rule, where: SliceKey, each: Estimates) -> str:
        """Returns why a slice can't be judged; empty if it can."""
        if where and each.rows < self.settings.min_rows:
            return f"{each.rows:.0f} rows are too few to judge {rule.metric}"
        if where and rule.metric == "auc" and each.positives is not None:
            fewest = min(each.positives, each.rows - each.positives)
            if fewest < _FEWEST_OF_A_CLASS:
                return f"{fewest:.0f} rows of a class are too few to judge auc"
        values = [each.candidate[rule.metric]]
        values += [each.other[rule.metric]] if rule.kind is Kind.LOSS else []
        for value in values:
            if not math.isfinite(value[0]):
                return f"{rule.metric} is undefined on these rows"
            if where and math.isnan(pairs.standard_error(value[1:])):
                return f"{rule.metric} has no interval on these rows"
        return ""

    def _bounds(
        self, value: float, error: float, *, sliced: bool
    ) -> tuple[float, float]:
        shared = self.comparisons if sliced else 1
        sure = NormalDist().inv_cdf(1 - (1 - self.settings.confidence) / shared)
        return value - sure * error, value + sure * error


@dataclass(frozen=True)
class _Gap:
    """How far two slices are apart.

    Attributes:
        value: The absolute difference, or its share of the metric on all rows.
        low: One-sided lower bound.
        high: One-sided upper bound.
        between: The two slices with their values, in words.
    """

    value: float
    low: float
    high: float
    between: str


_NAIVE = {
    "r2": (0.0, "predicting the mean"),
    "accuracy_gain": (0.0, "always predicting the most frequent class"),
    "auc": (0.5, "guessing"),
}
"""What a model must be better than, and the metric of that."""


def _doubt(rule: Rule, low: float) -> str:
    """Returns that a naive model may be as good, if that can't be excluded."""
    metric, what = _NAIVE.get(rule.metric, (-math.inf, ""))
    if rule.kind is not Kind.AT_LEAST or low > metric:
        return ""
    return f"; it may be no better than {what}, {metric:g}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _share(value: float) -> str:
    return f"{value:.2%}"


def slice_text(where: SliceKey) -> str:
    """Formats a slice, such as "company Blue", or "overall"."""
    return ", ".join(f"{column} {value}" for column, value in where) or "overall"


def _rivals_of(rule: Rule, rivals: Sequence[str]) -> Sequence[str]:
    """Returns the models that a rule compares with: none but for a loss."""
    if rule.kind is not Kind.LOSS:
        return [ITSELF]
    return [rival for rival in rivals if rival != ITSELF]


def _slices(rule: Rule, found: Mapping[SliceKey, Estimates]) -> Iterator[SliceKey]:
    for where in found:
        if {column for column, _ in where} == set(rule.by):
            yield where


def _count(tests: Sequence[tuple[Rule, str, SliceKey]]) -> int:
    """Counts the comparisons that share the confidence."""
    by_rule = collections.Counter(rule for rule, _, where in tests if where)
    return sum(
        # A gap is between each two of the slices.
        count * (count - 1) // 2 if rule.kind is Kind.GAP else count
        for rule, count in by_rule.items()
    )


def _reported(settings: Settings, where: SliceKey, each: Estimates) -> dict[str, Any]:
    """Returns a slice's metrics with two-sided 95 % intervals, as JSON values."""
    metrics = {}
    for name in metrics_of(settings.task, settings.classes):
        value, replicates = float(each.candidate[name][0]), each.candidate[name][1:]
        if math.isfinite(value):
            # From most of the replicates, or they describe only those that have values.
            known = math.isfinite(pairs.standard_error(replicates))
            bounds = np.nanpercentile(replicates, _PERCENTILES) if known else ()
            metrics[name] = [value, *(map(float, bounds) if known else (None, None))]
    return {
        "where": [list(map(str, pair)) for pair in where],
        "rows": each.rows,
        "positives": each.positives,
        "metrics": metrics,
    }
