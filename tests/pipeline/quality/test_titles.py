"""Which metrics are shown, and how they are called."""

import pytest

from pipeline.quality import titles


@pytest.mark.parametrize(
    ("values", "task", "main"),
    [
        ({"auc": 0.8, "binary_accuracy": 0.9}, "binary", ("AUC", 0.8)),
        ({"accuracy": 0.9, "accuracy_gain": 0.2}, "classes", ("accuracy", 0.9)),
        ({"r2": 0.5, "rmse": 3.0}, "regression", ("R2", 0.5)),
        ({"rmse": 3.0}, "regression", ("R2", None)),
        ({}, "binary", ("AUC", None)),
    ],
)
def test_one_metric_stands_for_all(
    values: dict[str, float], task: str, main: tuple[str, float | None]
) -> None:
    """The task is known by its metrics; an undefined metric has no value."""
    assert titles.task_of(values) == task
    assert titles.main(values) == main


def test_all_shown_metrics_have_titles() -> None:
    """A summary shows nothing that the report would call otherwise."""
    for shown in titles.SHOWN.values():
        assert {name: titles.TITLES[name] for name in shown} == shown
