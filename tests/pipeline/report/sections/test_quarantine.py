"""The section about rows that don't fit."""

from pipeline.config import Config
from pipeline.ingestion.quarantine import COUNTS_FILE, Rejected, Tally
from pipeline.report.blocks import Facts, Note, Table
from pipeline.report.sections.quarantine import section
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore

BAD = Rejected("a.csv", 3, "size", "'two' is no whole number", b"blue,two")


def ingested(store: StockStore, read: int, *rejected: Rejected) -> None:
    """Registers what ingestion writes of its rows."""
    artifact = store.artifact("Quarantine")
    tally = Tally()
    tally.read["a.csv"] += read
    tally.written["train"] += read - len(rejected)
    tally.note(rejected)
    (store.path(artifact) / COUNTS_FILE).write_text(tally.to_json())
    rows = "".join(f"{row.to_json()}\n" for row in rejected)
    (store.path(artifact) / "rows-00000-of-00001.jsonl").write_text(rows)
    store.ran("monday", "FileBasedExampleGen", outputs={"quarantine": artifact})


def test_rows_are_counted_and_listed(config: Config, store: StockStore) -> None:
    """Counts, reasons, and the first rows with file, line, column and text."""
    ingested(store, 4, BAD)

    shown = section(opened(config))

    assert shown is not None
    note, facts, reasons, rows = shown.blocks
    assert isinstance(note, Note)
    assert note.text == "1 of 4 rows don't fit and are in quarantine."
    assert isinstance(facts, Facts)
    assert facts.facts["rows in train"] == 3
    assert facts.facts["share of the rows, %"] == 25.0
    assert isinstance(reasons, Table)
    assert [row[1] for row in reasons.rows] == [1]
    assert isinstance(rows, Table)
    assert [list(row) for row in rows.rows] == [
        ["a.csv", 3, "size", "'two' is no whole number", "blue,two"]
    ]


def test_rows_that_all_fit_are_one_note(config: Config, store: StockStore) -> None:
    """Without a rejected row there is no table."""
    ingested(store, 4)

    shown = section(opened(config))

    assert shown is not None
    assert shown.blocks == [Note("All 4 rows that were read fit.", "good")]


def test_stock_ingestion_has_no_section(config: Config, store: StockStore) -> None:
    """A run without a quarantine claims nothing about rows that don't fit."""
    store.ran("monday", "CsvExampleGen", outputs={"examples": store.examples()})

    assert section(opened(config)) is None
