"""The gate's policy and its verdict, as plain data.

A finding is something wrong with the data; the policy gives it a severity; the verdict
holds all findings, everything that was measured, and what it was compared with.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any

from pipeline.errors import is_one_line
from pipeline.trust.checks import NOT_BLOCKING, Severity

_SHOWN = 5
_SEPARATOR = ":"
_TINY = 1e-12
_BAR = 20


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the data.

    Attributes:
        anomaly: Name of TFDV's anomaly type, or of one of our `Check`s.
        text: What was found.
        column: Name of the column; empty for whole rows.
        split: Name of the split; empty for all of them.
        severity: What it does to the run, by the policy.
        accepted: The reason of the exception that keeps it from blocking, if any.
    """

    anomaly: str
    text: str
    column: str = ""
    split: str = ""
    severity: Severity = Severity.BLOCK
    accepted: str = ""

    @property
    def blocking(self) -> bool:
        """Whether it stops the run."""
        return self.severity == Severity.BLOCK and not self.accepted


@dataclass(frozen=True)
class Value:
    """One thing that was measured, whether it is a finding or not.

    Attributes:
        measure: What, such as "jensen_shannon".
        value: The measurement.
        threshold: A finding is above it; `None` if there is none.
        column: Name of the column; empty for whole rows.
        split: Name of the split; empty for all of them.
        against: What it is compared with, such as "previous"; empty for nothing.
        chance: What samples of these sizes exceed in one case of
            1 / `Policy.false_alarms` if nothing has changed; `None` if it isn't known.
        because: What the threshold is: "chance", "smallest effect" or "schema".
    """

    measure: str
    value: float
    threshold: float | None = None
    column: str = ""
    split: str = ""
    against: str = ""
    chance: float | None = None
    because: str = ""


Row = dict[str, str]
"""The values of a row by column; missing ones are left out."""


@dataclass(frozen=True)
class Exhibit:
    """What a finding is made of: two histograms, and rows that are examples of it.

    Attributes:
        anomaly: Name of the finding.
        column: Name of the column; empty for whole rows.
        against: Name of the baseline; empty for none.
        bins: Each bin or value with its share of the baseline and of the data.
        low: The examples' values in the column are at least this.
        high: They are below this.
        text: They are this text.
        missing: They are missing.
        hashes: The examples' hashes, if they are whole rows.
        keys: Columns that are hashed; empty for all.
        rows: The examples.
    """

    anomaly: str
    column: str = ""
    against: str = ""
    bins: tuple[tuple[str, float, float], ...] = ()
    low: float | None = None
    high: float | None = None
    text: str | None = None
    missing: bool = False
    hashes: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Exhibit":
        """Returns an exhibit that was read from JSON, which has no tuples."""
        bins = tuple((name, before, after) for name, before, after in given["bins"])
        lists = {name: tuple(given[name]) for name in ("hashes", "keys", "rows")}
        return cls(**{**given, "bins": bins, **lists})


@dataclass(frozen=True)
class Accepted:
    """A reviewed exception: a finding that doesn't block until a date.

    Attributes:
        anomaly: Name of the anomaly type or check.
        until: Last day on which it counts, such as 2026-12-31.
        because: The reason that the reviewer gave.
        feature: The only column it is for; empty means any.
    """

    anomaly: str
    until: str
    because: str
    feature: str = ""

    def covers(self, finding: Finding) -> bool:
        """Whether it is about a finding."""
        return finding.anomaly == self.anomaly and self.feature in {"", finding.column}

    def expired(self, today: date) -> bool:
        """Whether its last day is over."""
        return date.fromisoformat(self.until) < today

    def __str__(self) -> str:
        """Returns what it is about, such as "DRIFT of trip_miles"."""
        return f"{self.anomaly} of {self.feature}" if self.feature else self.anomaly


