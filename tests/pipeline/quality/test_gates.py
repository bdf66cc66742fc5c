"""The gates on real trips: which models pass, which rule stops the others, and why."""

import functools
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pytest
from fairlearn.metrics import (
    MetricFrame,
    false_negative_rate,
    false_positive_rate,
    selection_rate,
)
from sklearn.metrics import roc_auc_score

from models.declarations import Task
from models.groups import SIDES
from pipeline.config import Quality
from pipeline.quality.aggregates import Floats, Scored
from pipeline.quality.gated import Gated
from pipeline.quality.gates import (
    FAILED,
    PASSED,
    UNDECIDED,
    Finding,
    Judged,
    Settings,
)
from tests.pipeline.quality.trips import (
    in_slice,
    judged,
    logits,
    noisy,
    rows,
    scored,
)

QUALITY = replace(Quality(), min_auc=0.93, slice_columns=("payment_type", "company"))


def broken(found: Judged) -> list[Finding]:
    """The findings that stop a model."""
    return [each for each in found.findings if each.outcome == FAILED]


def test_a_good_model_passes_alone_and_against_itself() -> None:
    """Without a rival, and with itself as live and best model, no rule is broken."""
    alone = judged(logits())
    against = judged(logits(), logits(), logits())

    assert alone.passed
    assert against.passed
    assert {each.against for each in against.findings} == {"", "live", "best"}
    # Slices share the confidence, and those with few rows are said to be undecided.
    assert against.comparisons > 20
    assert any(each.outcome == UNDECIDED for each in against.findings)


def test_another_seed_s_model_passes() -> None:
    """Models that differ by chance only are blessed, but for about 1 in 20."""
    live = noisy(logits(), 0.2)

    tries = [judged(noisy(logits(), 0.2, seed), live) for seed in range(10, 20)]

    stopped = [finding for found in tries for finding in broken(found)]
    assert sum(found.passed for found in tries) >= 9
    assert {each.where for each in stopped} <= {"overall"}


def _sacrificed() -> Floats:
    """Random within one company, a twentieth of the trips; unchanged elsewhere."""
    there = in_slice("company", b"Dispatch Taxi Affiliation")
    assert 0.02 < there.mean() < 0.12
    shuffled = logits()[there].copy()
    np.random.default_rng(5).shuffle(shuffled)
    changed = logits().copy()
    changed[there] = shuffled
    return changed


def _without_payment_type() -> Floats:
    """As of a model that doesn't see the feature that decides most."""
    return logits() - 6.0 * in_slice("payment_type", b"Credit Card")


INJECTED = {
    "label noise": (noisy(logits(), 3.0), "auc >= 0.93"),
    "dropped feature": (_without_payment_type(), "auc >= 0.93"),
    "constant": (np.zeros_like(logits()), "auc >= 0.93"),
    "inverted": (-logits(), "auc >= 0.93"),
    "one slice sacrificed": (_sacrificed(), "auc by company loss <= 0.02"),
}


@pytest.mark.parametrize("name", INJECTED)
def test_injected_worse_models_are_not_blessed(name: str) -> None:
    """Each way of getting worse breaks the rule that is for it."""
    candidate, rule = INJECTED[name]

    found = judged(candidate, logits())

    assert not found.passed
    assert rule in {each.rule for each in broken(found)}


def _on_side(name: str) -> np.ndarray:
    """Which trips begin on a side of Chicago."""
    areas = rows()[0].column("pickup_community_area").to_pylist()
    return np.array([bool(each) and each[0] in SIDES[name] for each in areas])


def _without_order(there: np.ndarray) -> Floats:
    """Random within some trips; unchanged elsewhere."""
    changed = logits().copy()
    changed[there] = np.random.default_rng(5).permutation(changed[there])
    return changed


COMPANY = in_slice("company", b"Taxi Affiliation Services")
CARDS = in_slice("payment_type", b"Credit Card")
SLICED = replace(
    Quality(),
    min_auc=0.93,
    slice_columns=("company",),
    slice_crosses=("company,payment_type",),
)
STOPPED = {
    "auc >= 0.93": np.zeros_like(logits()),
    "auc loss <= 0.005": noisy(logits(), 1.0),
    "auc by company loss <= 0.02": _without_order(COMPANY),
    "auc by company,payment_type loss <= 0.02": _without_order(COMPANY & CARDS),
    "false_positive_rate by pickup_side gap <= 0.3": logits() + 12 * _on_side("North"),
    "false_negative_rate by pickup_side gap <= 0.3": logits() - 12 * _on_side("North"),
}


@functools.cache
def _judged_good() -> Judged:
    return judged(logits(), logits(), quality=SLICED)


