"""Checks of whole rows, and of columns together with the label.

Statistics of one column at a time see neither rows that occur twice nor a feature that
gives the label away. Both are estimated from profiles, without training a model.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.trust.checks import Check
from pipeline.trust.drift import binned, edges_of
from pipeline.trust.policy import Exhibit, Finding, Policy, Value
from pipeline.trust.profile import Column, Profile, RowHashes

LEAKAGE_BINS = 200
"""Bins of a number when its relation to the label is estimated: at most as many as
there are labels for, 50 in each."""

_LABELS_IN_BIN = 50
_AUC_OF_A_LEAK = 0.995
# A feature that explains less has no relation to the label that could be lost.
_RELATION = 0.1
_LOST = 0.5
_DELIVERED_AGAIN = 0.5
_MISSING_TOGETHER = 0.05
_EXAMPLES = 3


@dataclass(frozen=True)
class Explained:
    """How well one column predicts the label by itself.

    Attributes:
        share: Share of the label's entropy that it explains, 0 to 1.
        auc: Area under the ROC curve if rows are ranked by it, 0.5 to 1.
    """

    share: float
    auc: float


def duplicates(hashed: RowHashes) -> float:
    """Returns the share of the rows whose hash an earlier row has."""
    rows = int(hashed.counts.sum())
    return 1 - len(hashed.hashes) / rows if rows else 0.0


def shared_rows(of: Profile, other: Profile) -> float:
    """Returns the share of a profile's rows that also occur in another, 0 to 1."""
    bound = np.uint64(min(of.hashes.bound, other.hashes.bound))
    mine, theirs = _up_to(of.hashes, bound), _up_to(other.hashes, bound)
    rows = int(mine.counts.sum())
    if not rows:
        return 0.0
    there = np.isin(mine.hashes, theirs.hashes, assume_unique=True)
    return float(mine.counts[there].sum() / rows)


def explained(column: Column) -> Explained | None:
    """Estimates how well a column predicts the label by itself.

    The entropy of the label within bins of the column is corrected for small samples by
    Miller and Madow (1955); without it, a column of random ids would explain the label.

    Returns:
        The estimate; `None` if there are no labels or all are equal.
    """
    counts = _by_bin(column)
    labels, positives = counts[:, 1], counts[:, 2]
    total, positive = labels.sum(), positives.sum()
    if not 0 < positive < total:
        return None
    whole = _entropy(positive, total)
    inside = labels > 0
    within = (labels * _entropy(positives, labels))[inside].sum() / total
    # Each bin's entropy is too low by (outcomes - 1) / (2 rows ln 2) on average.
    mixed = (positives > 0) & (positives < labels)
    unsure = int(inside.sum() - 1) if mixed.any() else 0
    within += unsure / (2 * total * np.log(2))
    share = float(np.clip(1 - within / whole, 0, 1))
    return Explained(share, _auc(positives[inside], labels[inside]))


def find_duplicates(
    profile: Profile, policy: Policy
) -> Iterator[Finding | Value | Exhibit]:
    """Measures the rows, and the keys, that occur more than once."""
    share, limit = duplicates(profile.hashes), policy.max_duplicates
    yield Value("duplicate_rows", share, limit)
    if share > limit:
        most = int(profile.hashes.counts.max())
        text = (
            f"{share:.2%} of the rows repeat another row in every column, one of them "
            f"{most} times; gate.max-duplicates is {limit:.2%}"
        )
        yield Finding(Check.DUPLICATE_ROWS, text)
        yield Exhibit(Check.DUPLICATE_ROWS, hashes=_most_frequent(profile.hashes))
    if not policy.key_columns:
        return
    share = duplicates(profile.keys)
    yield Value("duplicate_keys", share, limit)
    if share > limit:
        most = int(profile.keys.counts.max())
        text = (
            f"{share:.2%} of the rows have the {' and '.join(policy.key_columns)} of "
            f"another row, one of which {most} rows have; gate.max-duplicates is "
            f"{limit:.2%}"
        )
        yield Finding(Check.DUPLICATE_KEYS, text)
        keys = policy.key_columns
        hashes = _most_frequent(profile.keys)
        yield Exhibit(Check.DUPLICATE_KEYS, hashes=hashes, keys=keys)


