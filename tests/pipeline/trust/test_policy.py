"""The policy gives findings a severity; the verdict is plain data."""

from datetime import date

import pytest

from pipeline.trust.checks import Check, Severity
from pipeline.trust.policy import (
    Accepted,
    Exhibit,
    Finding,
    Policy,
    Value,
    Verdict,
    refusal,
)

TODAY = date(2026, 11, 24)
DRIFT = Finding(Check.DRIFT, "it moved", "fare")


@pytest.mark.parametrize(
    ("severities", "column", "expected"),
    [
        ({}, "fare", Severity.BLOCK),
        ({"DRIFT": Severity.WARN}, "fare", Severity.WARN),
        ({"DRIFT:fare": Severity.WARN}, "fare", Severity.WARN),
        ({"DRIFT:fare": Severity.WARN}, "tips", Severity.BLOCK),
        (
            {"DRIFT": Severity.IGNORE, "DRIFT:fare": Severity.BLOCK},
            "fare",
            Severity.BLOCK,
        ),
    ],
)
def test_severities(
    severities: dict[str, Severity], column: str, expected: Severity
) -> None:
    """A severity for a column takes precedence over that of the finding."""
    assert Policy(severities).severity("DRIFT", column) == expected


def test_what_is_to_be_ignored_is_no_finding() -> None:
    """Findings to ignore are dropped, others get their severity."""
    policy = Policy({"DRIFT": Severity.IGNORE})
    new = Finding("SCHEMA_NEW_COLUMN", "new", "bonus")

    (judged,) = policy.judge([DRIFT, new], TODAY)

    assert (judged.column, judged.severity) == ("bonus", Severity.WARN)
    assert not judged.blocking


@pytest.mark.parametrize(
    ("exception", "blocks"),
    [
        (Accepted("DRIFT", "2026-11-24", "sale", "fare"), False),
        (Accepted("DRIFT", "2026-11-24", "sale"), False),
        (Accepted("DRIFT", "2026-11-23", "sale", "fare"), True),
        (Accepted("DRIFT", "2026-11-24", "sale", "tips"), True),
        (Accepted("LEAKAGE", "2026-11-24", "sale", "fare"), True),
    ],
)
def test_exceptions(exception: Accepted, *, blocks: bool) -> None:
    """An exception holds until its last day, for its finding and its column."""
    policy = Policy(exceptions=(exception,))

    (judged,) = policy.judge([DRIFT], TODAY)

    assert judged.blocking == blocks
    assert judged.accepted == ("" if blocks else "sale (until 2026-11-24)")


def test_a_policy_travels_as_json() -> None:
    """What the component is given is what the executor reads."""
    policy = Policy(
        {"DRIFT": Severity.WARN}, (Accepted("DRIFT", "2026-12-31", "sale"),), min_rows=9
    )

    assert Policy.from_json(policy.to_json()) == policy


def test_a_verdict_travels_as_json() -> None:
    """A verdict that was written is read with all it has."""
    verdict = Verdict(
        findings=(DRIFT,),
        measured=(Value("jensen_shannon", 0.03, 0.02, "fare", against="previous"),),
        exhibits=(
            Exhibit(
                "DRIFT",
                "fare",
                "previous",
                (("below 3", 0.5, 0.9),),
                high=3.0,
                rows=({"fare": "1.5", "company": "x"},),
            ),
            Exhibit("DUPLICATE_KEYS", hashes=(2**64 - 1,), keys=("trip",)),
        ),
        rows={"train": 70},
        compared_with={"previous": "70 rows"},
        without_baseline={"live model's": "none"},
        expired=("DRIFT",),
        spans=(3, 4),
        fingerprint="70-ab",
        history={"60-cd": (1, 2)},
    )

    assert Verdict.from_json(verdict.to_json()) == verdict


def test_exhibits_are_shown() -> None:
    """Both histograms, and the rows that are examples."""
    exhibit = Exhibit(
        "DRIFT",
        "fare",
        "previous",
        (("below 3", 0.25, 0.5), ("3 and more", 0.75, 0.5)),
        rows=({"fare": "1.5", "company": "a\nb"},),
    )

    lines = Verdict(exhibits=(exhibit,)).to_text().splitlines()

    place = lines.index("DRIFT in fare")
    assert [line.split() for line in lines[place + 1 : place + 4]] == [
        ["values", "previous", "now"],
        ["below", "3", "25.0%", "#######", "50.0%", "#############"],
        ["3", "and", "more", "75.0%", "#" * 20, "50.0%", "#############"],
    ]
    assert lines[place + 4] == "  for example: fare 1.5, company 'a\\nb'"


def test_a_refusal_names_what_blocks() -> None:
    """It has column, splits and text of what blocks, and how to accept it."""
    warned = Finding("X", "harmless", severity=Severity.WARN)
    twice = [Finding(Check.DRIFT, "it moved", "fare", s) for s in ("train", "test")]

    lines = refusal(Verdict((warned, *twice), expired=("DRIFT, until …",))).splitlines()

    assert lines[:3] == [
        "The data was refused (1 blocking):",
        "  fare (train, test): it moved",
        "An exception has ended: DRIFT, until …",
    ]
    assert "accept DRIFT --feature fare --until DATE --because TEXT" in lines[3]


@pytest.mark.parametrize(("wrong", "more"), [(5, []), (6, ["  … and 1 more"])])
def test_a_refusal_has_five_findings(wrong: int, more: list[str]) -> None:
    """A refusal lists five findings, and how many more there are."""
    findings = tuple(Finding(Check.DRIFT, "moved", f"c{n}") for n in range(wrong))

    first, *lines, _ = refusal(Verdict(findings)).splitlines()

    assert f"({wrong} blocking)" in first
    assert lines[5:] == more


def test_a_column_cannot_forge_a_line() -> None:
    """A column's name with a line end in it is shown in one line, also in the table."""
    verdict = Verdict((Finding(Check.DRIFT, "moved", "x\nBlessed"),))

    for text in (refusal(verdict), verdict.to_text()):
        assert "'x\\nBlessed'" in text
        assert "Blessed" not in [line[:7] for line in text.splitlines()]


def test_the_table_begins_with_what_is_nearest_to_its_threshold() -> None:
    """Of many values the first few are shown, and how many more there are."""
    values = tuple(Value("m", number / 10, 1.0, f"c{number}") for number in range(4))

    lines = Verdict(measured=values, rows={"train": 7}).to_text(most=2).splitlines()

    assert lines[0] == "The data was accepted: rows train 7"
    assert [line.split()[1] for line in lines[-3:-1]] == ["c3", "c2"]
    assert lines[-1] == "… and 2 more, further below their thresholds"


def test_accepted_findings_are_marked() -> None:
    """The table has the reason of an exception."""
    accepted = Finding(Check.DRIFT, "moved", accepted="sale (until 2026-12-31)")

    text = Verdict((accepted,)).to_text()

    assert "accepted" in text
    assert "moved [sale (until 2026-12-31)]" in text
