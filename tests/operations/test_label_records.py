"""Labels in the metadata store, and what is said of them."""

from datetime import timedelta
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore

from operations import label_records, labels
from operations.labels import Job
from operations.ledger import Entry
from operations.outcomes import Roles
from operations.training_files import Place
from pipeline.config import Config
from pipeline.store.connection import open_store
from pipeline.store.graph import Graph
from tests.operations.conftest import WriteCsv
from tests.operations.request_logs import START


@pytest.fixture
def entry(config: Config, log: Path, place: Place, outcomes: WriteCsv) -> Entry:
    """One label that was joined, and one that has no request."""
    rows = [{"request_id": r, "tips": 1} for r in ("r1", "nobody")]
    job = Job(place, Roles(), timedelta(days=1))
    (entry,) = labels.add(config, outcomes("a.csv", rows), job, START).entries
    return entry


def test_an_entry_is_an_execution_with_an_artifact(
    config: Config, entry: Entry
) -> None:
    """It has the span, the file and the counts, and is recorded once."""
    store = MetadataStore(open_store(config.metadata_url))
    book = labels.ledger_of(config)

    counts = [label_records.record(store, config.name, book) for _ in range(2)]

    graph = Graph(store)
    (artifact,) = graph.of_type("LabelledRequests")
    (maker,) = graph.makers([artifact.id])
    assert counts == [1, 0]
    assert artifact.uri == str(entry.path)
    assert (artifact.properties["span"], artifact.properties["orphaned"]) == (8, 1)
    assert artifact.properties["span_file"] == entry.about.path
    assert maker.pipeline == config.name


def test_a_store_that_is_gone_is_told(
    config: Config, entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The labels are joined all the same."""
    label_records.record_if_possible(config, labels.ledger_of(config))

    assert "not yet recorded in the metadata store" in capsys.readouterr().err


def test_lines_have_counts_and_places(entry: Entry) -> None:
    """What happened to each outcome, and where the rows are."""
    first, second, *notes, last = label_records.lines(entry)

    assert first.endswith("a.csv: 2 outcomes: 1 joined, 1 orphaned")
    assert second.startswith("span 8: 1 rows in ")
    assert any("left empty in the training data" in note for note in notes)
    assert last == f"ledger {entry.path}"
