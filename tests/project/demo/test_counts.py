"""What the demo's day has come to."""

from dataclasses import replace
from typing import Any

import pytest

from demo.counts import Counts

GOOD = Counts(
    sent=20,
    answered=20,
    logged=20,
    distinct=20,
    outcomes=10,
    joined=10,
    other_labels={},
    runs=(("span", 0), ("drift", 0), ("span", 3)),
    skews=1,
    pushed=(5, 9),
    live=9,
    served=9,
)


def test_a_day_without_loss_differs_in_nothing() -> None:
    """And its counts are four lines."""
    assert list(GOOD.differences()) == []
    assert list(GOOD.lines()) == [
        "requests   sent 20 = answered 20 = logged 20",
        "labels     joined 10 of 10 outcomes",
        "runs       3: span (ended with 0), drift (ended with 0), span (ended with 3)",
        "versions   2 were live: 5, 9",
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"answered": 19}, "20 requests were sent, 19 answered, 20 logged"),
        ({"logged": 21}, "21 logged, under 20 ids"),
        ({"distinct": 19}, "under 19 ids"),
        ({"joined": 9}, "10 outcomes came, 9 were joined"),
        ({"other_labels": {"orphaned": 2}}, "10 were joined, 2 orphaned"),
        ({"runs": (("span", 0), ("span", 3))}, "drift started 0 runs"),
        ({"runs": (*GOOD.runs, ("drift", 0))}, "drift started 2 runs"),
        ({"runs": (("span", 1), *GOOD.runs[1:])}, "the first training ended with [1]"),
        ({"runs": (*GOOD.runs[:2], ("span", 0))}, "the poisoned span led to [0]"),
        ({"runs": GOOD.runs[:2]}, "the poisoned span led to []"),
        ({"skews": 0}, "no skew was noted"),
        ({"pushed": (5,), "live": 5, "served": 5}, "versions (5,) were pushed"),
        ({"live": 5, "served": 5}, "and 5 is live"),
        ({"served": 5}, "version 9 is live and 5 answers"),
    ],
)
def test_what_differs_is_named(changed: dict[str, Any], said: str) -> None:
    """Each count that doesn't agree is a sentence."""
    (text,) = replace(GOOD, **changed).differences()

    assert said in text