@dataclass(frozen=True)
class Policy:
    """What each finding does to the run, and the limits of the checks.

    Attributes:
        severities: Severity by NAME or NAME:column; the latter takes precedence.
        exceptions: The reviewed exceptions.
        ended: Exceptions that had ended when the pipeline was compiled. They are part
            of the gate's cache key, so that a verdict isn't reused past its exceptions.
        min_rows: Fewest rows of a split.
        min_share_of_rows: Fewest rows compared with the baseline, 0 to 1.
        max_missing_labels: Largest share of rows without a label, 0 to 1.
        max_duplicates: Largest share of rows that repeat another, 0 to 1.
        key_columns: Columns whose values together no two rows share.
        min_rows_of_span: Fewest rows of each span, all splits together.
        crosses: Columns whose combinations training should cover, as "hour*area".
        min_rows_of_cell: Fewest training rows of a combination that is covered.
        max_uncovered: Largest share of rows in combinations that training never has.
        max_leakage: Largest share of the label's entropy that a feature may explain.
        false_alarms: Probability that data without a change raises any drift finding.
    """

    severities: Mapping[str, Severity] = field(default_factory=dict)
    exceptions: tuple[Accepted, ...] = ()
    ended: tuple[Accepted, ...] = ()
    min_rows: int = 1
    min_share_of_rows: float = 0.1
    max_missing_labels: float = 0.01
    max_duplicates: float = 0.01
    key_columns: tuple[str, ...] = ()
    min_rows_of_span: int = 1
    crosses: tuple[str, ...] = ()
    min_rows_of_cell: int = 10
    max_uncovered: float = 0.05
    max_leakage: float = 0.9
    false_alarms: float = 0.001

    def severity(self, anomaly: str, column: str = "") -> Severity:
        """Returns the severity of a finding in a column."""
        default = NOT_BLOCKING.get(anomaly, Severity.BLOCK)
        general = self.severities.get(anomaly, default)
        return self.severities.get(f"{anomaly}{_SEPARATOR}{column}", general)

    def judge(self, findings: Iterable[Finding], today: date) -> list[Finding]:
        """Gives findings their severity; those to ignore are dropped.

        Args:
            findings: What was found.
            today: Exceptions that ended before it don't count.
        """
        judged = []
        for finding in findings:
            severity = self.severity(finding.anomaly, finding.column)
            if severity == Severity.IGNORE:
                continue
            reasons = [
                f"{exception.because} (until {exception.until})"
                for exception in self.exceptions
                if exception.covers(finding) and not exception.expired(today)
            ]
            accepted = reasons[0] if reasons and severity == Severity.BLOCK else ""
            judged.append(replace(finding, severity=severity, accepted=accepted))
        return judged

    def to_json(self) -> str:
        """Writes the policy as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Policy":
        """Reads what `to_json` wrote."""
        given = json.loads(text)
        given["severities"] = {n: Severity(s) for n, s in given["severities"].items()}
        for name in ("exceptions", "ended"):
            given[name] = tuple(Accepted(**each) for each in given[name])
        for name in ("key_columns", "crosses"):
            given[name] = tuple(given[name])
        return cls(**given)


@dataclass(frozen=True)
class Verdict:
    """What the gate found and measured in the data of a run.

    Attributes:
        findings: What is wrong, with severities.
        measured: Everything that was measured, whether it is a finding or not.
        exhibits: What some of the findings are made of.
        rows: Number of rows by split.
        compared_with: The baselines, such as {"previous": "span 15, 1,204 rows"}.
        without_baseline: Why there is no baseline of a kind, by its name.
        expired: Exceptions that no longer count, in words.
        spans: Numbers of the spans that were read; empty without spans.
        fingerprint: Of the rows' contents, in any order.
        history: Spans of earlier data, by its fingerprint.
    """

    findings: tuple[Finding, ...] = ()
    measured: tuple[Value, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    compared_with: Mapping[str, str] = field(default_factory=dict)
    without_baseline: Mapping[str, str] = field(default_factory=dict)
    expired: tuple[str, ...] = ()
    spans: tuple[int, ...] = ()
    fingerprint: str = ""
    history: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def blocking(self) -> list[Finding]:
        """The findings that stop the run."""
        return [finding for finding in self.findings if finding.blocking]

    def to_json(self) -> str:
        """Writes the verdict as JSON."""
        return json.dumps({"blocks": bool(self.blocking), **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Verdict":
        """Reads what `to_json` wrote."""
        given: dict[str, Any] = json.loads(text)
        del given["blocks"]
        findings = (
            Finding(**{**each, "severity": Severity(each["severity"])})
            for each in given.pop("findings")
        )
        measured = (Value(**each) for each in given.pop("measured"))
        return cls(
            findings=tuple(findings),
            measured=tuple(measured),
            # Verdicts of earlier versions have none.
            exhibits=tuple(map(Exhibit.of, given.pop("exhibits", ()))),
            expired=tuple(given.pop("expired")),
            spans=tuple(given.pop("spans")),
            history={name: tuple(s) for name, s in given.pop("history").items()},
            **given,
        )

    def to_text(self, most: int | None = None) -> str:
        """Formats the verdict as tables.

        Args:
            most: How many of the measured values, the nearest to their thresholds
                first; `None` means all.
        """
        return "\n".join(_lines(self, most)) + "\n"


def refusal(verdict: Verdict) -> str:
    """Formats the error for a verdict that blocks, with advice.

    Returns:
        A message with up to five findings, one per line; the same finding in several
        splits is listed once.
    """
    findings = verdict.blocking
    splits: dict[tuple[str, str, str], list[str]] = {}
    for finding in findings:
        # A broken column is broken in every split: one line each would fill the list.
        key = finding.column, finding.text, finding.anomaly
        splits.setdefault(key, []).append(finding.split or "all splits")
    lines = [
        f"  {one_line(column) or 'all columns'} ({', '.join(names)}): {text}"
        for (column, text, _), names in splits.items()
    ]
    more = len(lines) - _SHOWN
    first = findings[0]
    feature = f" --feature {one_line(first.column)}" if first.column else ""
    return "\n".join(
        [
            f"The data was refused ({len(lines)} blocking):",
            *lines[:_SHOWN],
            *([f"  … and {more} more"] if more > 0 else []),
            *(f"An exception has ended: {each}" for each in verdict.expired),
            (
                "Fix the data. If the data is right: `throughline schema diff` shows "
                "where the reviewed schema differs, `throughline gate` shows all that "
                "was measured, and `throughline gate accept "
                f"{first.anomaly}{feature} --until DATE --because TEXT` accepts a "
                "finding for a time."
            ),
        ]
    )


def one_line(column: str) -> str:
    """Quotes a column's name if it has control characters or line ends."""
    return column if is_one_line(column) else repr(column)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Formats rows of texts as aligned columns, the header first."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _lines(verdict: Verdict, most: int | None) -> Iterable[str]:
    rows = ", ".join(f"{split} {count:,}" for split, count in verdict.rows.items())
    yield f"The data was {'refused' if verdict.blocking else 'accepted'}: rows {rows}"
    for name, what in verdict.compared_with.items():
        yield f"Compared with the {name} data: {what}"
    for name, why in verdict.without_baseline.items():
        yield f"Not compared with the {name} data: {why}"
    for each in verdict.expired:
        yield f"An exception has ended: {each}"
    yield ""
    if not verdict.findings:
        yield "Nothing was found."
    else:
        yield from table(
            ("severity", "anomaly", "column", "split", "what was found"),
            [
                (
                    "accepted" if f.accepted else f.severity,
                    f.anomaly,
                    one_line(f.column) or "-",
                    f.split or "-",
                    f"{f.text} [{f.accepted}]" if f.accepted else f.text,
                )
                for f in verdict.findings
            ],
        )
    for exhibit in verdict.exhibits:
        yield ""
        yield from _exhibited(exhibit)
    yield from _measured(verdict.measured, most)


