"""Drift: what changed is found, and what didn't is left alone."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.trust import drift
from pipeline.trust.checks import Check
from pipeline.trust.drift import Drift
from pipeline.trust.policy import Policy
from tests.pipeline.trust.rows import profile_of, sample

Change = Callable[[pd.DataFrame], None]


@pytest.fixture(scope="module")
def shuffled() -> pd.DataFrame:
    """The sample in a random order."""
    order = np.random.default_rng(1).permutation(len(sample()))
    return sample().iloc[order]


def _compared(
    before: pd.DataFrame,
    after: pd.DataFrame,
    schema: schema_pb2.Schema | None = None,
    against: str = drift.PREVIOUS,
) -> dict[tuple[str, str], Drift]:
    found = drift.compare(
        profile_of(before), profile_of(after), against, Policy(), schema
    )
    return {(each.value.column, each.value.measure): each for each in found}


def _kilometres(rows: pd.DataFrame) -> None:
    rows["trip_miles"] *= 1.609344


def test_a_change_of_unit_is_seen(shuffled: pd.DataFrame) -> None:
    """Of 1,000 rows, kilometres have ten times the divergence of miles."""
    before, after = shuffled[:10_000], shuffled[10_000:11_000].copy()
    key = "trip_miles", drift.JENSEN_SHANNON

    same = _compared(before, after)[key]
    _kilometres(after)
    changed = _compared(before, after)[key]

    assert same.value.value == pytest.approx(0.003, abs=0.002)
    assert same.null == pytest.approx(0.003, abs=0.001)
    assert not same.over
    assert changed.value.value == pytest.approx(0.033, abs=0.004)
    assert changed.over
    text = changed.finding().text
    assert text.startswith("jensen shannon against the previous data is 0.03")
    assert "and more: " in text


def test_thresholds_fall_with_the_number_of_rows(shuffled: pd.DataFrame) -> None:
    """Small samples differ by chance, and nothing is found in any of them."""
    before = shuffled[:10_000]

    found = [
        _compared(before, shuffled[10_000 : 10_000 + rows]) for rows in (100, 300, 3000)
    ]

    thresholds = [f["fare", drift.JENSEN_SHANNON].value.threshold or 0 for f in found]
    nulls = [f["fare", drift.JENSEN_SHANNON].null for f in found]
    floor = drift.SMALLEST_EFFECT[drift.JENSEN_SHANNON]
    assert thresholds[0] > thresholds[1] > thresholds[2] == floor
    assert nulls[1] == pytest.approx(0.01, abs=0.003)
    assert nulls[2] == pytest.approx(0.001, abs=0.0005)
    assert [key for f in found for key, each in f.items() if each.over] == []


def test_false_alarms_are_as_rare_as_asked(shuffled: pd.DataFrame) -> None:
    """Of 40 samples of 150 rows, where chance decides, none has a finding."""
    before, rest = shuffled[:5000], shuffled[5000:]
    old = profile_of(before)
    chance = np.random.default_rng(1)
    samples = (
        profile_of(rest[["fare", "company", "tips", "payment_type"]].iloc[chosen])
        for chosen in (chance.choice(len(rest), 150) for _ in range(40))
    )

    found = [
        each
        for new in samples
        for each in drift.compare(old, new, "previous", Policy())
        if each.over
    ]

    assert found == []


def _less_often_paid_by_card(rows: pd.DataFrame) -> None:
    cards = rows.index[rows["payment_type"] == "Credit Card"]
    rows.loc[cards[::2], "payment_type"] = "Cash"


def _some_missing(rows: pd.DataFrame) -> None:
    rows.loc[rows.index[::10], "fare"] = np.nan


def _new_companies(rows: pd.DataFrame) -> None:
    rows.loc[rows.index[::12], "company"] = "Founded Today"


def _fewer_tips(rows: pd.DataFrame) -> None:
    rows.loc[rows.index[::3], "tips"] = 0.0


@pytest.mark.parametrize(
    ("change", "column", "measure", "check"),
    [
        (_less_often_paid_by_card, "payment_type", drift.L_INFINITY, Check.DRIFT),
        (_some_missing, "fare", drift.MISSING_SHARE, Check.MISSING_SHARE),
        (_new_companies, "company", drift.UNSEEN_SHARE, Check.UNSEEN_VALUES),
        (_fewer_tips, "", drift.LABEL_RATE, Check.LABEL_RATE),
    ],
)
def test_each_measure_sees_its_change(
    shuffled: pd.DataFrame, change: Change, column: str, measure: str, check: Check
) -> None:
    """Shares of texts, missing and unseen values and the label's rate are compared."""
    before, after = shuffled[:8000], shuffled[8000:].copy()
    assert not _compared(before, after)[column, measure].over

    change(after)
    changed = _compared(before, after)[column, measure]

    assert changed.over
    assert (changed.finding().anomaly, changed.finding().column) == (check, column)


