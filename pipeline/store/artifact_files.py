"""Reads the files of TFX 1.x artifacts, without importing TensorFlow or TFX.

Importing either takes seconds, and a query about an old run should not. A directory
that is missing or empty gives an empty result rather than an error, because metadata
stores outlive the files that they refer to.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

# File names within TFX's artifacts; TFX has them as private constants, in modules that
# import TensorFlow.
SCHEMA_FILE = "schema.pbtxt"
STATISTICS_FILE = "FeatureStats.pb"
ANOMALIES_FILE = "SchemaDiff.pb"
VERDICT_FILE = "verdict.json"
HISTORY_FILE = "history.json"


def local_path(uri: str) -> Path | None:
    """Converts an artifact's URI to a path; `None` if it doesn't exist here."""
    parts = urlsplit(uri)
    if parts.scheme in {"", "file"} and (path := Path(parts.path)).exists():
        return path
    return None


def read_statistics(
    directory: Path,
) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
    """Reads the statistics of an ExampleStatistics artifact, by split."""
    found = {}
    for split, path in _splits(directory, STATISTICS_FILE):
        everything = statistics_pb2.DatasetFeatureStatisticsList()
        everything.ParseFromString(path.read_bytes())
        # A list for TFDV's slices; the first entry is always of all rows.
        found[split] = everything.datasets[0]
    return found


def read_anomalies(directory: Path) -> dict[str, anomalies_pb2.Anomalies]:
    """Reads the anomalies of an ExampleAnomalies artifact, by split."""
    found = {}
    for split, path in _splits(directory, ANOMALIES_FILE):
        found[split] = anomalies_pb2.Anomalies()
        found[split].ParseFromString(path.read_bytes())
    return found


def read_schema(directory: Path) -> schema_pb2.Schema | None:
    """Reads a Schema artifact; `None` if its file is gone."""
    path = directory / SCHEMA_FILE
    if not path.is_file():
        return None
    return text_format.Parse(path.read_text("utf-8"), schema_pb2.Schema())


def read_learning_curves(directory: Path) -> dict[str, list[float]]:
    """Reads the history.json of a ModelRun artifact; empty if it has none."""
    path = directory / HISTORY_FILE
    return json.loads(path.read_text()) if path.is_file() else {}


def read_findings(directory: Path) -> list[dict[str, str]] | None:
    """Reads the gate's findings of a DataVerdict; `None` if its file is gone."""
    path = directory / VERDICT_FILE
    return json.loads(path.read_text()) if path.is_file() else None


def row_counts(directory: Path) -> dict[str, int]:
    """Returns the number of rows in each split of an ExampleStatistics artifact."""
    return {n: int(s.num_examples) for n, s in read_statistics(directory).items()}


def _splits(directory: Path, name: str) -> Iterator[tuple[str, Path]]:
    found = sorted(directory.glob(f"Split-*/{name}"))
    # The directory lists eval first; readers compare the others with train.
    order = {"train": 0, "eval": 1, "test": 2}
    by_name = {path.parent.name.removeprefix("Split-"): path for path in found}
    yield from sorted(by_name.items(), key=lambda item: order.get(item[0], 9))
