"""What monitoring found in a window of the request log, as plain data."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from models import declared
from pipeline.quality import titles
from pipeline.quality.results import metric_text

_SHOWN = 3


class Kind(StrEnum):
    """What an alarm is about."""

    TRAFFIC = "traffic"
    ERRORS = "errors"
    LATENCY = "latency"
    SKEW = "skew"
    """A feature differs from the live model's training data."""
    DRIFT = "drift"
    """A feature differs from the window before."""
    PREDICTION = "prediction"
    """The scores differ from those of the window before."""
    PERFORMANCE = "performance"
    """The labels that have come show a worse model than its evaluation did."""
    EXPECTED = "expected performance"
    """The scores make a worse model likely than its evaluation did."""


@dataclass(frozen=True)
class Alarm:
    """Something to act on.

    Attributes:
        kind: What it is about.
        text: What was found, in words.
        column: Name of the feature; empty if it is about no feature.
        broken: Why it looks like a broken client, from which there is nothing to learn;
            empty if it doesn't.
    """

    kind: Kind
    text: str
    column: str = ""
    broken: str = ""

    def __str__(self) -> str:
        """Returns kind, column and text."""
        return f"{self.kind}: {f'{self.column}: ' if self.column else ''}{self.text}"


@dataclass(frozen=True)
class Comparison:
    """A measure of how far a column is from a baseline.

    Attributes:
        column: Name of the feature, or "prediction".
        measure: Name of the measure, such as "jensen_shannon".
        against: The baseline.
        value: The measurement.
        threshold: More than this is an alarm.
        unchanged: What unchanged data of this size has on average.
        moved: Bins or values whose share moved most, in words.
    """

    column: str
    measure: str
    against: str
    value: float
    threshold: float
    unchanged: float
    moved: str = ""


@dataclass(frozen=True)
class Quality:
    """A metric's value in three places; `None` where there is none.

    Attributes:
        promised: On the test split, by the evaluation.
        promised_low: Lower end of its 95 % interval.
        live: On the predictions of the window whose labels have come.
        live_low: Lower end of its 95 % interval.
        live_high: Upper end of its 95 % interval.
        expected: Estimated from the window's scores, without labels.
        expected_low: Lower end of its 95 % interval.
        expected_high: Upper end of its 95 % interval.
    """

    promised: float | None = None
    promised_low: float | None = None
    live: float | None = None
    live_low: float | None = None
    live_high: float | None = None
    expected: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None


@dataclass(frozen=True)
class Observation:
    """A window of the request log of a model.

    Attributes:
        model: Name of the model.
        version: The live version.
        at: When it was observed, ISO 8601 in UTC.
        since: First moment of the window.
        until: The moment after its last.
        rows: Examples that were predicted.
        versions: Those by version.
        failed: Failed requests by status.
        failed_share: Share of failed requests, 0 to 1.
        latency_ms: Latency by percentile: p50, p95, p99; empty without traffic.
        comparisons: How far columns are from their baselines.
        labelled: Predictions of the window with a label.
        metrics: Metrics by TFMA's name.
        outside: Share of rows, 0 to 1, whose scores the test split doesn't have; `None`
            if there is no estimate.
        alarms: What to act on.
        notes: What could not be measured and why, and conditions, as sentences.
    """

    model: str
    version: int
    at: str
    since: str
    until: str
    rows: int
    versions: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    failed_share: float = 0.0
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    labelled: int = 0
    metrics: Mapping[str, Quality] = field(default_factory=dict)
    outside: float | None = None
    alarms: tuple[Alarm, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Share of the predictions that have a label, 0 to 1."""
        return self.labelled / (self.rows or 1)

    def has(self, *kinds: Kind) -> bool:
        """Whether there is an alarm of one of these kinds."""
        return any(alarm.kind in kinds for alarm in self.alarms)

    @property
    def broken(self) -> tuple[str, ...]:
        """What looks like a broken client, as a clause per feature."""
        features = [a.broken for a in self.alarms if a.kind in {Kind.SKEW, Kind.DRIFT}]
        return tuple(dict.fromkeys(filter(None, features)))

    def lines(self) -> Iterator[str]:
        """Yields it as lines: each alarm, or the sentence if there is none."""
        if not self.alarms:
            yield self.line()
            return
        yield self._heading
        yield from map(str, self.alarms)
        yield from self._clients

    @property
    def _heading(self) -> str:
        count = len(self.alarms)
        return (
            f"{count or 'no'} alarm{'s' if count > 1 else ''} for {self.model} version "
            f"{self.version}, {self.since[:16]} to {self.until[:16]} UTC"
        )

    @property
    def _clients(self) -> list[str]:
        return [f"it looks like a broken client: {each}" for each in self.broken]

    def line(self) -> str:
        """Sums it up in a sentence."""
        if self.alarms:
            more = len(self.alarms) - _SHOWN
            shown = [*map(str, self.alarms[:_SHOWN])]
            rest = [f"and {more} more"] if more > 0 else []
            return f"{self._heading}: {'; '.join([*shown, *rest, *self._clients])}"
        parts = [f"{self.rows:,} rows", f"{self.failed_share:.2%} of requests failed"]
        if "p95" in self.latency_ms:
            parts.append(f"95 % within {self.latency_ms['p95']:.3g} ms")
        parts.append(f"labels of {self.coverage:.0%}")
        title, found = titles.main(self.metrics, declared.TASK)
        if found:
            parts += [
                f"{name} {title} {metric_text(value)}"
                for name, value in (
                    ("live", found.live),
                    ("expected", found.expected if found.live is None else None),
                    ("promised", found.promised),
                )
                if value is not None
            ]
        return f"{self._heading}: {', '.join(parts)}"

    def to_json(self) -> str:
        """Writes it as JSON."""
        values = {**asdict(self), "coverage": self.coverage, "line": self.line()}
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Observation":
        """Reads what `to_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise TypeError("it is no JSON object")
        return cls(**_given(values))


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    given = {n: v for n, v in values.items() if n not in {"coverage", "line"}}
    comparisons = (Comparison(**each) for each in given["comparisons"])
    alarms = (Alarm(**{**a, "kind": Kind(a["kind"])}) for a in given["alarms"])
    metrics = {name: Quality(**each) for name, each in given["metrics"].items()}
    return {
        **given,
        "comparisons": tuple(comparisons),
        "alarms": tuple(alarms),
        "metrics": metrics,
        "notes": tuple(given["notes"]),
    }
