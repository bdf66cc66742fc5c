"""The section about anomalies in the data."""

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2

from pipeline.config import Config
from pipeline.report.blocks import Note, Table
from pipeline.report.sections.anomalies import section
from pipeline.trust.policy import Verdict
from tests.pipeline.report.pages import opened
from tests.pipeline.tfx_store import StockStore

RANGE = """
anomaly_info {
  key: "size"
  value {
    path { step: "size" }
    reason {
      type: ENUM_TYPE_UNEXPECTED_STRING_VALUES
      short_description: "Unexpected value"
      description: "99 is not one of them"
    }
  }
}
"""


def validated(store: StockStore, **anomalies: str) -> None:
    """Registers the anomalies of each split, in text format."""
    artifact = store.artifact("ExampleAnomalies")
    for split, text in anomalies.items():
        found = text_format.Parse(text, anomalies_pb2.Anomalies())
        path = store.path(artifact) / f"Split-{split}"
        path.mkdir()
        (path / "SchemaDiff.pb").write_bytes(found.SerializeToString())
    store.ran("monday", "ExampleValidator", outputs={"anomalies": artifact})


def test_an_anomaly_is_one_row_with_its_splits(
    config: Config, store: StockStore
) -> None:
    """The same anomaly in two splits is listed once, with column, kind and text."""
    validated(store, train=RANGE, eval=RANGE)

    shown = section(opened(config))

    assert shown is not None
    note, table = shown.blocks
    assert note == Note("1 anomaly. No gate has judged them.", "warn")
    assert isinstance(table, Table)
    assert [list(row) for row in table.rows] == [
        [
            "size",
            "train, eval",
            "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
            "99 is not one of them",
        ]
    ]


def test_data_that_fits_is_said_to_fit(config: Config, store: StockStore) -> None:
    """Without an anomaly there is a note and no table."""
    validated(store, train="", eval="")

    shown = section(opened(config))

    assert shown is not None
    (note,) = shown.blocks
    assert isinstance(note, Note)
    assert note.tone == "good"


def test_a_gate_s_verdict_has_the_anomalies(config: Config, store: StockStore) -> None:
    """What the gate has judged is among its findings, and not listed twice."""
    validated(store, train=RANGE)
    verdict = store.artifact("DataVerdict")
    (store.path(verdict) / "verdict.json").write_text(Verdict().to_json())
    store.ran("monday", "DataGate", outputs={"verdict": verdict})

    assert section(opened(config)) is None


def test_a_run_that_validated_nothing_has_no_section(
    config: Config, store: StockStore
) -> None:
    """Nothing is claimed about data that was not validated."""
    store.ran("monday", "CsvExampleGen", outputs={"examples": store.examples()})

    assert section(opened(config)) is None