@pytest.mark.parametrize("rule", STOPPED)
def test_each_default_rule_stops_a_model_and_lets_another_one_pass(rule: str) -> None:
    """Of yes or no; a default without a model that breaks it fails here."""
    good = _judged_good()
    bad = judged(STOPPED[rule], logits(), quality=SLICED)

    assert set(SLICED.all_rules) == STOPPED.keys()
    assert rule in {each.rule for each in good.findings if each.outcome == PASSED}
    assert good.passed
    assert rule in {each.rule for each in broken(bad)}


def _hours(error: Floats | float) -> Scored:
    """Predictions of the hour in which a trip begins, with errors of some size."""
    labels = np.array(rows()[0].column("trip_start_hour").flatten(), np.float64)
    chance = np.random.default_rng(1).normal(0, 1, len(labels))
    return Scored(labels, labels + chance * error, np.ones(len(labels)))


def _mean_hour() -> Scored:
    hours = _hours(0.0)
    return replace(hours, predictions=np.full_like(hours.labels, hours.labels.mean()))


PAYMENTS = ("Cash", "Credit Card", "other")


def _payments(wrong: np.ndarray | float) -> Scored:
    """Predictions of how a trip is paid, wrong for a share of the trips."""
    names = np.array(rows()[0].column("payment_type").flatten())
    labels = np.where(names == b"Cash", 0, np.where(names == b"Credit Card", 1, 2))
    is_wrong = np.random.default_rng(1).random(len(labels)) < wrong
    predicted = np.where(is_wrong, (labels + 1) % 3, labels)
    scores = np.eye(3)[predicted] * 0.7 + 0.1
    return Scored(labels.astype(np.float64), scores, np.ones(len(labels)))


def _all_cash() -> Scored:
    payments = _payments(0.0)
    cash = np.tile([0.8, 0.1, 0.1], (len(payments.labels), 1))
    return replace(payments, predictions=cash)


STOPPED_OF: dict[str, tuple[Task, Scored]] = {
    "r2 >= 0.001": ("regression", _mean_hour()),
    "r2 loss <= 0.01": ("regression", _hours(3.0)),
    "rmse by company loss <= 20%": ("regression", _hours(1.0 + COMPANY)),
    "mae by pickup_side gap <= 100%": ("regression", _hours(1 + 9 * _on_side("North"))),
    "accuracy_gain >= 0.001": ("classes", _all_cash()),
    "accuracy loss <= 0.01": ("classes", _payments(0.2)),
    "accuracy by company loss <= 0.05": ("classes", _payments(0.05 + 0.3 * COMPANY)),
    "accuracy by pickup_side gap <= 0.3": (
        "classes",
        _payments(0.8 * _on_side("North")),
    ),
}
GOOD = {"regression": _hours(1.0), "classes": _payments(0.05)}


@pytest.mark.parametrize("rule", STOPPED_OF)
def test_each_default_rule_of_other_tasks_does_too(rule: str) -> None:
    """Numbers and classes of the same trips, by the rules of their tasks."""
    task, worse = STOPPED_OF[rule]
    quality = replace(Quality(), slice_columns=("company",))
    classes = PAYMENTS if task == "classes" else ()
    settings = Settings(quality.rules_of(task), 0.95, 50, task=task, classes=classes)
    gated = Gated(settings.to_json(), (0.5, 0.5), ("live",))

    good, bad = (
        gated.judge(gated.summed(rows()[0], (candidate, GOOD[task])))
        for candidate in (GOOD[task], worse)
    )

    assert set(settings.rules) == {r for r, (t, _) in STOPPED_OF.items() if t == task}
    assert rule in {each.rule for each in good.findings if each.outcome == PASSED}
    assert good.passed
    assert rule in {each.rule for each in broken(bad)}


def test_the_sacrificed_slice_is_named_with_numbers() -> None:
    """Where the average may fall, the slice may not; the reason is about it alone."""
    quality = replace(QUALITY, slice_columns=("company",), max_auc_loss=1)

    found = judged(_sacrificed(), logits(), quality=quality)

    (finding,) = broken(found)
    assert finding.where == "company Dispatch Taxi Affiliation"
    assert "worse than the live model's (loss 0." in finding.text
    assert finding.low is not None
    assert finding.low > 0.02


def _worse(logit: Floats, loss: float, seed: int = 2) -> Floats:
    """Adds as much noise as lowers the AUC by a loss."""
    _, labels = rows()
    low, high = 0.0, 4.0
    for _ in range(14):
        middle = (low + high) / 2
        lost = roc_auc_score(labels, logit) - roc_auc_score(
            labels, noisy(logit, middle, seed)
        )
        low, high = (middle, high) if lost < loss else (low, middle)
    return noisy(logit, high, seed)


