"""Each kind of task has sums of its own, and the metrics that rules may be about."""

import numpy as np
import pytest

from models.declarations import Task
from pipeline.quality import rules
from pipeline.quality.aggregates import Scored, tabled
from pipeline.quality.comparisons import comparison
from pipeline.quality.slices import Members

CLASSES = ("a", "b")
ROWS = 40


def scores_of(task: Task) -> Scored:
    """Labels and predictions of a task."""
    labels = np.arange(ROWS) % 2
    one = np.linspace(0.1, 0.9, ROWS)
    found = np.stack([1 - one, one], axis=1) if task == "classes" else one
    return Scored(labels.astype(float), found, np.ones(ROWS))


@pytest.mark.parametrize("task", ["binary", "classes", "regression"])
def test_all_metrics_of_rules_are_estimated(task: Task) -> None:
    """In the order of the rules' own list; a rule could fail for no other reason."""
    classes = CLASSES if task == "classes" else ()
    how = comparison(task, classes, (0.5, 0.5))
    scored = scores_of(task)
    inside = Members(((),), np.zeros(ROWS, np.int64), np.arange(ROWS))

    tables = [
        tabled(kind.width, kind.quantities(scored, scored), inside)
        for kind in how.kinds
    ]
    found = how.estimates(tables, 0, 1)

    assert {*found.candidate} == {*rules.metrics_of(task, classes)}
    assert all(np.isfinite(values[0]) for values in found.candidate.values())
