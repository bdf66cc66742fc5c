"""Findings from TFDV's anomalies and statistics."""

import textwrap
from collections.abc import Collection, Iterator

from tensorflow_metadata.proto.v0 import anomalies_pb2

from pipeline.trust.checks import NEW_COLUMN, Check
from pipeline.trust.policy import Finding

_LONGEST_TEXT = 240


def find_anomalies(split: str, anomalies: anomalies_pb2.Anomalies) -> Iterator[Finding]:
    """Converts the anomalies of a split to findings.

    Args:
        split: Name of the split.
        anomalies: ExampleValidator's result for the split.

    Yields:
        One finding per reason of each anomaly, columns in alphabetical order.
    """
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
            yield Finding(name, text, column, split)


def find_few_rows(split: str, rows: int, min_rows: int) -> Iterator[Finding]:
    """Yields a finding if a split has no rows, or fewer than the policy wants."""
    if not rows:
        yield Finding(Check.EMPTY_SPLIT, "the split has no rows", split=split)
    elif rows < min_rows:
        text = f"{rows:,} rows; gate.min-rows is {min_rows:,}"
        yield Finding(Check.FEW_ROWS, text, split=split)


def find_empty_schema(
    split: str, findings: Collection[Finding], columns: int
) -> Iterator[Finding]:
    """Yields a finding if the schema has none of a split's columns.

    New columns only warn, so without this check a schema without columns would let any
    data pass.

    Args:
        split: Name of the split.
        findings: Findings in the split.
        columns: Number of columns in the split.
    """
    new = {f.column for f in findings if f.anomaly == NEW_COLUMN}
    if columns and len(new) == columns:
        text = "the reviewed schema has none of the data's columns"
        yield Finding(Check.EMPTY_SCHEMA, text, split=split)
