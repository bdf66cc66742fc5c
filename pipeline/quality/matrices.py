"""Confusion matrices from score histograms, for all thresholds at once.

TFMA derives them in Python loops over 10,000 buckets, once per slice and model. What
the loops compute is linear: at each threshold, the sums of the buckets from one place
on, and of those before another. The places are read off TFMA's own result for a
histogram of ones, and checked on another one; so they are TFMA's, rounding and all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow_model_analysis.metrics import (
    binary_confusion_matrices,
    calibration_histogram,
)

from pipeline.quality.aggregates import Floats
from pipeline.quality.slices import Integers

BUCKETS = calibration_histogram.DEFAULT_NUM_BUCKETS + 2
"""Buckets of TFMA's default histogram, with one below and one above its range."""

_PROBED = np.arange(BUCKETS, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class HistogramMatrices:
    """Replaces TFMA's derived computation of matrices from a histogram.

    Attributes:
        keys: TFMA's key of the matrices, alone in a list.
        histogram: TFMA's key of the histogram.
        thresholds: Decision thresholds of the matrices, rising.
        starts: First bucket that counts as predicted positive, per threshold.
        ends: Bucket after the last that counts as predicted negative, per threshold.
    """

    keys: list[Any]
    histogram: Any
    thresholds: list[float]
    starts: Integers
    ends: Integers

    @classmethod
    def of(cls, computation: Any) -> "HistogramMatrices | None":
        """Determines where TFMA's computation cuts the histogram.

        Args:
            computation: TFMA's, of one key.

        Returns:
            The same on arrays; `None` if the computation reads something else, or is
            not a cumulative sum of buckets.
        """
        # With one positive and one negative per bucket, a sum is a number of buckets,
        # and so the place of the cut.
        asked = _Asked(_histogram(np.ones(BUCKETS), np.ones(BUCKETS)))
        try:
            (matrices,) = computation.result(asked).values()
        except (AttributeError, TypeError, KeyError):
            return None
        if len(asked.keys_read) != 1:
            return None
        found = cls(
            list(computation.keys),
            asked.keys_read[0],
            list(matrices.thresholds),
            BUCKETS - np.asarray(matrices.tp, np.int64),
            np.asarray(matrices.fn, np.int64),
        )
        # If TFMA ever computes something else, its own code is used: slower, never
        # wrong.
        return found if found._agrees(computation) else None

    def result(self, metrics: Mapping[Any, Any]) -> dict[Any, Any]:
        """Computes the matrices of a slice, as TFMA's computation does."""
        buckets = metrics[self.histogram]
        columns = np.array(
            [(b.bucket_id, b.weighted_labels, b.weighted_examples) for b in buckets]
        ).reshape(-1, 3)
        positive = columns[:, 1]
        tp, tn, fp, fn = self.matrices(
            columns[:, 0].astype(np.int64), positive, columns[:, 2] - positive
        )
        (key,) = self.keys
        return {key: self.named(tp, tn, fp, fn)}

    def matrices(
        self, cells: Integers, positive: Floats, negative: Floats
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Computes matrices.

        Args:
            cells: [K] buckets that have rows, rising.
            positive: [..., K] weight of the positives in each.
            negative: [..., K] weight of the negatives.

        Returns:
            True positives, true negatives, false positives and false negatives, each
            [..., thresholds].
        """
        # Only buckets with rows are stored, so a cut by bucket becomes a place among
        # them.
        starts = np.searchsorted(cells, self.starts)
        ends = np.searchsorted(cells, self.ends)
        return (
            _from(positive)[..., starts],
            _until(negative)[..., ends],
            _from(negative)[..., starts],
            _until(positive)[..., ends],
        )

    def distinct(self, cells: Integers) -> Integers:
        """Returns the indices of the thresholds between which there are rows."""
        places = np.stack(
            [np.searchsorted(cells, self.starts), np.searchsorted(cells, self.ends)]
        )
        changes = (places[:, 1:] != places[:, :-1]).any(axis=0)
        kept: Integers = np.flatnonzero(np.append(True, changes))
        return kept

    def named(self, tp: Floats, tn: Floats, fp: Floats, fn: Floats) -> Any:
        """Returns matrices as TFMA's metrics read them."""
        return binary_confusion_matrices.Matrices(
            self.thresholds, tp.tolist(), tn.tolist(), fp.tolist(), fn.tolist()
        )

    def _agrees(self, computation: Any) -> bool:
        """Compares with TFMA on a histogram of random weights."""
        # A fixed seed: whether the fast way is taken must not differ between two runs.
        numbers = np.random.default_rng(0)
        positive, negative = numbers.random((2, BUCKETS))
        metrics = {self.histogram: _histogram(positive, negative)}
        (theirs,) = computation.result(metrics).values()
        ours = self.matrices(_PROBED, positive, negative)
        found = (theirs.tp, theirs.tn, theirs.fp, theirs.fn)
        return all(map(np.allclose, ours, found))


class _Asked(dict[Any, Any]):
    """Returns one histogram for every key, and records the keys."""

    def __init__(self, histogram: list[Any]) -> None:
        super().__init__()
        self.keys_read: list[Any] = []
        self._histogram = histogram

    def __missing__(self, key: Any) -> list[Any]:
        self.keys_read.append(key)
        return self._histogram


def _histogram(positive: Floats, negative: Floats) -> list[Any]:
    weights = zip(positive.tolist(), (positive + negative).tolist(), strict=True)
    return [
        calibration_histogram.Bucket(at, labels, 0.0, examples)
        for at, (labels, examples) in enumerate(weights)
    ]


# Sums that start where they end are exactly 0, which a difference of sums is not.
def _from(values: Floats) -> Floats:
    """Sums to the end from each place, and from after the last."""
    summed = np.cumsum(values[..., ::-1], axis=-1)[..., ::-1]
    return np.concatenate([summed, np.zeros((*values.shape[:-1], 1))], axis=-1)


def _until(values: Floats) -> Floats:
    """Sums from the beginning to before each place, and all."""
    summed = np.cumsum(values, axis=-1)
    return np.concatenate([np.zeros((*values.shape[:-1], 1)), summed], axis=-1)