def _exhibited(exhibit: Exhibit) -> Iterable[str]:
    where = f" in {one_line(exhibit.column)}" if exhibit.column else ""
    yield f"{exhibit.anomaly}{where}"
    if exhibit.bins:
        widest = max(max(before, after) for _, before, after in exhibit.bins) or 1.0
        yield from table(
            ("  values", f"{exhibit.against}", "", "now", ""),
            [
                (
                    f"  {one_line(name)}",
                    f"{before:.1%}",
                    _bar(before / widest),
                    f"{after:.1%}",
                    _bar(after / widest),
                )
                for name, before, after in exhibit.bins
            ],
        )
    for row in exhibit.rows:
        values = ", ".join(f"{one_line(n)} {one_line(v)}" for n, v in row.items())
        yield f"  for example: {values}"


def _bar(share: float) -> str:
    return "#" * round(_BAR * share)


def _measured(values: Iterable[Value], most: int | None) -> Iterable[str]:
    compared = [
        (value.value / max(value.threshold, _TINY), value)
        for value in values
        if value.threshold is not None
    ]
    if not compared:
        return
    compared.sort(key=lambda pair: -pair[0])
    yield ""
    yield from table(
        ("measured", "column", "against", "value", "threshold"),
        [
            (
                f"{v.measure} ({v.split})" if v.split else v.measure,
                one_line(v.column) or "-",
                v.against or "-",
                f"{v.value:.4f}",
                f"{v.threshold:.4f}",
            )
            for _, v in compared[:most]
        ],
    )
    if most is not None and len(compared) > most:
        yield f"… and {len(compared) - most} more, further below their thresholds"
