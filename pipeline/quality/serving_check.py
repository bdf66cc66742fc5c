"""Checks that an exported model can be served, in a process of its own.

The process runs `pipeline.quality.serving_probe`. It gets real rows, the same rows with
values missing, and what is no row at all. Here requests are made, the process is run,
and its findings are judged.
"""

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from models.declarations import (
    MISSING_FLOAT,
    MISSING_INTEGER,
    MISSING_TEXT,
    input_name,
)
from models.declared import LIST_COLUMNS, RAW_COLUMNS
from pipeline.quality import prober
from pipeline.quality.serving_probe import ANSWERS_FILE, REQUESTS_FILE, STEP_FILE

_SECONDS = 120
"""For all requests, on top of the time to load."""

Requests = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """The most that loading and answering may take; see `config.ServingCheck`."""

    max_load_seconds: float
    max_latency_ms: float
    max_memory_mb: float

    def to_json(self) -> str:
        """Formats it as a parameter of the component."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Result:
    """What was found.

    Attributes:
        failures: What is wrong, as sentences that begin with the check's name.
        figures: What was measured and counted; empty if the process died.
    """

    failures: tuple[str, ...]
    figures: Mapping[str, float]

    def to_json(self) -> str:
        """Formats it for `artifact_files.SERVING_CHECK_FILE`."""
        return json.dumps(dataclasses.asdict(self), indent=1)


def requests_of(rows: pa.RecordBatch) -> Requests:
    """Writes rows as clients send them.

    Args:
        rows: Raw rows of the data, as list columns; at least one.

    Returns:
        "rows", and "missing": rows that lack values, each with "what" is missing, and
        whether the signatures must answer the "same".
    """
    return {
        "rows": _as_sent(rows),
        "missing": [
            {"what": what, "rows": _as_sent(row), "same": same}
            for what, row, same in _with_missing_values(rows)
        ],
    }


def check(model: Path, requests: Requests, limits: Limits) -> Result:
    """Has a fresh process load and probe a model, and judges what it found.

    Args:
        model: Directory of the SavedModel.
        requests: See `requests_of`.
        limits: Bounds of time and memory.
    """
    with (
        tempfile.TemporaryDirectory(prefix="throughline-") as scratch,
        prober.for_one_probe() as process,
    ):
        files = Path(scratch)
        (files / REQUESTS_FILE).write_text(json.dumps(requests))
        failure = process.probe(model, files, limits.max_load_seconds + _SECONDS)
        answers, noted = files / ANSWERS_FILE, files / STEP_FILE
        if failure or not answers.is_file():
            step = noted.read_text() if noted.is_file() else "starting"
            return Result((f"load: {step}: {failure or 'it gave no answers'}",), {})
        return judge(json.loads(answers.read_text()), limits)


def judge(answers: Mapping[str, Any], limits: Limits) -> Result:
    """Adds what is slower or larger than allowed to what the probe found wrong.

    Args:
        answers: What `serving_probe.probe` returns.
        limits: Bounds of time and memory.
    """
    figures = answers["figures"]
    failures = [
        f"{name}: {text}"
        for name, texts in answers["failures"].items()
        for text in texts
    ]
    for figure, most, what, unit in (
        ("load_seconds", limits.max_load_seconds, "loading took", "s"),
        ("p95_ms", limits.max_latency_ms, "of requests of one row, 5 % took", "ms"),
        ("memory_mb", limits.max_memory_mb, "the process held", "MB"),
    ):
        # Absent if the model answered nothing, which is a failure already.
        if figures.get(figure, 0.0) > most:
            bound = f"serving-check.{_FLAGS[figure]}"
            failures.append(
                f"speed and memory: {what} {figures[figure]:.3g} {unit} or more; "
                f"{bound} allows {most:g}. If the machine was busy, --no-cache "
                "ServingCheck measures again"
            )
    return Result(tuple(failures), figures)


_FLAGS = {
    "load_seconds": "max-load-seconds",
    "p95_ms": "max-latency-ms",
    "memory_mb": "max-memory-mb",
}


def _as_sent(rows: pa.RecordBatch) -> dict[str, Any]:
    # A column without a value in any row has no type, and can't be written.
    typed = [f.name for f in rows.schema if not pa.types.is_null(f.type)]
    examples = RecordBatchToExamplesEncoder().encode(rows.select(typed))
    return {
        "examples": [each.hex() for each in examples],
        "raw": {
            input_name(column): list(
                map(_items if column in LIST_COLUMNS else _first, cells)
            )
            for column in RAW_COLUMNS
            if column in rows.schema.names
            for cells in [rows.column(column).to_pylist()]
        },
    }


def _items(cell: Sequence[Any] | None) -> list[Any]:
    """Returns a cell's values, as JSON can hold them."""
    return [_first([value]) for value in cell or ()]


def _first(cell: Sequence[Any] | None) -> Any:
    """Returns a cell's value, as JSON can hold it."""
    value = cell[0] if cell else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    # JSON's NaN is Python's own; it means the same as no value.
    return None if value != value else value  # noqa: PLR0124 - NaN differs from itself


def _with_missing_values(
    rows: pa.RecordBatch,
) -> Iterator[tuple[str, pa.RecordBatch, bool]]:
    """Yields rows that lack one value, or all, in each way that a value can be missing.

    The signatures need not agree on a value that only means "missing" to one of them.
    """
    row = rows.slice(0, 1)
    columns = [
        name
        for name in RAW_COLUMNS
        if name in rows.schema.names
        and not pa.types.is_null(rows.schema.field(name).type)
    ]
    for name in columns:
        yield f"no {name}", _replaced(row, {name: None}), True
        yield f"an empty {name}", _replaced(row, {name: []}), True
        for value in _meaning_missing(row.schema.field(name).type.value_type):
            yield f"{name} {value!r}", _replaced(row, {name: [value]}), False
    yield "no value at all", _replaced(row, dict.fromkeys(columns)), True


def _meaning_missing(kind: pa.DataType) -> tuple[Any, ...]:
    if pa.types.is_floating(kind):
        return MISSING_FLOAT, float("inf"), float("-inf")
    if pa.types.is_integer(kind):
        return (MISSING_INTEGER,)
    return (MISSING_TEXT.encode(),)


def _replaced(row: pa.RecordBatch, cells: Mapping[str, Any]) -> pa.RecordBatch:
    arrays = [
        pa.array([cells[field.name]], field.type)
        if field.name in cells
        else row.column(field.name)
        for field in row.schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=row.schema)
