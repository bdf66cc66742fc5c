"""How metrics are called where people read them, and which come first."""

from collections.abc import Collection, Mapping
from typing import TypeVar

from models.declarations import Task

Value = TypeVar("Value")

SHOWN: Mapping[Task, Mapping[str, str]] = {
    "binary": {
        "auc": "AUC",
        "auc_precision_recall": "AUC-PR",
        "binary_accuracy": "accuracy",
        "binary_crossentropy": "log loss",
        "calibration": "calibration (predicted / actual)",
        "example_count": "rows",
    },
    "classes": {
        "accuracy": "accuracy",
        "majority_share": "accuracy of the most frequent class",
        "accuracy_gain": "accuracy above it",
        "auc": "AUC",
        "log_loss": "log loss",
        "example_count": "rows",
    },
    "regression": {
        "r2": "R2",
        "rmse": "RMSE",
        "mean_absolute_error": "MAE",
        "calibration": "calibration (predicted / actual)",
        "example_count": "rows",
    },
}
"""The metrics of a kind of task that summaries show, by name, in their order."""

TITLES: Mapping[str, str] = {
    **{
        name: title
        for shown in SHOWN.values()
        for name, title in shown.items()
        if name != "example_count"
    },
    "mean_label": "mean label",
    "mean_prediction": "mean prediction",
    "example_count": "rows",
    "weighted_example_count": "rows, by weight",
}
"""Titles of all metrics of ours, in the order of the report; others keep their name."""

OF_RULES: Mapping[str, str] = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "accuracy_gain": "accuracy above the most frequent class",
    "log_loss": "log loss",
    "false_positive_rate": "false positive rate",
    "false_negative_rate": "false negative rate",
    "selection_rate": "selection rate",
    "calibration_error": "mean prediction - share of positives",
    "r2": "R2",
    "rmse": "RMSE",
    "mae": "MAE",
    "mean_error": "mean prediction - mean label",
}
"""Titles of the metrics of rules, `pipeline.quality.rules`; others keep their name."""

MAIN: Mapping[Task, str] = {"binary": "auc", "classes": "accuracy", "regression": "r2"}
"""The metric that stands for all; more of it is better."""


def task_of(names: Collection[str]) -> Task:
    """Returns the kind of task that metrics are of; binary if nothing tells."""
    if "accuracy_gain" in names:
        return "classes"
    return "regression" if {"r2", "rmse"} & {*names} else "binary"


def main(
    values: Mapping[str, Value], task: Task | None = None
) -> tuple[str, Value | None]:
    """Returns the title and the value of the metric that stands for all.

    Args:
        values: Metrics, or anything of them, by name.
        task: The kind of task, where the names don't tell it: some of them are there
            only; by the names if not given.
    """
    task = task or task_of(values)
    return SHOWN[task][MAIN[task]], values.get(MAIN[task])
