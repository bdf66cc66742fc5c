"""Checks of whole rows, and of columns with the label."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.trust import profile, whole
from pipeline.trust.checks import Check
from pipeline.trust.policy import Exhibit, Finding, Policy, Value
from pipeline.trust.profile import Column, Profile
from tests.pipeline.trust.rows import batch_of, profile_of, sample

FEATURES = ("payment_type", "fare")


def _column(values: object, positive: object) -> Column:
    rows = pd.DataFrame({"a": values})
    marks = np.asarray(positive, np.int64)
    ones = np.ones(len(rows), np.int64)
    return profile.of_batch(batch_of(rows), ones, marks).columns["a"]


def _findings(found: object) -> list[Finding]:
    return [each for each in found if isinstance(each, Finding)]  # type: ignore[attr-defined]


@pytest.fixture
def chance() -> np.random.Generator:
    """Random numbers that are the same in each run."""
    return np.random.default_rng(1)


def test_rows_that_repeat_are_counted() -> None:
    """Of five rows, three of them equal, two repeat another."""
    rows = profile_of(sample().iloc[[0, 1, 0, 2, 0]])

    (finding,) = _findings(whole.find_duplicates(rows, Policy()))

    assert whole.duplicates(rows.hashes) == pytest.approx(0.4)
    assert "40.00% of the rows repeat another row" in finding.text
    assert "one of them 3 times" in finding.text


def test_duplicates_are_estimated_from_a_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With hashes of a part of the rows, the share is about the same."""
    monkeypatch.setattr(profile, "HASHES", 2000)
    rows = pd.concat([sample(), sample()[:5000]])

    share = whole.duplicates(profile_of(rows).hashes)

    assert share == pytest.approx(0.25, abs=0.02)