def find_missing_together(
    baseline: Profile, new: Profile, against: str
) -> Iterator[Finding | Value]:
    """Finds pairs of columns that lost their values in the same rows.

    That is what a join looks like that finds no partner for some rows: each column
    alone may be missing as often as before. Measured is by how much more rows both are
    missing in than if one had nothing to do with the other, compared with the baseline.
    """
    old, now = baseline.missing_together, new.missing_together
    if not baseline.rows or old is None or now is None:
        return
    grown = {
        pair: _excess(new, pair, rows) - _excess(baseline, pair, old.get(pair, 0))
        for pair, rows in now.items()
        if all(name in baseline.columns for name in pair)
    }
    if not grown:
        return
    limit = _MISSING_TOGETHER
    most = max(0.0, *grown.values())
    yield Value("missing_together", most, limit, against=against)
    for (one, other), excess in grown.items():
        if excess > limit:
            before = old.get((one, other), 0) / baseline.rows
            text = (
                f"{now[one, other] / new.rows:.1%} of the rows have neither {one} nor "
                f"{other}, {before:.1%} of the {against} data's: did a join find no "
                "partner for them?"
            )
            yield Finding(Check.MISSING_TOGETHER, text, one)


def _excess(profile: Profile, pair: tuple[str, str], rows: int) -> float:
    """Returns by how much more rows lack both columns than by chance, as a share."""
    one, other = (profile.columns[name].missing / profile.rows for name in pair)
    return rows / profile.rows - one * other


def _most_frequent(rows: RowHashes) -> tuple[int, ...]:
    order = np.argsort(-rows.counts, kind="stable")[:_EXAMPLES]
    return tuple(int(rows.hashes[place]) for place in order)


def find_overlaps(
    splits: Mapping[str, Profile], train: str, policy: Policy
) -> Iterator[Finding | Value]:
    """Measures the rows of other splits that training also sees."""
    if train not in splits:
        return
    for name, profile in splits.items():
        if name == train:
            continue
        share, limit = shared_rows(profile, splits[train]), policy.max_duplicates
        yield Value(f"rows_also_in_{train}", share, limit, split=name)
        if share > limit:
            text = (
                f"{share:.2%} of the rows are in {train} too, so a model is tested on "
                f"what it has learned; gate.max-duplicates is {limit:.2%}"
            )
            yield Finding(Check.SPLITS_OVERLAP, text, split=name)


def find_leakage(
    profile: Profile, features: Collection[str], policy: Policy
) -> Iterator[Finding | Value]:
    """Measures how well each feature predicts the label by itself."""
    for name in features:
        found = explained(profile.columns[name]) if name in profile.columns else None
        if not found:
            continue
        yield Value("explained_entropy", found.share, policy.max_leakage, name)
        if found.share > policy.max_leakage or found.auc > _AUC_OF_A_LEAK:
            text = (
                f"it explains {found.share:.0%} of the label's entropy by itself "
                f"(AUC {found.auc:.3f}): does it know the label?"
            )
            yield Finding(Check.LEAKAGE, text, name)


def find_lost_relations(
    baseline: Profile, new: Profile, against: str, features: Collection[str]
) -> Iterator[Finding | Value]:
    """Finds features that predicted the label in the baseline and no longer do.

    That is what labels look like that were joined to the wrong rows: the distribution
    of each column is as before.
    """
    for name in features:
        if name not in baseline.columns or name not in new.columns:
            continue
        before, after = explained(baseline.columns[name]), explained(new.columns[name])
        if not before or not after or before.share < _RELATION:
            continue
        limit = before.share * _LOST
        lost = before.share - after.share
        yield Value("lost_relation", max(lost, 0.0), limit, name, against=against)
        if lost > limit:
            text = (
                f"it explained {before.share:.0%} of the label's entropy in the "
                f"{against} data and explains {after.share:.0%} now: are the labels "
                "those of these rows?"
            )
            yield Finding(Check.LABEL_RELATION, text, name)


