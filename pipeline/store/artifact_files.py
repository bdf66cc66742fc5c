"""Reads the files of TFX 1.x artifacts, without importing TensorFlow or TFX.

Importing either takes seconds, and a query about an old run should not. A directory
that is missing or empty gives an empty result rather than an error, because metadata
stores outlive the files that they refer to.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from models.names import HISTORY_FILE, WARM_START_FILE
from pipeline.columnar import files
from pipeline.columnar.files import Location

_LOG = logging.getLogger(__name__)

# File names within TFX's artifacts; TFX has them as private constants, in modules that
# import TensorFlow.
SCHEMA_FILE = "schema.pbtxt"
STATISTICS_FILE = "FeatureStats.pb"
ANOMALIES_FILE = "SchemaDiff.pb"
VERDICT_FILE = "verdict.json"
VERDICT_TEXT = "verdict.txt"
PROFILE_FILE = "columns.parquet"
ROWS_FILE = "rows.parquet"
CELLS_FILE = "cells.parquet"
SERVING_CHECK_FILE = "serving_check.json"
BEST_HYPERPARAMETERS_FILE = "best_hyperparameters.txt"
TRIALS_FILE = "trials.json"
_SPLIT = "Split-"


# Buckets that didn't answer in this process: each further try takes seconds.
_silent: set[str] = set()


def location(uri: str) -> str | None:
    """Returns where an artifact's files are; `None` if they are gone.

    Files in an object store that doesn't answer count as gone, with a warning: what
    the metadata store holds can be shown all the same.
    """
    if not files.is_remote(uri):
        path = files.resolve(uri)[1]
        return path if files.exists(path) else None
    bucket = "://".join(urlsplit(uri)[:2])
    if bucket in _silent:
        return None
    try:
        return uri if files.exists(uri) else None
    except (OSError, ValueError) as error:
        _silent.add(bucket)
        _LOG.warning("%s can't be read: %s", bucket, error)
        return None


def read_statistics(
    directory: Location,
) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
    """Reads the statistics of an ExampleStatistics artifact, by split."""
    found = {}
    for split, path in _splits(directory, STATISTICS_FILE):
        everything = statistics_pb2.DatasetFeatureStatisticsList()
        everything.ParseFromString(files.read_bytes(path))
        # A list for TFDV's slices; the first entry is always of all rows.
        found[split] = everything.datasets[0]
    return found


def read_anomalies(directory: Location) -> dict[str, anomalies_pb2.Anomalies]:
    """Reads the anomalies of an ExampleAnomalies artifact, by split."""
    found = {}
    for split, path in _splits(directory, ANOMALIES_FILE):
        found[split] = anomalies_pb2.Anomalies()
        found[split].ParseFromString(files.read_bytes(path))
    return found


def read_schema(directory: Location) -> schema_pb2.Schema | None:
    """Reads a Schema artifact; `None` if its file is gone."""
    text = _text_of(directory, SCHEMA_FILE)
    return text_format.Parse(text, schema_pb2.Schema()) if text is not None else None


def read_learning_curves(directory: Location) -> dict[str, list[float]]:
    """Reads the history.json of a ModelRun artifact; empty if it has none."""
    return json.loads(_text_of(directory, HISTORY_FILE) or "{}")


def read_warm_start(directory: Location) -> dict[str, Any]:
    """Reads what a ModelRun's training took of a base model; empty without one.

    See `models.warm_start.Taken`.
    """
    return json.loads(_text_of(directory, WARM_START_FILE) or "{}")


def read_trials(directory: Location) -> dict[str, Any]:
    """Reads the trials of a TunerResults artifact; see `models.tuner.Search.results`.

    TFX's own Tuner doesn't write them; then there are none.
    """
    return json.loads(_text_of(directory, TRIALS_FILE) or "{}")


def best_first(trials: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the trials that `read_trials` reads, the best first, failed ones last."""
    sign = -1 if trials["direction"] == "max" else 1
    return sorted(
        trials["trials"],
        key=lambda each: ("error" in each, sign * each.get("score", 0.0)),
    )


def read_best_hyperparameters(directory: Location) -> dict[str, Any] | None:
    """Reads a HyperParameters artifact, keras-tuner's JSON; `None` if it is gone."""
    return json.loads(_text_of(directory, BEST_HYPERPARAMETERS_FILE) or "null")


def read_findings(directory: Location) -> list[dict[str, str]] | None:
    """Reads the gate's findings of a DataVerdict; `None` if its file is gone."""
    verdict = json.loads(_text_of(directory, VERDICT_FILE) or "null")
    # Before there was a policy, the verdict was the list of findings.
    return verdict["findings"] if isinstance(verdict, dict) else verdict


def read_serving_check(directory: Location) -> dict[str, Any]:
    """Reads an InfraBlessing: "failures" as sentences, and "figures" by name.

    TFX's own InfraValidator writes neither; then both are empty.
    """
    text = _text_of(directory, SERVING_CHECK_FILE)
    return json.loads(text) if text else {"failures": [], "figures": {}}


def row_counts(directory: Location) -> dict[str, int]:
    """Returns the number of rows in each split of an ExampleStatistics artifact."""
    return {n: int(s.num_examples) for n, s in read_statistics(directory).items()}


def _text_of(directory: Location, name: str) -> str | None:
    place = files.join(directory, name)
    return files.read_text(place) if files.exists(place) else None


def _splits(directory: Location, name: str) -> Iterator[tuple[str, str]]:
    # The directory lists eval first; readers compare the others with train.
    order = {"train": 0, "eval": 1, "test": 2}
    names = [files.name_of(each) for each in files.subdirectories(directory)]
    splits = [n.removeprefix(_SPLIT) for n in names if n.startswith(_SPLIT)]
    for split in sorted(splits, key=lambda split: (order.get(split, 9), split)):
        place = files.join(directory, f"{_SPLIT}{split}", name)
        if files.exists(place):
            yield split, place
