"""What the gate accepted earlier, read from its artifacts."""

import pandas as pd

from pipeline.config import Config
from pipeline.trust import past, profile
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
