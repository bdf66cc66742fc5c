"""What the gate accepted earlier, read from its artifacts."""

import pandas as pd
import pytest

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.trust import coverage, past, profile
from pipeline.trust.policy import Verdict
from tests.pipeline.tfx_store import StockStore
from tests.pipeline.trust.rows import profile_of


def accept(runs: StockStore, run: str, fares: list[float], span: int) -> None:
    """Registers a run whose data was accepted."""
    rows = profile_of(pd.DataFrame({"fare": fares}))
    verdict = Verdict(spans=(span,), fingerprint=rows.named_fingerprint())
    written = runs.artifact("DataVerdict")
    columns, hashes = profile.to_bytes({"train": rows})
    directory = runs.path(written)
    (directory / "verdict.json").write_text(verdict.to_json())
    (directory / "columns.parquet").write_bytes(columns)
    (directory / "rows.parquet").write_bytes(hashes)
    runs.ran(run, "DataGate", outputs={"verdict": written})


def test_what_training_covers_is_of_the_newest_model(config: Config) -> None:
    """The cells of all data that its Trainer had verdicts about, added up."""
    runs = StockStore(config.metadata_url, config.output / "artifacts", config.name)
    verdicts = [runs.artifact("DataVerdict", {"min_rows_of_cell": 7}) for _ in range(3)]
    for number, verdict in enumerate(verdicts, 1):
        cells: dict[str, coverage.Counts] = {
            "train": {("pay",): coverage.Cells({("Cash",): number})}
        }
        place = runs.path(verdict) / "cells.parquet"
        place.write_bytes(coverage.to_bytes(cells))
        runs.ran(f"run {number}", "DataGate", outputs={"verdict": verdict})

    before = past.covered(config)
    runs.ran("run 2", "Trainer", inputs={"verdict": verdicts[:2]})
    after = past.covered(config)

    assert (before.run, before.splits["train"][("pay",)].total) == ("run 3", 3)
    assert (after.run, after.splits["train"][("pay",)].total) == ("run 2", 3)
    assert (after.min_rows, after.splits["train"][("pay",)].rows) == (7, {("Cash",): 3})


def test_without_counted_cells_that_is_said(config: Config) -> None:
    """The error says what counts them."""
    StockStore(config.metadata_url, config.output / "artifacts", config.name)

    with pytest.raises(UsageError, match=r"has counted the cells .*run_local\.py"):
        past.covered(config)


def test_each_accepted_data_is_read_once(config: Config) -> None:
    """The newest ones, in the order in which they came; what is gone is left out."""
    runs = StockStore(config.metadata_url, config.output / "artifacts", config.name)
    for span in (1, 2, 3):
        accept(runs, f"run {span}", [float(span)] * span, span)
    accept(runs, "again", [3.0] * 3, 3)
    runs.ran("gone", "DataGate", outputs={"verdict": runs.artifact("DataVerdict")})

    found = past.accepted(config, most=2)

    assert [(each.verdict.spans, each.rows.rows) for each in found] == [
        ((2,), 2),
        ((3,), 3),
    ]
