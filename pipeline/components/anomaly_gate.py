"""The gate before training: blocking anomalies and empty splits stop a run."""

import json
import textwrap
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types.artifact import Artifact
from tfx.types.artifact_utils import decode_split_names, get_split_uri
from tfx.types.standard_artifacts import ExampleAnomalies, ExampleStatistics

from pipeline.errors import DataRefusedError, is_one_line
from pipeline.store.artifact_files import (
    ANOMALIES_FILE,
    STATISTICS_FILE,
    VERDICT_FILE,
)

_SHOWN = 5
_LONGEST_TEXT = 240


class DataVerdict(Artifact):
    """What the gate found in data that it let pass: verdict.json, the findings."""

    TYPE_NAME = "DataVerdict"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one column of one split.

    Attributes:
        split: Name of the split.
        column: Name of the column, empty when the whole split is meant.
        anomaly: TFDV's name of the anomaly type, EMPTY_SPLIT or EMPTY_SCHEMA.
        text: What TFDV or the gate says about it.
        blocking: Whether it stops the run.
    """

    split: str
    column: str
    anomaly: str
    text: str
    blocking: bool


def find_anomalies(
    split: str, anomalies: anomalies_pb2.Anomalies, tolerated: frozenset[str]
) -> Iterator[Finding]:
    """Lists the anomalies of a split, each with whether it blocks.

    Args:
        split: Name of the split they were found in.
        anomalies: What ExampleValidator wrote for the split.
        tolerated: Names of the anomaly types that don't block.

    Yields:
        A finding for each reason of each anomaly, columns in alphabetic order.
    """
    whole = anomalies.dataset_anomaly_info
    infos = [*sorted(anomalies.anomaly_info.items())]
    if whole.reason:
        infos.append(("", whole))
    for column, info in infos:
        for reason in info.reason:
            name = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
            # TFDV lists every unexpected value, which can be thousands.
            text = textwrap.shorten(
                f"{reason.short_description}: {reason.description}", _LONGEST_TEXT
            )
            yield Finding(split, column, name, text, name not in tolerated)


def find_empty(
    split: str, statistics: statistics_pb2.DatasetFeatureStatisticsList
) -> Iterator[Finding]:
    """Yields a blocking finding when a split has no rows."""
    if not sum(dataset.num_examples for dataset in statistics.datasets):
        yield Finding(split, "", "EMPTY_SPLIT", "the split has no rows", blocking=True)


def find_empty_schema(findings: Collection[Finding], columns: int) -> Iterator[Finding]:
    """Yields a blocking finding when the schema has none of a split's columns.

    Each of them is then a new column, which is tolerated: a schema without columns
    would let anything pass.

    Args:
        findings: What was found in the split.
        columns: How many columns the split has.
    """
    new = {f.column for f in findings if f.anomaly == "SCHEMA_NEW_COLUMN"}
    if columns and len(new) == columns:
        split = next(iter(findings)).split
        text = "the reviewed schema has none of the data's columns"
        yield Finding(split, "", "EMPTY_SCHEMA", text, blocking=True)


def refusal(findings: list[Finding]) -> str:
    """Says which blocking findings stop the run, and what to do about them.

    Args:
        findings: The blocking ones, at least one.

    Returns:
        Up to five findings, a line each; the same finding in several splits is one.
    """
    splits: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        splits.setdefault((finding.column, finding.text), []).append(finding.split)
    lines = [
        f"  {_one_line(column) or 'all columns'} ({', '.join(names)}): {text}"
        for (column, text), names in splits.items()
    ]
    more = len(lines) - _SHOWN
    return "\n".join(
        [
            f"The data doesn't fit the reviewed schema ({len(lines)} blocking):",
            *lines[:_SHOWN],
            *([f"  … and {more} more"] if more > 0 else []),
            (
                "Mend the data, or, if the data is right, review schema/schema.pbtxt; "
                "`throughline schema diff` shows where they differ."
            ),
        ]
    )


def _one_line(column: str) -> str:
    """Writes a column's name so that it can't begin a line of its own."""
    return column if is_one_line(column) else repr(column)


@component
def AnomalyGate(  # noqa: N802 - TFX takes a component's name from its function
    anomalies: InputArtifact[ExampleAnomalies],
    statistics: InputArtifact[ExampleStatistics],
    verdict: OutputArtifact[DataVerdict],
    tolerated: Parameter[str],
) -> None:
    """Stops the run when data must not reach training.

    Args:
        anomalies: What ExampleValidator found, per split.
        statistics: Statistics of the same splits; their row counts are read.
        verdict: Gets verdict.json with all findings when nothing blocks.
        tolerated: Names of the anomaly types that don't block, comma-separated.

    Raises:
        DataRefusedError: A blocking anomaly or an empty split; names them.
    """
    allowed = frozenset(filter(None, tolerated.split(",")))
    findings: list[Finding] = []
    columns: dict[str, int] = {}
    for split in decode_split_names(statistics.split_names):
        path = Path(get_split_uri([statistics], split)) / STATISTICS_FILE
        loaded = tfdv.load_stats_binary(str(path))
        findings += find_empty(split, loaded)
        columns[split] = sum(len(dataset.features) for dataset in loaded.datasets)
    for split in decode_split_names(anomalies.split_names):
        found = anomalies_pb2.Anomalies()
        path = Path(get_split_uri([anomalies], split)) / ANOMALIES_FILE
        found.ParseFromString(path.read_bytes())
        in_split = list(find_anomalies(split, found, allowed))
        findings += [*in_split, *find_empty_schema(in_split, columns.get(split, 0))]
    blocking = [finding for finding in findings if finding.blocking]
    if blocking:
        raise DataRefusedError(refusal(blocking))
    text = json.dumps([asdict(finding) for finding in findings], indent=1)
    (Path(verdict.uri) / VERDICT_FILE).write_text(text)
