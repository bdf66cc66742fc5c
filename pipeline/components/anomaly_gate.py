"""The gate before training: stops a run at blocking anomalies and empty splits."""

import json
import textwrap
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass

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

from pipeline.columnar import files
from pipeline.errors import DataRefusedError, is_one_line
from pipeline.store.artifact_files import (
    ANOMALIES_FILE,
    STATISTICS_FILE,
    VERDICT_FILE,
)

_SHOWN = 5
_LONGEST_TEXT = 240


class DataVerdict(Artifact):
    """The findings in data that the gate let pass, in verdict.json."""

    TYPE_NAME = "DataVerdict"


@dataclass(frozen=True)
class Finding:
    """One anomaly of one column in one split.

    Attributes:
        split: Name of the split.
        column: Name of the column; empty for the whole split.
        anomaly: TFDV's name of the anomaly type, EMPTY_SPLIT or EMPTY_SCHEMA.
        text: The description by TFDV or the gate.
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
    """Converts the anomalies of a split to findings.

    Args:
        split: Name of the split.
        anomalies: ExampleValidator's result for the split.
        tolerated: Names of the anomaly types that don't block.

    Yields:
        One finding per reason of each anomaly, columns in alphabetical order.
    """
    # Of the data set as a whole, such as too few rows: TFDV keeps it apart.
    whole = anomalies.dataset_anomaly_info
    infos = [*sorted(anomalies.anomaly_info.items())]
    if whole.reason:
        infos.append(("", whole))
    for column, info in infos:
        for reason in info.reason:
            name = anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
            # TFDV lists every unexpected value, of which there can be thousands.
            text = textwrap.shorten(
                f"{reason.short_description}: {reason.description}", _LONGEST_TEXT
            )
            yield Finding(split, column, name, text, name not in tolerated)


def find_empty(
    split: str, statistics: statistics_pb2.DatasetFeatureStatisticsList
) -> Iterator[Finding]:
    """Yields a blocking finding if a split has no rows."""
    if not sum(dataset.num_examples for dataset in statistics.datasets):
        yield Finding(split, "", "EMPTY_SPLIT", "the split has no rows", blocking=True)


def find_empty_schema(findings: Collection[Finding], columns: int) -> Iterator[Finding]:
    """Yields a blocking finding if the schema has none of a split's columns.

    New columns are tolerated one by one, so without this check a schema without columns
    would let any data pass.

    Args:
        findings: Findings in the split.
        columns: Number of columns in the split.
    """
    new = {f.column for f in findings if f.anomaly == "SCHEMA_NEW_COLUMN"}
    if columns and len(new) == columns:
        split = next(iter(findings)).split
        text = "the reviewed schema has none of the data's columns"
        yield Finding(split, "", "EMPTY_SCHEMA", text, blocking=True)


def refusal(findings: list[Finding]) -> str:
    """Formats the error for blocking findings, with advice.

    Args:
        findings: The blocking findings, at least one.

    Returns:
        A message with up to five findings, one per line; the same finding in several
        splits is listed once.
    """
    splits: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        # A broken column is broken in every split: one line each would fill the list.
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
                "Fix the data, or, if the data is right, review schema/schema.pbtxt; "
                "`throughline schema diff` shows where they differ."
            ),
        ]
    )


def _one_line(column: str) -> str:
    """Quotes a column's name if it has control characters or line ends."""
    return column if is_one_line(column) else repr(column)


@component
def AnomalyGate(  # noqa: N802 - TFX takes a component's name from its function
    anomalies: InputArtifact[ExampleAnomalies],
    statistics: InputArtifact[ExampleStatistics],
    verdict: OutputArtifact[DataVerdict],
    tolerated: Parameter[str],
) -> None:
    """Stops the run if the data must not be used for training.

    Args:
        anomalies: ExampleValidator's anomalies, by split.
        statistics: Statistics of the same splits, for their row counts and columns.
        verdict: Receives verdict.json with all findings if nothing blocks.
        tolerated: Names of the anomaly types that don't block, comma-separated.

    Raises:
        DataRefusedError: There is a blocking anomaly, an empty split, or a schema
            without the data's columns; the message lists them.
    """
    # A parameter of a function component is a plain value, hence the commas.
    allowed = frozenset(filter(None, tolerated.split(",")))
    findings: list[Finding] = []
    columns: dict[str, int] = {}
    for split in decode_split_names(statistics.split_names):
        loaded = statistics_pb2.DatasetFeatureStatisticsList()
        file = files.join(get_split_uri([statistics], split), STATISTICS_FILE)
        loaded.ParseFromString(files.read_bytes(file))
        findings += find_empty(split, loaded)
        columns[split] = sum(len(dataset.features) for dataset in loaded.datasets)
    # ExampleValidator may have excluded splits, so the two lists can differ.
    for split in decode_split_names(anomalies.split_names):
        found = anomalies_pb2.Anomalies()
        file = files.join(get_split_uri([anomalies], split), ANOMALIES_FILE)
        found.ParseFromString(files.read_bytes(file))
        in_split = list(find_anomalies(split, found, allowed))
        findings += [*in_split, *find_empty_schema(in_split, columns.get(split, 0))]
    blocking = [finding for finding in findings if finding.blocking]
    if blocking:
        # An exception, because ExampleValidator never stops a run, and a failed node is
        # the only thing that every orchestrator stops at.
        raise DataRefusedError(refusal(blocking))
    text = json.dumps([asdict(finding) for finding in findings], indent=1)
    files.write_text(files.join(verdict.uri, VERDICT_FILE), text)
