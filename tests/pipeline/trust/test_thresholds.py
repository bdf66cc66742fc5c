"""Which drift thresholds hold, why, and which ones past data asks for."""

import io
from dataclasses import replace

import pandas as pd
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from data import quarters, taxi
from pipeline.errors import UsageError
from pipeline.trust import drift, thresholds
from pipeline.trust.gate import Baseline
from pipeline.trust.policy import Policy, Value, Verdict
from tests.pipeline.trust.rows import profile_of

SCHEMA = """
feature { name: "trip_start_month" }
feature { name: "fare" }
feature { name: "company" drift_comparator { infinity_norm { threshold: 0.4 } } }
"""


@pytest.fixture(scope="module")
def past() -> list[Baseline]:
    """The sample's first five quarters, as they were accepted."""
    found = list(quarters.split(taxi.read_sample()).values())[:5]
    rows = [pd.read_csv(io.BytesIO(content)) for content in found]
    columns = ["trip_start_month", "fare", "company", "tips", "payment_type"]
    return [
        Baseline(profile_of(each[columns]), Verdict(spans=(number,)))
        for number, each in enumerate(rows, 1)
    ]


def _schema() -> schema_pb2.Schema:
    return text_format.Parse(SCHEMA, schema_pb2.Schema())


@pytest.fixture(scope="module")
def verdict(past: list[Baseline]) -> Verdict:
    """What the gate measured in the fifth quarter, against the fourth."""
    old, new = past[-2].rows, past[-1].rows
    found = drift.compare(old, new, "previous", Policy(), _schema())
    measured = tuple(each.value for each in found)
    return Verdict(measured=measured, compared_with={"previous": "span 4, 900 rows"})


def test_each_threshold_has_its_reason(past: list[Baseline], verdict: Verdict) -> None:
    """Chance, a smallest effect, or what the schema says."""
    found = thresholds.holding(verdict, thresholds.spread(past), len(past))

    reasons = {(t.value.column, t.value.measure): t.value.because for t in found}
    assert reasons["fare", drift.JENSEN_SHANNON] == drift.BY_EFFECT
    assert reasons["company", drift.L_INFINITY] == drift.BY_SCHEMA
    few = profile_of(pd.read_csv(io.BytesIO(taxi.read_sample()), nrows=100))
    small = drift.compare(past[0].rows, few, "previous", Policy(), _schema())
    chance = {each.value.column: each.value for each in small}["fare"]
    assert chance.because == drift.BY_CHANCE
    assert chance.threshold == chance.chance


def test_seasons_are_proposed_and_accepted(
    past: list[Baseline], verdict: Verdict
) -> None:
    """Quarters have other months; the schema is given a threshold for that alone."""
    found = thresholds.holding(verdict, thresholds.spread(past), len(past))

    changed = thresholds.with_proposals(_schema(), found, ["trip_start_month"])

    proposed = {each.value.column for each in found if each.proposed}
    assert proposed == {"trip_start_month"}
    comparator = changed.feature[0].drift_comparator
    assert comparator.jensen_shannon_divergence.threshold == 1
    assert changed.feature[1:] == _schema().feature[1:]
    text = "\n".join(thresholds.lines(found, verdict, len(past)))
    assert "the largest distance of 5 that were accepted" in text
    assert "trip_start_month: drift_comparator { jensen_shannon_divergence {" in text


def test_a_proposal_is_asked_for_by_name(
    past: list[Baseline], verdict: Verdict
) -> None:
    """A column without a proposal can't be accepted by mistake."""
    found = thresholds.holding(verdict, thresholds.spread(past), len(past))

    with pytest.raises(UsageError, match=r"no threshold is proposed for 'fare'"):
        thresholds.with_proposals(_schema(), found, ["fare"])


def test_little_past_data_proposes_nothing(
    past: list[Baseline], verdict: Verdict
) -> None:
    """Two spans differ by chance, not by season; the answer says so."""
    found = thresholds.holding(verdict, thresholds.spread(past[:2]), 2)

    assert {(each.spread, each.proposed) for each in found} == {(None, None)}
    assert "that takes 3 earlier data" in "\n".join(thresholds.lines(found, verdict, 2))


def test_overlapping_windows_are_no_pairs(past: list[Baseline]) -> None:
    """Data that shares a span differs by less than two spans do."""
    first, second, *_ = past
    both = replace(second, verdict=Verdict(spans=(1, 2)))

    assert thresholds.spread([first, both]) == {}
    assert thresholds.spread([first, second])


def test_proposals_have_two_digits_and_a_margin() -> None:
    """A quarter above the largest distance, rounded up."""
    value = Value(
        "jensen_shannon",
        0.01,
        0.02,
        "fare",
        against="previous",
        because=drift.BY_EFFECT,
    )
    between = {("previous", "fare", "jensen_shannon"): [0.01, 0.0411]}

    (found,) = thresholds.holding(Verdict(measured=(value,)), between, 3)

    assert found.proposed == 0.052


def test_a_proposal_goes_where_it_holds() -> None:
    """The live model's data is compared by a skew comparator of its own."""
    measured = tuple(
        Value("jensen_shannon", 0.01, 0.02, "fare", against=against, because=because)
        for against, because in (
            (drift.PREVIOUS, drift.BY_EFFECT),
            (drift.LIVE, drift.BY_SKEW),
        )
    )
    between = {
        (drift.PREVIOUS, "fare", "jensen_shannon"): [0.04],
        (drift.LIVE, "fare", "jensen_shannon"): [0.04, 0.08],
    }
    verdict = Verdict(measured=measured)

    found = thresholds.holding(verdict, between, 3)

    changed = thresholds.with_proposals(_schema(), found, ["fare"]).feature[1]
    assert changed.drift_comparator.jensen_shannon_divergence.threshold == 0.05
    assert changed.skew_comparator.jensen_shannon_divergence.threshold == 0.1
    text = "\n".join(thresholds.lines(found, verdict, 3))
    assert "skew_comparator of the reviewed schema" in text
    assert "fare: skew_comparator { jensen_shannon_divergence { threshold:" in text


def test_trends_count_for_the_live_models_data_alone() -> None:
    """Miles grow for years: no quarter is far from the one before, in any order.

    A threshold of what they grow by would not find miles that became kilometres.
    """
    found = list(quarters.split(taxi.read_sample()).values())[:8]
    rows = [pd.read_csv(io.BytesIO(content)) for content in found]
    columns = ["trip_miles", "fare", "tips", "payment_type"]
    past = [
        Baseline(profile_of(each[columns]), Verdict(spans=(number,)))
        for number, each in enumerate(rows, 1)
    ]

    between = thresholds.spread([*past[4:], *past[:4]])

    before, any_earlier = (
        between[against, "trip_miles", drift.JENSEN_SHANNON]
        for against in (drift.PREVIOUS, drift.LIVE)
    )
    assert (len(before), len(any_earlier)) == (7, 28)
    assert max(before) < drift.SMALLEST_EFFECT[drift.JENSEN_SHANNON]
    assert max(any_earlier) > 0.07
