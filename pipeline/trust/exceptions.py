"""Reviewed exceptions to the gate's policy: a TOML file next to the reviewed schema.

It is under version control, so each exception has an author, and a review if the team
reviews changes. An exception ends by itself.
"""

import json
import tomllib
from datetime import date
from pathlib import Path

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from pipeline.columnar import files
from pipeline.errors import UsageError, is_one_line, nearest
from pipeline.trust.checks import NEW_COLUMN, Check
from pipeline.trust.policy import Accepted

FILE_NAME = "exceptions.toml"
_TABLE = "accepted"
# Their findings name new columns, crosses of columns, and what a model answers.
_OF_OTHER_NAMES = {NEW_COLUMN, Check.UNCOVERED_CELLS, Check.PREDICTION_DRIFT}
_HEADER = (
    "# Findings of the data gate that were reviewed and accepted, each until a date.\n"
    "# `throughline gate accept` adds to this file; see docs/data-trust.md.\n"
)


def file_of(schema: Path) -> Path:
    """Returns the file of the exceptions that belong to a reviewed schema."""
    return schema.parent / FILE_NAME


def read(path: Path) -> tuple[Accepted, ...]:
    """Reads the exceptions; none if there is no file.

    Raises:
        UsageError: The file is not TOML, or an exception is incomplete or malformed.
    """
    if not path.exists():
        return ()
    try:
        tables = tomllib.loads(path.read_text("utf-8")).get(_TABLE, [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    found = []
    for number, table in enumerate(tables, 1):
        given = {name: str(value) for name, value in table.items()}
        try:
            exception = Accepted(**given)
        except TypeError as error:
            raise UsageError(
                f"exception {number} of {path} has {', '.join(sorted(given))}; it must "
                "have anomaly, until, because, and may have feature"
            ) from error
        _check(exception)
        found.append(exception)
    return tuple(found)


def add(path: Path, exception: Accepted, today: date) -> None:
    """Appends an exception to the file, which is created if there is none.

    Args:
        path: The file.
        exception: What is accepted.
        today: It must not end before it.

    Raises:
        UsageError: The exception is malformed or has ended, or the file is invalid.
    """
    read(path)
    _check(exception)
    if exception.expired(today):
        raise UsageError(
            f"--until is {exception.until}, which is over; give a day from {today} on"
        )
    values = {
        "anomaly": exception.anomaly,
        "feature": exception.feature,
        "until": exception.until,
        "because": exception.because,
    }
    # A JSON string is a TOML basic string, escapes included.
    lines = [f"{name} = {json.dumps(text)}" for name, text in values.items() if text]
    before = path.read_text("utf-8") if path.exists() else _HEADER
    block = "\n".join([f"[[{_TABLE}]]", *lines, ""])
    files.write_text(path, f"{before.rstrip()}\n\n{block}")


def refuse_unknown_column(exception: Accepted, schema: schema_pb2.Schema) -> None:
    """Rejects an exception for a column that no such finding can have.

    Args:
        exception: What is accepted, for one column or for any.
        schema: The reviewed one.

    Raises:
        UsageError: The schema has no such column; the message has the most similar.
    """
    known = [feature.name for feature in schema.feature]
    if exception.anomaly in _OF_OTHER_NAMES or exception.feature in {"", *known}:
        return
    raise UsageError(
        f"the reviewed schema has no column {exception.feature!r}, so "
        f"{exception.anomaly} is never found in it; "
        f"{nearest(exception.feature, known)}"
    )


def known_anomalies() -> list[str]:
    """Returns the names of TFDV's anomaly types and of our checks."""
    return [*anomalies_pb2.AnomalyInfo.Type.keys(), *Check]


def _check(exception: Accepted) -> None:
    if exception.anomaly not in known_anomalies():
        raise UsageError(
            f"{exception.anomaly!r} is neither one of TFDV's anomaly types nor a check "
            f"of the gate ({', '.join(Check)})"
        )
    try:
        date.fromisoformat(exception.until)
    except ValueError as error:
        raise UsageError(
            f"until is {exception.until!r}; it must be a day such as 2026-12-31"
        ) from error
    if not exception.because.strip() or not is_one_line(exception.because):
        raise UsageError(
            f"because is {exception.because!r}; give the reason in one line"
        )