def find_missing_labels(
    profile: Profile, label_columns: Collection[str], policy: Policy
) -> Iterator[Finding | Value]:
    """Measures the rows without a value in a column that the label is computed from."""
    limit = policy.max_missing_labels
    for name in label_columns:
        column = profile.columns.get(name)
        share = column.missing / max(1, column.rows) if column else 1.0
        yield Value("missing_labels", share, limit, name)
        if share > limit:
            text = f"{share:.2%} of the rows have no label without it; "
            text += f"gate.max-missing-labels is {limit:.2%}"
            yield Finding(Check.MISSING_LABELS, text, name)


def find_delivered_again(
    baseline: Profile, new: Profile, against: str
) -> Iterator[Finding | Value]:
    """Finds data of other spans whose rows were delivered already.

    Args:
        baseline: Data of other spans only.
        new: The data that is judged.
        against: Name of the baseline.
    """
    share = shared_rows(new, baseline)
    yield Value("rows_delivered_before", share, _DELIVERED_AGAIN, against=against)
    if share > _DELIVERED_AGAIN:
        text = (
            f"{share:.0%} of the rows are those of the {against} data, which had "
            "another span number"
        )
        yield Finding(Check.DELIVERED_AGAIN, text)


def find_lost_rows(
    baseline: Profile, new: Profile, against: str, policy: Policy
) -> Iterator[Finding | Value]:
    """Compares the number of rows with the baseline's."""
    share, limit = new.rows / max(1, baseline.rows), policy.min_share_of_rows
    yield Value("rows_compared", share, against=against)
    text = f"{new.rows:,} rows, {share:.1%} of the {against} data's {baseline.rows:,}"
    if share < limit:
        text = f"{text}; gate.min-share-of-rows is {limit:.1%}"
        yield Finding(Check.ROWS_LOST, text)
    elif share < 1 / 2:
        yield Finding(Check.ROWS_HALVED, text)


def _up_to(rows: RowHashes, bound: np.uint64) -> RowHashes:
    end = int(np.searchsorted(rows.hashes, bound, side="right"))
    return RowHashes(rows.hashes[:end], rows.counts[:end], int(bound))


def _by_bin(column: Column) -> npt.NDArray[np.float64]:
    """Counts rows, labels and positive labels by bin; missing values aren't counted."""
    labels = int(column.counts[:, 1].sum())
    most = max(2, min(LEAKAGE_BINS, labels // _LABELS_IN_BIN))
    if column.numeric:
        if not len(column.values):
            return np.zeros((1, 3))
        return binned(column, edges_of(column, most))
    order = np.argsort(-column.counts[:, 0], kind="stable")
    counts = column.counts[order].astype(np.float64)
    rest = counts[most:].sum(axis=0) + column.other
    return np.vstack([counts[:most], rest])


def _entropy(
    positive: npt.NDArray[np.float64] | np.float64,
    total: npt.NDArray[np.float64] | np.float64,
) -> npt.NDArray[np.float64]:
    """Returns the entropy in bits of labels; 0 where there are none."""
    rate = np.divide(positive, total, out=np.zeros_like(total), where=total > 0)
    parts = [
        -share * np.log2(share, out=np.zeros_like(share), where=share > 0)
        for share in (rate, 1 - rate)
    ]
    return np.asarray(parts[0] + parts[1])


def _auc(positives: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> float:
    """Returns the AUC of ranking the bins by their rate of positive labels."""
    order = np.argsort(positives / labels, kind="stable")
    positive, negative = positives[order], (labels - positives)[order]
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / (positive.sum() * negative.sum()))
