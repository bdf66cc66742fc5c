"""Formatting and reading of evaluation results."""

import json

import pytest

from pipeline.quality.results import (
    OVERALL,
    metric_text,
    read_gates,
    read_metrics,
    read_reasons,
)
from tests.pipeline.tfx_store import StockStore


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (198612.0, "198,612"),
        (2982.0, "2,982"),
        (0.95921, "0.9592"),
        (12345.67, "12,346"),
        (0.0, "0"),
        (1.0, "1"),
        (0.00001234, "1.234e-05"),
        (float("nan"), "-"),
        (None, "-"),
        (float("inf"), "inf"),
    ],
)
def test_metrics_are_written_for_people(value: float | None, text: str) -> None:
    """Counts are in full, other metrics have four digits, undefined ones a dash."""
    assert metric_text(value) == text


def test_zeros_of_the_stock_evaluator_are_no_values(store: StockStore) -> None:
    """Areas of 0 that the stock Evaluator writes for one class are dropped."""
    evaluation = store.evaluation(auc=0.0, auc_precision_recall=0.0, mean_label=0.0)

    metrics = read_metrics(store.path(evaluation))["candidate"][OVERALL]

    assert metrics == {"mean_label": 0.0}


def test_broken_rules_are_the_reasons(store: StockStore) -> None:
    """Rules say more of the AUC than TFMA's thresholds, which say the rest."""
    evaluation = store.path(store.evaluation(auc=0.5))
    findings = [
        {
            "rule": "auc >= 0.9",
            "outcome": "failed",
            "text": "overall: auc is 0.5; it must be at least 0.9",
        },
        {"rule": "recall >= 0.1", "outcome": "passed", "text": "fine"},
    ]
    (evaluation / "gates.json").write_text(json.dumps({"findings": findings}))

    assert read_reasons(evaluation) == [findings[0]["text"]]
    assert read_gates(evaluation)["findings"] == findings


def test_an_evaluation_without_rules_has_no_gates(store: StockStore) -> None:
    """Stock evaluations have TFMA's thresholds only."""
    assert read_gates(store.path(store.evaluation(auc=0.5))) == {}
