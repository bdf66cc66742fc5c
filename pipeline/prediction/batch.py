"""Scores all rows of files: read, typed and quarantined as in ingestion, on all cores.

Each section of a file is parsed, scored and formatted by one worker; sections are
written in their order. A few sections are in memory at once, however large the files.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

from models.names import PROBABILITY
from pipeline.columnar.engine import Workers, in_order
from pipeline.errors import DataRefusedError, UsageError
from pipeline.ingestion import plan, quarantine, reading, source, writing
from pipeline.ingestion.columns import Kinds
from pipeline.ingestion.quarantine import Rejected, Tally
from pipeline.ingestion.reading import Rows
from pipeline.ingestion.records import Records
from pipeline.ingestion.source import Source
from pipeline.ingestion.spans import EVERY_FILE, files_of
from pipeline.prediction import output
from pipeline.prediction.output import CsvOutput, Output, ParquetOutput, Part
from pipeline.prediction.raw_model import RawModel

DECISION = "decision"
"""1 if the probability is above the model's threshold, else 0."""
TAKEN = "predicted_"
_TYPES: Mapping[str, schema_pb2.FeatureType] = {
    "INT": schema_pb2.INT,
    "FLOAT": schema_pb2.FLOAT,
    "BYTES": schema_pb2.BYTES,
}


@dataclass(frozen=True)
class Job:
    """What to score, and where the scores go.

    Attributes:
        data: A CSV or Parquet file, or a directory of such files.
        out: The file to write: .parquet or .csv.
        pattern: Which files of a directory.
        encoding: Encoding of text files, by Python's name.
        max_quarantined: Share of the rows, 0 to 1, that may not fit.
    """

    data: Path
    out: Path
    pattern: str = EVERY_FILE
    encoding: str = source.UTF_8
    max_quarantined: float = 0.01

    @property
    def quarantine(self) -> Path:
        """The file for rows that don't fit, as JSON lines."""
        return self.out.with_name(f"{self.out.stem}.quarantine.jsonl")


@dataclass(frozen=True)
class _Scored:
    """A section of a file, ready to be written."""

    read: int
    part: Part
    rejected: tuple[Rejected, ...]


def predict(job: Job, model: RawModel, about: Mapping[str, Any]) -> Tally:
    """Writes the rows of files with a score each, in their order.

    A model with a decision threshold also gives each row its decision.

    Rows that don't fit are left out and go to `Job.quarantine`.

    Args:
        job: What to score, and where the scores go.
        model: The model.
        about: What to store with the scores about the model, as JSON values.

    Returns:
        The number of rows read, written and quarantined.

    Raises:
        UsageError: The output's name or place can't be used.
        DataRefusedError: A file can't be read, lacks a column that the model reads, or
            has too many rows that don't fit; nothing is written.
    """
    files = _sources(job, model)
    names = files[0].names
    kinds: Kinds = {**dict.fromkeys(names, "BYTES"), **model.kinds}
    added = _added(model, files[0])
    score = functools.partial(
        _scored,
        kinds=kinds,
        model=model,
        added=added,
        as_rows=output.is_parquet(job.out),
    )
    tally, rejected = Tally(), job.quarantine.with_name(f".{job.quarantine.name}.part")
    job.out.parent.mkdir(parents=True, exist_ok=True)
    out = _begun(job.out, files[0], added)
    try:
        with ExitStack() as stack:
            lines = writing.Lines(str(rejected), stack)
            for scored in in_order(score, _sections(files), Workers()):
                out.write(scored.part)
                tally.read[str(job.data)] += scored.read
                tally.note(scored.rejected)
                lines.write(row.to_json() for row in scored.rejected)
        tally.written[job.out.name] = tally.rows - tally.quarantined.total()
        _check(tally, job)
        out.finish({**about, **_described(files, tally)})
    except BaseException:
        out.abandon()
        rejected.unlink(missing_ok=True)
        raise
    _show_rejected(rejected, job.quarantine)
    return tally


def _sources(job: Job, model: RawModel) -> list[Source]:
    """Returns the files, each with the columns that the model reads."""
    if job.data.is_dir():
        if job.out.resolve().is_relative_to(job.data.resolve()):
            raise UsageError(
                f"out is {job.out}, which is in {job.data} and would be data the next "
                "time; give a place outside"
            )
        paths = files_of(job.data, job.pattern)
    else:
        paths = [job.data]
    if job.out.resolve() in {path.resolve() for path in paths}:
        raise UsageError(f"out is {job.out}, which is the data; give another file")
    if not paths:
        raise DataRefusedError(f"no file in {job.data} matches {job.pattern!r}")
    files = [source.look_at(path, job.encoding) for path in paths]
    wanted = schema_pb2.Schema(
        feature=[
            schema_pb2.Feature(name=name, type=_TYPES[kind])
            for name, kind in model.kinds.items()
        ]
    )
    source.check_headers(files, wanted)
    if len({file.kind == "parquet" for file in files}) > 1:
        raise DataRefusedError(
            f"{job.data} has both Parquet and CSV files; predict one kind at a time, "
            "with --pattern"
        )
    return files


