"""The demo's lines."""

import pytest

from demo import story

MEASURED = "it is 0.04; the threshold is 0.03 (below 1: 9.0% -> 2.0%; 1 to 2: 3.0%)"
NO_RUN = "; it starts no run"


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (f"alarm: skew: fare: {MEASURED}{NO_RUN}", f"skew: fare: it is 0.04{NO_RUN}"),
        ("new: span 6; reads spans 1 to 6", "new: span 6; reads spans 1 to 6"),
        ("one part", "one part"),
        ("it is 0.04; the threshold is 0.02 (15.7: 5 %; 7.8: 9 % -> …", "it is 0.04"),
        ("x" * 200, f"{'x' * 158} …"),
    ],
)
def test_reasons_are_shortened(text: str, short: str) -> None:
    """To what was measured and what follows; bins are for the report."""
    assert story._short(text) == short


def test_a_kind_of_alarm_is_named_once() -> None:
    """However many columns have it."""
    assert story._named("drift", ["fare"]) == "drift of fare"
    assert story._named("drift", ["fare", "tips", "x"]) == "drift of fare and 2 more"
