"""The gate on real defects, put into the sample after a clean run on other rows."""

import io
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import quarters, taxi
from pipeline.trust import coverage, gate
from pipeline.trust.checks import Check, Severity
from pipeline.trust.gate import Evidence
from pipeline.trust.policy import Accepted, Policy, Value
from tests.pipeline.trust.rows import (
    TODAY,
    evidence_of,
    judged,
    profile_of,
    sample,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "data-trust.md"

Change = Callable[[pd.DataFrame], Any]
"""Changes rows, in place or by returning others."""


@dataclass(frozen=True)
class Defect:
    """Something that goes wrong with data.

    Attributes:
        change: Puts it into rows, in place or as new ones.
        column: The column that the gate names; empty for whole rows.
        caught_by: Names of the findings that stop the run because of it.
    """

    change: Change
    column: str
    caught_by: set[str]


def _scaled(column: str, factor: float) -> Change:
    def change(rows: pd.DataFrame) -> None:
        rows[column] *= factor

    return change


def _minutes(rows: pd.DataFrame) -> None:
    rows["trip_seconds"] = (rows["trip_seconds"] / 60).round()


def _renamed(rows: pd.DataFrame) -> None:
    name = rows["company"].mode()[0]
    rows["company"] = rows["company"].replace(name, f"{name} Ltd")


def _new_payment_type(rows: pd.DataFrame) -> None:
    rows.loc[rows.index[: len(rows) * 3 // 10], "payment_type"] = "Mobile"


def _all_null(rows: pd.DataFrame) -> None:
    rows["trip_miles"] = np.nan


def _constant(rows: pd.DataFrame) -> None:
    rows["trip_miles"] = 1.5


def _labels_zeroed(rows: pd.DataFrame) -> None:
    rows["tips"] = 0.0


def _labels_shuffled(rows: pd.DataFrame) -> None:
    rows["tips"] = np.random.default_rng(1).permutation(rows["tips"])


def _twice(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([rows, rows])


def _hours_shifted(rows: pd.DataFrame) -> None:
    rows["trip_start_hour"] = (rows["trip_start_hour"] + 6) % 24


def _swapped(rows: pd.DataFrame) -> None:
    columns = ["pickup_latitude", "pickup_longitude"]
    rows[columns] = rows[columns[::-1]].to_numpy()


def _half_missing(rows: pd.DataFrame) -> None:
    rows.loc[rows.index[::2], "dropoff_latitude"] = np.nan


def _random_ids(rows: pd.DataFrame) -> None:
    rows["company"] = [f"id-{number * 7919 % 100003}" for number in range(len(rows))]


def _outliers(rows: pd.DataFrame) -> None:
    rows.loc[rows.index[::100], "fare"] = 1e6


def _rows_lost(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[::20]


def _negative(rows: pd.DataFrame) -> None:
    rows.loc[rows.index[::20], "fare"] *= -1


def _one_payment_type(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["payment_type"] == "Cash"]


def _leaking(rows: pd.DataFrame) -> None:
    rows["tip_share"] = rows["tips"] / rows["fare"].replace(0, 1)


def _label_in_seconds(rows: pd.DataFrame) -> None:
    big = rows["tips"] * 100 > rows["fare"] * 20
    rows["trip_seconds"] = rows["trip_seconds"] % 3600 + 3600 * big


DEFECTS = {
    "miles to kilometres": Defect(
        _scaled("trip_miles", 1.609344), "trip_miles", {Check.DRIFT}
    ),
    "seconds to minutes": Defect(_minutes, "trip_seconds", {Check.DRIFT}),
    "fares in cents": Defect(
        _scaled("fare", 100), "fare", {Check.DRIFT, "FLOAT_TYPE_BIG_FLOAT"}
    ),
    "a company renamed": Defect(
        _renamed, "company", {Check.DRIFT, Check.UNSEEN_VALUES}
    ),
    "30 % of rows with a new payment type": Defect(
        _new_payment_type,
        "payment_type",
        {Check.DRIFT, Check.UNSEEN_VALUES, "ENUM_TYPE_UNEXPECTED_STRING_VALUES"},
    ),
    "a column all null": Defect(
        _all_null, "trip_miles", {Check.MISSING_SHARE, "FEATURE_TYPE_NOT_PRESENT"}
    ),
    "a column constant": Defect(_constant, "trip_miles", {Check.DRIFT}),
    "labels zeroed": Defect(_labels_zeroed, "", {Check.LABEL_RATE}),
    "labels shuffled": Defect(_labels_shuffled, "payment_type", {Check.LABEL_RELATION}),
    "every row twice": Defect(_twice, "", {Check.DUPLICATE_ROWS}),
    "hours shifted by 6": Defect(_hours_shifted, "trip_start_hour", {Check.DRIFT}),
    "latitude and longitude swapped": Defect(
        _swapped, "pickup_latitude", {Check.DRIFT, "FLOAT_TYPE_SMALL_FLOAT"}
    ),
    "one column missing in half of the rows": Defect(
        _half_missing,
        "dropoff_latitude",
        {Check.MISSING_SHARE, "FEATURE_TYPE_LOW_FRACTION_PRESENT"},
    ),
    "a category exploding into random ids": Defect(
        _random_ids,
        "company",
        {Check.DRIFT, Check.UNSEEN_VALUES, Check.MISSING_SHARE},
    ),
    "1 % outliers of 1e6": Defect(_outliers, "fare", {"FLOAT_TYPE_BIG_FLOAT"}),
    "95 % of rows lost": Defect(_rows_lost, "", {Check.ROWS_LOST}),
    "5 % negative fares": Defect(_negative, "fare", {"FLOAT_TYPE_SMALL_FLOAT"}),
    "one payment type only": Defect(
        _one_payment_type,
        "payment_type",
        {Check.DRIFT, Check.LABEL_RELATION},
    ),
    "a leaking column added to FEATURES": Defect(
        _leaking, "tip_share", {Check.LEAKAGE}
    ),
    "the label leaked into trip_seconds": Defect(
        _label_in_seconds, "trip_seconds", {Check.LEAKAGE, Check.DRIFT}
    ),
}
BY_SPANS = "last quarter delivered again"


@pytest.fixture(scope="module")
def spans() -> list[pd.DataFrame]:
    """The sample by quarter."""
    found = quarters.split(taxi.read_sample()).values()
    return [pd.read_csv(io.BytesIO(content)) for content in found]


def test_other_rows_of_the_sample_pass() -> None:
    """Rows without a defect have no finding, and everything that was measured."""
    verdict = judged(evidence_of(sample()[1::2], before=sample()[::2]))

    measured = {value.measure for value in verdict.measured if value.column == "fare"}
    assert verdict.findings == ()
    assert measured >= {"jensen_shannon", "missing_share", "explained_entropy"}
    assert verdict.compared_with == {gate.PREVIOUS: "7,501 rows"}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_stops_the_run(name: str) -> None:
    """Each defect is blocked before Transform, by the findings that the docs name."""
    defect = DEFECTS[name]
    rows = sample()[1::2].copy()
    changed = defect.change(rows)

    evidence = evidence_of(rows if changed is None else changed, before=sample()[::2])
    wanted = {*evidence.features, "tip_share"}

    verdict = judged(replace(evidence, features=wanted))

    found = {f.anomaly for f in verdict.blocking if f.column == defect.column}
    assert found == defect.caught_by


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_in_the_newest_quarter_stops_the_run(
    spans: list[pd.DataFrame], name: str
) -> None:
    """So it does in 201 rows, the smallest of the 16 quarters, after clean ones.

    Fewer rows are less certain, so not each of the findings that the docs name is made.
    The live model is a year old, which makes no defect a warning.
    """
    defect, rows = DEFECTS[name], spans[15].copy()
    changed = defect.change(rows)
    evidence = evidence_of(
        rows if changed is None else changed,
        before=spans[14],
        spans=(16,),
        spans_before=(15,),
        live=spans[11],
        spans_live=(12,),
    )
    wanted = {*evidence.features, "tip_share"}

    verdict = judged(replace(evidence, features=wanted))

    found = {f.anomaly for f in verdict.blocking if f.column == defect.column}
    assert found & defect.caught_by


@pytest.mark.parametrize("spans_before", [(16,), (15, 16)])
def test_a_quarter_delivered_again_stops_the_run(
    spans: list[pd.DataFrame], spans_before: tuple[int, ...]
) -> None:
    """Rows of one span that come as another one are found, in any order."""
    before = pd.concat([spans[number - 1] for number in spans_before])
    again = spans[15][::-1]

    verdict = judged(
        evidence_of(again, before=before, spans=(17,), spans_before=spans_before)
    )

    assert Check.DELIVERED_AGAIN in {f.anomaly for f in verdict.blocking}


def test_an_old_span_delivered_again_stops_the_run(spans: list[pd.DataFrame]) -> None:
    """The contents of every span are remembered, not only of the one before."""
    evidence = evidence_of(spans[3], before=spans[15], spans=(17,), spans_before=(16,))
    (name, baseline), *_ = evidence.baselines.items()
    history = {profile_of(spans[3]).named_fingerprint(): (4,)}
    old = replace(baseline, verdict=replace(baseline.verdict, history=history))

    verdict = judged(replace(evidence, baselines={name: old}))

    texts = [f.text for f in verdict.blocking if f.anomaly == Check.DELIVERED_AGAIN]
    assert texts == ["the rows are those of span 4"]
    assert verdict.history == {
        **history,
        baseline.verdict.fingerprint: (16,),
    }


def test_a_span_again_under_its_own_number_passes(spans: list[pd.DataFrame]) -> None:
    """Running again on the same span, or on a window with it, is no second delivery."""
    both = pd.concat(spans[14:])
    evidence = evidence_of(both, before=spans[15], spans=(15, 16), spans_before=(16,))

    assert judged(evidence).findings == ()


def test_the_clean_quarters_pass(spans: list[pd.DataFrame]) -> None:
    """The 16 quarters one after another block nothing, and warn once: few rows."""
    findings = [
        (number, finding.anomaly, finding.severity)
        for number, (before, rows) in enumerate(itertools.pairwise(spans), 2)
        for finding in judged(
            evidence_of(
                rows, before=before, spans=(number,), spans_before=(number - 1,)
            )
        ).findings
    ]

    assert findings == [(13, Check.ROWS_HALVED, "warn")]


@pytest.mark.parametrize("live", [8, 12])
def test_the_clean_quarters_pass_if_the_model_stays_behind(
    spans: list[pd.DataFrame], live: int
) -> None:
    """A live model of one or two years ago doesn't keep new data out."""
    findings = [
        finding
        for number in range(live + 2, 17)
        for finding in judged(
            evidence_of(
                spans[number - 1],
                before=spans[number - 2],
                spans=(number,),
                spans_before=(number - 1,),
                live=spans[live - 1],
                spans_live=(live,),
            )
        ).findings
    ]

    assert {f.severity for f in findings} <= {"warn"}
    assert {f.anomaly for f in findings} <= {Check.STALE_MODEL, Check.ROWS_HALVED}


def _after_a_trend(spans: list[pd.DataFrame]) -> Evidence:
    """The seventh quarter, whose trips are longer than those of the fourth."""
    return evidence_of(
        spans[6],
        before=spans[5],
        spans=(7,),
        spans_before=(6,),
        live=spans[3],
        spans_live=(4,),
    )


def test_a_change_in_small_steps_says_that_the_model_is_stale(
    spans: list[pd.DataFrame],
) -> None:
    """What differs from the live model's data only names the model, with rows."""
    verdict = judged(_after_a_trend(spans))

    (finding,) = verdict.findings
    assert (finding.anomaly, finding.column) == (Check.STALE_MODEL, "trip_miles")
    assert "against the live model's data is 0.0470" in finding.text
    assert finding.text.endswith("the live model, not the data, is out of date")
    assert [(e.anomaly, e.against) for e in verdict.exhibits] == [
        (Check.STALE_MODEL, gate.LIVE)
    ]


@pytest.mark.parametrize(
    ("severities", "found"),
    [
        ({"STALE_MODEL:trip_miles": Severity.BLOCK}, [(Check.STALE_MODEL, "block")]),
        ({"DRIFT:trip_miles": Severity.WARN}, [(Check.DRIFT, "warn")]),
        ({"DRIFT:trip_miles": Severity.IGNORE}, []),
    ],
)
def test_a_stale_model_has_a_policy_of_its_own(
    spans: list[pd.DataFrame],
    severities: dict[str, Severity],
    found: list[tuple[str, str]],
) -> None:
    """It can block, and what was told not to block isn't renamed."""
    verdict = gate.judge(_after_a_trend(spans), Policy(severities), TODAY)

    assert [(f.anomaly, f.severity) for f in verdict.findings] == found


def test_an_accepted_change_is_no_stale_model(spans: list[pd.DataFrame]) -> None:
    """An exception for a finding holds whatever the data is compared with."""
    policy = Policy(
        exceptions=(Accepted("DRIFT", str(TODAY), "airport", "trip_miles"),)
    )

    (finding,) = gate.judge(_after_a_trend(spans), policy, TODAY).findings

    assert (finding.anomaly, finding.blocking) == (Check.DRIFT, False)
    assert finding.accepted == f"airport (until {TODAY})"


def test_rows_of_the_live_models_data_stop_the_run(spans: list[pd.DataFrame]) -> None:
    """Rows that come again are a defect, also if the previous data has others."""
    evidence = replace(_after_a_trend(spans), splits={"train": profile_of(spans[3])})

    blocking = judged(evidence).blocking

    texts = [each.text for each in blocking if each.anomaly == Check.DELIVERED_AGAIN]
    assert any("live model's data, which had another" in text for text in texts)


def test_few_previous_rows_hide_no_defect(spans: list[pd.DataFrame]) -> None:
    """Kilometres that 200 previous rows can't show block by the live model's data."""
    mixed = spans[11].sample(400, random_state=1)
    rows = mixed[200:].copy()
    rows["trip_miles"] *= 1.609
    evidence = evidence_of(
        rows,
        before=mixed[:200],
        spans=(12,),
        spans_before=(11,),
        live=pd.concat(spans[5:11]),
        spans_live=(10,),
    )

    (finding,) = judged(evidence).findings

    assert (finding.anomaly, finding.column) == (Check.DRIFT, "trip_miles")
    assert "against the live model's data" in finding.text
    assert finding.blocking


def test_what_both_baselines_show_is_a_defect(spans: list[pd.DataFrame]) -> None:
    """It keeps its name against the live model's data, too."""
    rows = spans[6].copy()
    _minutes(rows)
    evidence = replace(_after_a_trend(spans), splits={"train": profile_of(rows)})

    found = [f.anomaly for f in judged(evidence).blocking if f.column == "trip_seconds"]

    assert found == [Check.DRIFT, Check.DRIFT]


def test_without_previous_data_the_live_models_decides(
    spans: list[pd.DataFrame],
) -> None:
    """A change that only one baseline could show blocks."""
    evidence = _after_a_trend(spans)
    alone = {gate.LIVE: evidence.baselines[gate.LIVE]}

    verdict = judged(replace(evidence, baselines=alone))

    assert [(f.anomaly, f.column) for f in verdict.blocking] == [
        (Check.DRIFT, "trip_miles")
    ]


def test_without_a_baseline_that_is_said(spans: list[pd.DataFrame]) -> None:
    """The first data is compared with nothing; the verdict has the reason."""
    first = replace(evidence_of(spans[0]), without_baseline={gate.PREVIOUS: "no run"})

    verdict = judged(first)

    assert verdict.without_baseline == {gate.PREVIOUS: "no run"}
    assert "Not compared with the previous data: no run" in verdict.to_text()


def test_rows_in_two_splits_stop_the_run() -> None:
    """A test split with rows of the training split is refused."""
    evidence = evidence_of(sample()[::2])
    overlapping = profile_of(sample()[::4])

    verdict = judged(replace(evidence, splits={**evidence.splits, "test": overlapping}))

    found = [(f.anomaly, f.split) for f in verdict.blocking]
    assert (Check.SPLITS_OVERLAP, "test") in found


def test_quarantined_rows_are_reported(spans: list[pd.DataFrame]) -> None:
    """Rows that ingestion set aside don't stop the run, and are in the verdict."""
    verdict = judged(replace(evidence_of(spans[0]), quarantined=116))

    (finding,) = verdict.findings
    assert (finding.anomaly, finding.severity) == (Check.QUARANTINED_ROWS, "warn")
    assert Value("quarantined_rows", 0.116) in verdict.measured


def test_conditions_that_were_never_learned_can_block(
    spans: list[pd.DataFrame],
) -> None:
    """In a split that is evaluated, and against the data of the live model."""
    learned: coverage.Counts = {("company",): coverage.Cells({("a",): 90, ("b",): 10})}
    asked: coverage.Counts = {("company",): coverage.Cells({("a",): 80, ("c",): 20})}
    evidence = evidence_of(spans[0], before=spans[0])
    live = replace(evidence.baselines[gate.PREVIOUS], cells=learned)
    evidence = replace(
        evidence,
        cells={"train": learned, "test": asked},
        baselines={gate.LIVE: live},
    )
    blocking = Policy({Check.UNCOVERED_CELLS: Severity.BLOCK})

    found, ignored = (
        [f for f in gate.judge(evidence, policy, TODAY).findings if "cells" in f.text]
        for policy in (blocking, Policy())
    )

    assert [(f.anomaly, f.column, f.split) for f in found] == [
        (Check.UNCOVERED_CELLS, "company", "test"),
        (Check.UNCOVERED_CELLS, "company", ""),
    ]
    assert (
        "10.0% of the rows are in 1 cells that the live model's data" in found[1].text
    )
    assert ignored == []


def test_exceptions_that_ended_are_said(spans: list[pd.DataFrame]) -> None:
    """Whether they had ended when the pipeline was compiled, or since."""
    yesterday = str(TODAY - timedelta(days=1))
    policy = Policy(
        exceptions=(Accepted("DRIFT", yesterday, "sale"),),
        ended=(Accepted("LEAKAGE", "2001-01-01", "known", "fare"),),
    )

    verdict = gate.judge(evidence_of(spans[0]), policy, TODAY)

    assert verdict.expired == (
        "LEAKAGE of fare, until 2001-01-01 (known)",
        f"DRIFT, until {yesterday} (sale)",
    )


def test_a_tiny_split_stops_the_run(spans: list[pd.DataFrame]) -> None:
    """A split below the floor is refused with the setting's name."""
    verdict = gate.judge(evidence_of(spans[0]), Policy(min_rows=885), TODAY)

    (finding,) = verdict.blocking
    assert finding.text == "884 rows; gate.min-rows is 885"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((1,), "884 rows; gate.min-rows-of-span is 885"),
        ((1, 2), "884 rows in 2 spans; gate.min-rows-of-span is 885"),
    ],
)
def test_a_tiny_span_stops_the_run(
    spans: list[pd.DataFrame], numbers: tuple[int, ...], text: str
) -> None:
    """The floor of a span is one for all of its splits together."""
    evidence = evidence_of(spans[0], spans=numbers)

    verdict = gate.judge(evidence, Policy(min_rows_of_span=885), TODAY)

    assert [finding.text for finding in verdict.blocking] == [text]


def test_the_docs_have_the_table() -> None:
    """docs/data-trust.md says of each defect what catches it."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in DOCUMENT.read_text().splitlines()
        if line.startswith("|")
    ]
    caught = {name: defect.caught_by for name, defect in DEFECTS.items()}
    caught[BY_SPANS] = {Check.DELIVERED_AGAIN}

    documented = {row[0]: set(row[1].replace("`", "").split(", ")) for row in rows}

    assert {name: documented.get(name) for name in caught} == caught
