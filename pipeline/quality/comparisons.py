"""What is summed of a candidate and a rival, and estimated, for a kind of task."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.declarations import Task
from pipeline.quality import group_pairs, pairs
from pipeline.quality.aggregates import Floats, Scored, Table
from pipeline.quality.group_pairs import ClassPair, NumberPair, RankPair, TopScore
from pipeline.quality.pairs import Estimates, Pair
from pipeline.quality.slices import Integers


class Paired(Protocol):
    """A kind of sum over the scores of two models for the same rows."""

    @property
    def width(self) -> int:
        """Returns the number of cells."""

    def quantities(self, first: Scored, second: Scored) -> tuple[Integers, Floats]:
        """Returns cells and what to add there, as of `aggregates.Sums`."""


def _nothing(tables: Sequence[Table], number: int) -> list[dict[str, float]]:
    del tables, number
    return []


@dataclass(frozen=True)
class Comparison:
    """How two models of a kind of task are compared.

    Attributes:
        kinds: The kinds of sums.
        estimates: The metrics of a slice: of the tables of these sums, the slice's
            number in them, and a seed.
        calibration: Buckets of the first model's scores in a slice, where TFMA has no
            calibration plot: of the tables, and the slice's number.
    """

    kinds: tuple[Paired, ...]
    estimates: Callable[[Sequence[Table], int, int], Estimates]
    calibration: Callable[[Sequence[Table], int], list[dict[str, float]]] = _nothing


def comparison(
    task: Task, classes: Sequence[object], thresholds: tuple[float, float]
) -> Comparison:
    """Returns how two models are compared.

    Args:
        task: The kind of task.
        classes: The classes in the order of their numbers; none for another task.
        thresholds: Decision thresholds of both models; only binary ones have some.
    """
    match task:
        case "binary":
            return Comparison((Pair(thresholds),), pairs.estimates)
        case "classes":
            estimates = functools.partial(group_pairs.class_estimates, classes=classes)
            kinds = (ClassPair(), RankPair(), TopScore())
            return Comparison(kinds, estimates, group_pairs.class_calibration)
        case "regression":
            return Comparison((NumberPair(),), group_pairs.number_estimates)
