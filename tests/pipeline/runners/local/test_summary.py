"""What a run says of its metrics when it is over."""

import io
import re
from pathlib import Path

from rich.console import Console

from pipeline.config import Quality
from pipeline.quality.eval_config import eval_config
from pipeline.runners.local.summary import _metric, _metrics_table
from tests.pipeline.quality.stock_tfma import Rows, by_columns

SCORES = [0.9, 0.3, 0.4, 0.1] * 10


def lines(path: Path, labels: list[float], baseline: list[float] | None) -> list[str]:
    """Evaluates rows, and returns the lines of the table about them."""
    rows = Rows({"hour": [[1]] * 40}, labels, [1.0] * 40, SCORES, baseline)
    by_columns(rows, eval_config(Quality(slice_columns=("hour",))), path)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(_metrics_table(path))
    return [line.strip() for line in console.export_text().splitlines()]


def test_the_metric_that_decides_is_shown_with_its_interval(tmp_path: Path) -> None:
    """The AUC of both models has bounds, the other metrics have none."""
    shown = lines(tmp_path, [1.0, 1.0, 0.0, 0.0] * 10, SCORES[::-1])

    (auc,) = [line for line in shown if line.startswith("AUC ")]
    assert re.fullmatch(r"AUC( +0\.\d+ \(0\.\d+ to 0\.\d+\)){2}", auc)
    (accuracy,) = [line for line in shown if line.startswith("accuracy")]
    assert re.fullmatch(r"accuracy +0\.75 +0\.25", accuracy)


def test_counts_are_written_in_full() -> None:
    """198,612 rows are not 1.986e+05."""
    assert _metric(198_612.0, None) == "198,612"
    assert _metric(1.0, (1.0, 1.0)) == "1 (1 to 1)"


def test_an_undefined_metric_is_no_number(tmp_path: Path) -> None:
    """Rows of one class have no AUC, no AUC-PR and no calibration, and say so."""
    shown = lines(tmp_path, [0.0] * 40, None)

    assert "AUC -" in {re.sub(" +", " ", line) for line in shown}
    assert sum(line.endswith(" -") for line in shown) == 3
