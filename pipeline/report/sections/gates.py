"""What each rule found, on all rows and in slices."""

from pipeline.artifacts import Run
from pipeline.report.blocks import Section, Table, Text

# What needs attention first.
_ORDER = ("failed", "undecided", "passed")


def section(run: Run) -> Section | None:
    """Tabulates the findings of the rules, the broken ones first."""
    found = run.gates()
    if not found:
        return None
    findings = sorted(found["findings"], key=lambda each: _ORDER.index(each["outcome"]))
    rows = [
        [each["outcome"], each["rule"], each["text"], round(each["rows"])]
        for each in findings
    ]
    text = (
        f"A slice breaks a rule only if that is sure to {found['confidence']:.0%}, "
        f"shared by {found['comparisons']} comparisons; the intervals in brackets are "
        "of that width. Slices with too few rows are undecided."
    )
    return Section("Gates", [Text(text), Table(["", "rule", "finding", "rows"], rows)])