OVERALL = replace(Quality(), min_auc=0.93, slice_columns=())


def test_a_model_a_little_worse_ten_times_in_a_row_is_never_live() -> None:
    """A loss of 0.004 is within the bound, and is stopped because it is sure."""
    for turn in range(10):
        found = judged(_worse(logits(), 0.004, turn), logits(), quality=OVERALL)

        (finding,) = broken(found)
        assert finding.rule == "auc loss <= 0.005"
        assert "0.0040 worse than the live model's" in finding.text


def test_small_losses_do_not_add_up() -> None:
    """A loss that is within bounds against the live model counts from the best one."""
    quality = replace(OVERALL, max_auc_loss=0.01)
    second = _worse(logits(), 0.0018)
    third = _worse(second, 0.0018, seed=3)

    first_step = judged(second, logits(), quality=quality)
    second_step = judged(third, second, logits(), quality=quality)

    assert first_step.passed
    (finding,) = broken(second_step)
    assert finding.against == "best"
    assert "that of the best recent live model" in finding.text


def test_noise_in_small_slices_blocks_nothing() -> None:
    """Slices of a handful of trips differ widely, and none of it is sure."""
    quality = replace(QUALITY, slice_columns=("trip_start_hour",), min_slice_rows=1)

    found = judged(noisy(logits(), 0.3), logits(), quality=quality)

    slices = [each for each in found.findings if each.where.startswith("trip_start")]
    assert len(slices) == 24
    assert {each.outcome for each in slices} <= {PASSED, UNDECIDED}


def test_slices_share_the_confidence() -> None:
    """The more slices are judged, the surer each finding has to be."""
    live, candidate = logits(), noisy(logits(), 0.5)
    few = judged(candidate, live, quality=replace(OVERALL, slice_columns=("company",)))
    more = replace(OVERALL, slice_columns=("company", "trip_start_hour"))
    many = judged(candidate, live, quality=more)

    widths = [
        finding.high - finding.low
        for found in (few, many)
        for finding in found.findings
        if finding.where == "company Taxi Affiliation Services"
        if finding.high is not None
        if finding.low is not None
    ]

    sure = [NormalDist().inv_cdf(1 - 0.05 / found.comparisons) for found in (few, many)]
    assert many.comparisons == few.comparisons + 24
    assert widths[1] / widths[0] == pytest.approx(sure[1] / sure[0])


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ("recall >= 0.1", PASSED),
        ("recall >= 0.999", FAILED),
        ("log_loss <= 0.9", PASSED),
        ("log_loss <= 0.01", FAILED),
        ("recall by pickup_side >= 0.1", PASSED),
        ("recall by pickup_side >= 0.999", FAILED),
        ("selection_rate by payment_type gap <= 1", PASSED),
        ("selection_rate by payment_type gap <= 0.2", FAILED),
        ("calibration_error by pickup_side <= 0.001", PASSED),
        ("precision by company,payment_type >= 0.999", FAILED),
        ("accuracy by nowhere gap <= 0", UNDECIDED),
    ],
)
def test_each_kind_of_rule_is_kept_or_broken(rule: str, outcome: str) -> None:
    """A rule decides by its own metric and bound, and says which slice decided."""
    quality = replace(OVERALL, rules=(rule,))

    found = judged(logits(), quality=quality)

    own = [each for each in found.findings if each.rule == rule]
    outcomes = {each.outcome for each in own}
    assert outcome in outcomes or (outcome == PASSED and FAILED not in outcomes)
    assert (FAILED in outcomes) == (outcome == FAILED)


def test_the_threshold_decides_precision_and_recall() -> None:
    """A higher threshold lowers recall; the AUC doesn't know it."""
    low = judged(logits(), thresholds=(0.2,), quality=OVERALL).metrics[0]["metrics"]
    high = judged(logits(), thresholds=(0.8,), quality=OVERALL).metrics[0]["metrics"]

    assert low["recall"][0] > high["recall"][0]
    assert low["precision"][0] < high["precision"][0]
    assert low["auc"][0] == high["auc"][0]


def test_intervals_of_groups_are_reported() -> None:
    """Each group has its metrics with 95 % intervals around them."""
    sides = [
        m
        for m in judged(logits()).metrics
        if m["where"][:1] and m["where"][0][0] == "pickup_side"
    ]

    assert len(sides) == 9
    (central,) = [m for m in sides if m["where"][0][1] == "Central"]
    value, low, high = central["metrics"]["false_negative_rate"]
    assert low < value < high
    assert central["rows"] > 1000


