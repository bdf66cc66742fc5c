"""Prediction drift: does the live model answer otherwise for new data than before?

What it answered for the rows of its eval split is stored with the model
(`models.kept_scores`). The measures and thresholds are those of the columns' drift.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from models.kept_scores import Kept
from models.names import CLASS, PREDICTION, PROBABILITY
from pipeline.trust import drift, profile
from pipeline.trust.checks import Check
from pipeline.trust.policy import Exhibit, Finding, Policy, Value
from pipeline.trust.profile import Column, Profile, RowHashes

AGAINST = "live model's eval"
"""Name of the baseline: the data of its eval split, and what it answered there."""

ROWS = 10_000
"""Most rows that the live model is asked about: a random sample."""

SMALLEST_EFFECT = 0.05
"""Divergences up to this are no finding. In the quarter after those that it learned
from, a model of the sample's first nine quarters moves by 0.028; one of the first eight
moves by up to 0.022 within the next year."""

FEWEST = 250
"""Fewest rows of the eval split that a live model must have answered. One that learned
from fewer than about 2,000 rows answers new rows otherwise, whatever they are: of the
clean quarters, the models of the first (87 rows) and of the first two (209) moved by
0.15 and 0.09."""

# Not the answers' own names, which columns of the data may have too.
_TITLES = {
    CLASS: "predicted class",
    PROBABILITY: "predicted probability",
    PREDICTION: "predicted number",
}


@dataclass(frozen=True)
class Scores:
    """The answers of a live model.

    Attributes:
        before: For the rows of its eval split.
        now: For new rows.
    """

    before: Profile
    now: Profile

    @classmethod
    def of(cls, kept: Kept, answers: pa.RecordBatch) -> "Scores":
        """Pairs stored answers with new ones.

        Args:
            kept: What is stored with the model.
            answers: The new ones, a column for each.
        """
        names = [name for name in answers.schema.names if name in kept]
        nothing = np.zeros(answers.num_rows, np.int64)
        now = profile.of_batch(answers.select(names), nothing, nothing)
        asked = {name: kept[name] for name in names}
        columns = {name: _column(values) for name, values in asked.items()}
        rows, none = count(asked), RowHashes.none()
        return cls(_titled(Profile(rows, 0, 0, columns, none, 0)), _titled(now))

    def __str__(self) -> str:
        """Returns what is compared, such as "1,444 answers, and 10,000 now"."""
        return f"{self.before.rows:,} answers, and {self.now.rows:,} now"


def count(kept: Kept) -> int:
    """Returns for how many rows answers are stored."""
    return max((sum(n for _, n in answers) for answers in kept.values()), default=0)


def find_drift(scores: Scores, policy: Policy) -> Iterator[Finding | Value | Exhibit]:
    """Compares the answers.

    Args:
        scores: Before and now.
        policy: Has the probability of a false alarm.
    """
    for each in drift.compare(scores.before, scores.now, AGAINST, policy):
        # An answer is never missing.
        if each.value.measure == drift.MISSING_SHARE:
            continue
        moved = replace(each, value=_with_effect(each.value))
        yield moved.value
        if moved.over:
            yield replace(moved.finding(), anomaly=Check.PREDICTION_DRIFT)
            if moved.exhibit:
                yield replace(moved.exhibit, anomaly=Check.PREDICTION_DRIFT)


def _with_effect(value: Value) -> Value:
    """Raises a threshold to the smallest effect of predictions."""
    lower = value.threshold is not None and value.threshold < SMALLEST_EFFECT
    if value.measure != drift.JENSEN_SHANNON or not lower:
        return value
    return replace(value, threshold=SMALLEST_EFFECT, because=drift.BY_EFFECT)


def _column(kept: Sequence[tuple[Any, int]]) -> Column:
    values = [value for value, _ in kept]
    rows = np.array([count for _, count in kept], np.int64)
    numeric = not any(isinstance(value, str) for value in values)
    counts = np.stack([rows, np.zeros_like(rows), np.zeros_like(rows)], axis=1)
    kind = np.float64 if numeric else object
    return Column(numeric, 0, np.array(values, kind), counts)


def _titled(found: Profile) -> Profile:
    columns = {_TITLES[name]: column for name, column in found.columns.items()}
    return replace(found, columns=columns)
