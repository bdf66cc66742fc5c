"""The section about rules."""

import json

from pipeline.config import Config
from pipeline.report.blocks import Table, Text
from pipeline.report.sections.gates import section
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore

GATES = {
    "confidence": 0.95,
    "comparisons": 3,
    "findings": [
        {"outcome": "passed", "rule": "auc >= 0.5", "text": "fine", "rows": 90.2},
        {"outcome": "failed", "rule": "auc >= 0.9", "text": "too low", "rows": 90.2},
    ],
}


def test_broken_rules_come_first(config: Config, store: StockStore) -> None:
    """Each finding is a row with its rule, and the confidence is explained."""
    evaluation = store.evaluation(auc=0.7)
    (store.path(evaluation) / "gates.json").write_text(json.dumps(GATES))
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    shown = section(opened(config))

    assert shown is not None
    text, table = shown.blocks
    assert isinstance(text, Text)
    assert "sure to 95%, shared by 3 comparisons" in text.text
    assert isinstance(table, Table)
    assert table.rows == [
        ["failed", "auc >= 0.9", "too low", 90],
        ["passed", "auc >= 0.5", "fine", 90],
    ]


def test_an_evaluation_without_rules_has_no_section(
    config: Config, store: StockStore
) -> None:
    """Stock evaluations are judged by TFMA's thresholds alone."""
    store.ran("monday", "Evaluator", outputs={"evaluation": store.evaluation(auc=0.7)})

    assert section(opened(config)) is None