def test_groups_errors_are_fairlearn_s() -> None:
    """Rates by group are those of fairlearn's MetricFrame, and so is their gap."""
    batch, labels = rows()
    scores = scored(logits()).predictions
    areas = batch.column("pickup_community_area").to_pylist()
    side_of = {area: side for side, each in SIDES.items() for area in each}
    sides = np.array([side_of[area[0]] if area else "" for area in areas])
    known = sides != ""
    frame = MetricFrame(
        metrics={
            "false_positive_rate": false_positive_rate,
            "false_negative_rate": false_negative_rate,
            "selection_rate": selection_rate,
        },
        y_true=labels[known],
        y_pred=(scores > 0.5)[known],
        sensitive_features=sides[known],
    )
    quality = replace(OVERALL, rules=("selection_rate by pickup_side gap <= 1",))

    found = judged(logits(), quality=quality)

    for each in found.metrics:
        if each["where"]:
            ((_, side),) = each["where"]
            # fairlearn has 0 for the rate of a class without rows, ours has none.
            for name in set(frame.by_group.columns) & each["metrics"].keys():
                theirs = frame.by_group.loc[side, name]
                assert each["metrics"][name][0] == pytest.approx(theirs)
    (gap,) = [f for f in found.findings if f.rule.startswith("selection_rate")]
    large = frame.by_group["selection_rate"][frame.by_group.index.isin(_judged_sides())]
    assert gap.value is not None
    assert gap.value <= large.max() - large.min() + 1e-12


def _judged_sides() -> list[str]:
    """Sides with enough rows for a rule."""
    return [
        where[0][1]
        for each in judged(logits(), quality=OVERALL).metrics
        for where in [each["where"]]
        if where and each["rows"] >= OVERALL.min_slice_rows
    ]


def errors(scale: Floats | float) -> Scored:
    """Numbers in two towns, half in each, with errors of some size."""
    chance = np.random.default_rng(1).normal(0, 1, len(TOWNS))
    labels = np.random.default_rng(2).normal(50, 10, len(TOWNS))
    return Scored(labels, labels + chance * scale, np.ones(len(TOWNS)))


TOWNS = np.array([b"Oslo", b"Rome"] * 400)


def judged_numbers(rules: tuple[str, ...], *models: Scored) -> Judged:
    """Judges models of numbers, the second one live."""
    settings = Settings(rules, 0.95, 50, task="regression")
    names = ("live",) * (len(models) - 1)
    gated = Gated(settings.to_json(), (0.5,) * len(models), names)
    batch = pa.RecordBatch.from_pydict({"town": pa.array([[each] for each in TOWNS])})
    return gated.judge(gated.summed(batch, models))


def test_a_loss_and_a_gap_may_be_shares() -> None:
    """Of the other model's error, and of the error on all rows."""
    worse_there = errors(np.where(TOWNS == b"Rome", 3.0, 2.0))
    rules = ("rmse by town loss <= 20%", "mae by town gap <= 10%", "r2 loss <= 0.5")

    found = judged_numbers(rules, worse_there, errors(2.0))

    rome, gap = broken(found)
    assert rome.where == "town Rome"
    assert rome.value == pytest.approx(3.0, rel=0.1)
    assert "rmse is 50.00% worse than the live model's" in rome.text
    assert "at most 20.00% is allowed" in rome.text
    assert gap.value == pytest.approx(1 / 2.5, rel=0.25)
    assert "mae by town: the gap is 4" in gap.text
    (overall,) = [each for each in found.findings if each.where == "overall"]
    assert overall.outcome == PASSED
    assert judged_numbers(rules, errors(2.0), errors(2.0)).passed


@pytest.mark.parametrize(("bound", "outcome"), [(0.001, FAILED), (0.0, PASSED)])
def test_a_model_that_may_be_no_better_than_the_mean_is_said_to_be(
    bound: float, outcome: str
) -> None:
    """Also if it has passed: chance makes every second one a little better."""
    labels = np.random.default_rng(2).normal(50, 10, len(TOWNS))
    guesses = np.full(len(TOWNS), labels.mean())
    model = Scored(labels, guesses, np.ones(len(TOWNS)))

    (finding,) = judged_numbers((f"r2 >= {bound:g}",), model).findings
    (sure,) = judged_numbers((f"r2 >= {bound:g}",), errors(2.0)).findings

    assert finding.outcome == outcome
    assert finding.text.endswith("; it may be no better than predicting the mean, 0")
    assert (sure.outcome, sure.doubt) == (PASSED, "")