def test_rows_of_another_profile_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of shared rows is found in samples of different size, too."""
    monkeypatch.setattr(profile, "HASHES", 2000)
    some, others = profile_of(sample()[:9000]), profile_of(sample()[6000:])
    few = profile_of(sample()[8500:9500])

    assert whole.shared_rows(some, others) == pytest.approx(1 / 3, abs=0.05)
    assert whole.shared_rows(few, some) == pytest.approx(1 / 2, abs=0.1)
    assert whole.shared_rows(few, profile_of(sample()[:5])) == 0


def test_the_label_itself_explains_all_of_it(chance: np.random.Generator) -> None:
    """A column that has the label is found, as text, number and noisy number."""
    label = chance.random(5000) < 0.2
    noise = chance.random(5000)

    for values in (label.astype(str), label.astype(float), label * 2 + noise):
        found = whole.explained(_column(values, label))
        assert found is not None
        assert found.share > 0.95
        assert found.auc > 0.995


def test_noise_explains_nothing(chance: np.random.Generator) -> None:
    """Neither random numbers nor random ids explain a random label."""
    label = chance.random(5000) < 0.2
    numbers = chance.random(5000)

    for values in (numbers, [f"id-{number}" for number in numbers]):
        found = whole.explained(_column(values, label))
        assert found is not None
        assert found.share < 0.01


def test_without_both_labels_nothing_is_explained() -> None:
    """A label that is always the same has no entropy."""
    assert whole.explained(_column([1.0, 2.0], [1, 1])) is None
    assert whole.explained(_column([1.0, 2.0], [0, 0])) is None


def test_the_samples_payment_type_is_no_leak() -> None:
    """It explains 60 % of the label, which the defaults accept."""
    found = list(whole.find_leakage(profile_of(sample()), FEATURES, Policy()))

    values = {v.column: v.value for v in found if isinstance(v, Value)}
    assert values["payment_type"] == pytest.approx(0.60, abs=0.02)
    assert _findings(found) == []


def test_a_lower_limit_finds_a_strong_feature() -> None:
    """The limit is a setting."""
    policy = Policy(max_leakage=0.5)

    (finding,) = _findings(whole.find_leakage(profile_of(sample()), FEATURES, policy))

    assert (finding.anomaly, finding.column) == (Check.LEAKAGE, "payment_type")


@pytest.fixture(scope="module")
def shuffled_labels() -> Profile:
    """The sample with the tips of other rows."""
    rows = sample().copy()
    rows["tips"] = np.random.default_rng(1).permutation(rows["tips"])
    return profile_of(rows)


def test_a_lost_relation_is_found(shuffled_labels: Profile) -> None:
    """A feature that no longer tells of the label is named with both shares."""
    before = profile_of(sample())

    (finding,) = _findings(
        whole.find_lost_relations(before, shuffled_labels, "previous", FEATURES)
    )

    assert (finding.anomaly, finding.column) == (Check.LABEL_RELATION, "payment_type")
    assert "it explained 60% of the label's entropy in the previous data" in (
        finding.text
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (1000, []),
        (500, []),
        (499, [Check.ROWS_HALVED]),
        (100, [Check.ROWS_HALVED]),
        (99, [Check.ROWS_LOST]),
    ],
)
def test_lost_rows(rows: int, expected: list[Check]) -> None:
    """Half of the rows is reported, a tenth of them is refused."""
    before, new = profile_of(sample()[:1000]), profile_of(sample()[:rows])

    found = _findings(whole.find_lost_rows(before, new, "previous", Policy()))

    assert [finding.anomaly for finding in found] == expected


def test_missing_labels_are_found() -> None:
    """Each column that the label needs is checked, an absent one too."""
    rows = sample()[:100].copy()
    rows.loc[rows.index[:2], "fare"] = np.nan
    found = whole.find_missing_labels(
        profile_of(rows.drop(columns="tips")), ("tips", "fare"), Policy()
    )

    findings = _findings(found)

    assert [finding.column for finding in findings] == ["tips", "fare"]
    assert findings[0].text.startswith("100.00% of the rows have no label without it")
    assert findings[1].text.startswith("2.00%")


def _keyed(columns: dict[str, list[float | None]]) -> Profile:
    batch = batch_of(pd.DataFrame(columns))
    nothing = np.zeros(batch.num_rows, np.int64)
    return profile.of_batch(batch, nothing, nothing, ("trip", "leg"))


def test_keys_that_repeat_are_counted() -> None:
    """Rows may differ elsewhere; a row that lacks a part of its key has none."""
    rows = _keyed(
        {
            "trip": [1, 1, 1, 2, None, None],
            "leg": [1, 1, 2, 1, 1, 1],
            "fare": [5, 6, 7, 8, 9, 10],
        }
    )

    found = list(whole.find_duplicates(rows, Policy(key_columns=("trip", "leg"))))

    (finding,) = _findings(found)
    (exhibit,) = [each for each in found if isinstance(each, Exhibit)]
    assert finding.anomaly == Check.DUPLICATE_KEYS
    assert finding.text.startswith(
        "25.00% of the rows have the trip and leg of another"
    )
    assert exhibit.keys == ("trip", "leg")


def test_values_that_go_missing_together_are_found(
    chance: np.random.Generator,
) -> None:
    """Each column is missing as often as before, and now in the same rows."""
    first, second = (chance.random(2000) < 0.3 for _ in range(2))
    before = pd.DataFrame({"fare": np.where(first, np.nan, 1.0), "tips": 1.0})
    before["miles"] = np.where(second, np.nan, 2.0)
    after = before.assign(miles=np.where(first, np.nan, 2.0))

    apart = whole.find_missing_together(profile_of(before), profile_of(before), "old")
    together = whole.find_missing_together(profile_of(before), profile_of(after), "old")

    assert _findings(apart) == []
    (finding,) = _findings(together)
    assert (finding.anomaly, finding.column) == (Check.MISSING_TOGETHER, "fare")
    assert "of the rows have neither fare nor miles" in finding.text
    # The verdicts of earlier versions have no such counts, which is not 0.
    unknown = replace(profile_of(before), missing_together=None)
    found = whole.find_missing_together(unknown, profile_of(after), "old")
    assert list(found) == []
