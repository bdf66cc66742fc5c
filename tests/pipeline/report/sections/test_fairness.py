"""The section about groups."""

import json
from typing import Any

from pipeline.config import Config
from pipeline.report.blocks import Bars, Grid, Table
from pipeline.report.sections.fairness import section
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore


def group(name: str, rows: float, **metrics: list[float | None]) -> dict[str, Any]:
    """A group's metrics as the Evaluator writes them."""
    return {"where": [["pickup_side", name]], "rows": rows, "metrics": metrics}


def test_groups_are_tabulated_and_drawn(config: Config, store: StockStore) -> None:
    """The largest comes first; small ones have their numbers and no bar."""
    metrics = [
        {"where": [], "rows": 70, "metrics": {"false_positive_rate": [0.2, 0.1, 0.3]}},
        group("South", 9, false_positive_rate=[0.125, None, None]),
        group("West", 60, false_positive_rate=[0.25, 0.2, 0.3]),
    ]
    evaluation = store.evaluation(auc=0.7)
    (store.path(evaluation) / "gates.json").write_text(json.dumps({"metrics": metrics}))
    store.ran("monday", "Evaluator", outputs={"evaluation": evaluation})

    shown = section(opened(config))

    assert shown is not None
    _, table, grid = shown.blocks
    assert isinstance(table, Table)
    assert table.rows == [
        ["West", 60, "0.250 (0.200 to 0.300)", "-", "-", "-"],
        ["South", 9, "0.125", "-", "-", "-"],
    ]
    assert isinstance(grid, Grid)
    (bars,) = grid.blocks
    assert isinstance(bars, Bars)
    assert bars.series == {"candidate": [("West", 0.25)]}


def test_without_groups_there_is_no_section(config: Config, store: StockStore) -> None:
    """A run that was judged by no rules, or has no such rows, shows nothing."""
    store.ran("monday", "Evaluator", outputs={"evaluation": store.evaluation(auc=0.7)})

    assert section(opened(config)) is None