def test_the_schema_replaces_the_smallest_effect(shuffled: pd.DataFrame) -> None:
    """A drift comparator of the schema decides, and columns it lacks don't count."""
    schema = text_format.Parse(
        'feature { name: "trip_miles" '
        "drift_comparator { jensen_shannon_divergence { threshold: 0.5 } } }",
        schema_pb2.Schema(),
    )
    after = shuffled[10_000:].copy()
    _kilometres(after)

    found = _compared(shuffled[:10_000], after, schema)

    assert {column for column, _ in found} == {"trip_miles", ""}
    assert found["trip_miles", drift.JENSEN_SHANNON].value.threshold == 0.5


def test_bins_have_equal_numbers_of_the_baselines_rows() -> None:
    """Bins are quantiles of the baseline; a frequent value ends only one of them."""
    fares = [*range(1000), *[500] * 1000]
    column = profile_of(pd.DataFrame({"fare": fares})).columns["fare"]

    edges = drift.edges_of(column)

    assert (edges == 500).sum() == 1
    assert drift.binned(column, edges)[0, 0] == 99
    assert drift.binned(column, edges)[:, 0].sum() == 2000


def test_another_constant_has_moved() -> None:
    """A column of one value is compared by it, whether the new value is larger."""
    ones, twos = (profile_of(pd.DataFrame({"fare": [n] * 99})) for n in (1.0, 2.0))

    for before, after in ((ones, twos), (twos, ones)):
        (found,) = drift.distances(before, after)
        assert found == ("fare", drift.JENSEN_SHANNON, 1.0)
    assert list(drift.distances(ones, ones)) == [("fare", drift.JENSEN_SHANNON, 0.0)]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 1], [5, 5], 0.0),
        ([1, 0], [0, 1], 1.0),
        # By hand: (log2(2 / 1.5) + 1 / 2 log2(1 / 1.5) + 1 / 2 log2(2)) / 2.
        ([2, 0], [1, 1], 0.3112781),
    ],
)
def test_jensen_shannon(one: list[int], other: list[int], expected: float) -> None:
    """The divergence is 0 for equal, 1 for disjoint distributions."""
    first, second = (np.array(each, np.float64) for each in (one, other))

    assert drift.jensen_shannon(first, second) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("comparators", "against", "threshold", "because"),
    [
        ("skew drift", drift.PREVIOUS, 0.4, drift.BY_SCHEMA),
        ("skew drift", drift.LIVE, 0.3, drift.BY_SKEW),
        ("skew", drift.PREVIOUS, 0.02, drift.BY_EFFECT),
        ("skew", drift.LIVE, 0.3, drift.BY_SKEW),
        # As in schemas that were written when there was only one.
        ("drift", drift.LIVE, 0.4, drift.BY_SCHEMA),
        ("", drift.LIVE, 0.02, drift.BY_EFFECT),
    ],
)
def test_each_baseline_has_its_comparator(
    shuffled: pd.DataFrame,
    comparators: str,
    against: str,
    threshold: float,
    because: str,
) -> None:
    """Drift is about the data before, skew about the data of the model that serves."""
    texts = {
        "skew": "skew_comparator { jensen_shannon_divergence { threshold: 0.3 } }",
        "drift": "drift_comparator { jensen_shannon_divergence { threshold: 0.4 } }",
    }
    limits = " ".join(texts[name] for name in comparators.split())
    schema = text_format.Parse(
        f'feature {{ name: "fare" {limits} }}', schema_pb2.Schema()
    )
    half = len(shuffled) // 2

    found = _compared(shuffled[:half], shuffled[half:], schema, against)

    value = found["fare", drift.JENSEN_SHANNON].value
    assert (value.threshold, value.because) == (threshold, because)