def _added(model: RawModel, first: Source) -> list[pa.Field]:
    """Returns the columns that a model adds.

    A column of the data that has the name of an answer keeps it, and the answer gets
    `TAKEN` in front: "class" and "probability" are usual names.

    Raises:
        DataRefusedError: The data has a column of that name too.
    """
    decided = [] if model.threshold is None else [pa.field(DECISION, pa.int8())]
    added = [
        each.with_name(f"{TAKEN}{each.name}") if each.name in first.names else each
        for each in (*model.answers, *decided)
    ]
    for each in added:
        if each.name in first.names:
            raise DataRefusedError(
                f"{first.path} has the columns {each.name.removeprefix(TAKEN)!r} and "
                f"{each.name!r}; rename one, since what the model adds needs a name"
            )
    return added


def _answers(model: RawModel, batch: pa.RecordBatch) -> list[pa.Array]:
    """Answers rows; returns a column for each of `_added`."""
    found = model(batch)
    if model.threshold is None:
        return list(found.columns)
    # In 64 bits, as the Evaluator compares; in 32 a score could equal the threshold.
    exact = found.column(PROBABILITY).to_numpy().astype(np.float64)
    decided = (exact > model.threshold).astype(np.int8)
    return [*found.columns, pa.array(decided)]


def _sections(files: Iterable[Source]) -> Iterator[writing.Raw]:
    for file in files:
        yield from writing.sections(plan.whole(file))


def _begun(out: Path, first: Source, added: list[pa.Field]) -> Output:
    if not output.is_parquet(out):
        return CsvOutput(out, [*first.names, *(field.name for field in added)])
    if first.kind == "parquet":
        schema = source.opened_parquet(first.path).schema_arrow.remove_metadata()
    else:
        schema = pa.schema([(name, pa.string()) for name in first.names])
    return ParquetOutput(out, pa.schema([*schema, *added]))


def _scored(
    raw: writing.Raw,
    kinds: Kinds,
    model: RawModel,
    added: list[pa.Field],
    *,
    as_rows: bool,
) -> _Scored:
    piece, found = raw
    if isinstance(found, Records):
        count, rows = writing.parse(raw, kinds)
        answers = _answers(model, rows.batch)
        to_part = _rows_of_text if as_rows else _lines_of_text
        part = to_part(rows, answers, added)
        return _Scored(count, part, rows.rejected)
    batch, first = found
    # Only what the model reads is converted; the other columns stay as they are.
    wanted = batch.select(list(model.kinds))
    rows = reading.read_table(str(piece.source.path), wanted, first, model.kinds)
    kept = batch.take(pa.array(rows.lines - first)) if rows.rejected else batch
    scored = _with_answers(kept, _answers(model, rows.batch), added)
    rejected = tuple(
        replace(row, raw=reading.json_of(batch, row.line - first))
        for row in rows.rejected
    )
    part = scored if as_rows else output.csv_of(scored)
    return _Scored(batch.num_rows, part, rejected)


def _with_answers(
    batch: pa.RecordBatch, answers: list[pa.Array], added: list[pa.Field]
) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [*batch.columns, *answers], schema=pa.schema([*batch.schema, *added])
    )


def _rows_of_text(
    rows: Rows, answers: list[pa.Array], added: list[pa.Field]
) -> pa.RecordBatch:
    """Returns the rows of a CSV file with their texts unchanged."""
    assert isinstance(rows.raw, Records)  # noqa: S101 - of a CSV file they are
    texts = reading.as_texts(rows.raw, tuple(rows.batch.schema.names))
    return _with_answers(texts, answers, added)


def _lines_of_text(rows: Rows, answers: list[pa.Array], names: list[pa.Field]) -> bytes:
    """Returns the lines of a CSV file, byte for byte, with the answers at their end."""
    del names
    records = rows.raw
    assert isinstance(records, Records)  # noqa: S101 - of a CSV file they are
    columns = [each.cast(pa.string()).to_pylist() for each in answers]
    # A class may hold a comma.
    fields = [[output.quoted(text) for text in column] for column in columns]
    data, parts = records.data, []
    for start, end, *added in zip(
        records.starts.tolist(), records.ends.tolist(), *fields, strict=True
    ):
        parts.append(b",".join([data[start:end].rstrip(b"\r\n"), *added]) + b"\n")
    return b"".join(parts)


def _check(tally: Tally, job: Job) -> None:
    if not tally.rows:
        raise DataRefusedError(f"{job.data} has no rows; there is nothing to predict")
    if tally.share > job.max_quarantined:
        said = quarantine.refusal(tally, job.max_quarantined)
        raise DataRefusedError(said.replace("--gate.max", "--max"))


def _described(files: Iterable[Source], tally: Tally) -> dict[str, Any]:
    return {
        "data": [str(file.path.absolute()) for file in files],
        "rows": tally.written.total(),
        "quarantined": tally.quarantined.total(),
    }


def _show_rejected(part: Path, out: Path) -> None:
    """Gives the file of rejected rows its name; removes that of an earlier call."""
    if part.exists():
        part.replace(out)
    else:
        out.unlink(missing_ok=True)
