"""Files of scored rows: Parquet or CSV, complete or not there at all.

What made the scores is stored with them: in the key-value metadata of a Parquet file,
under `METADATA_KEY`, and in a JSON file beside a CSV file.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import pyarrow as pa
from pyarrow import csv, parquet

from pipeline.errors import UsageError
from pipeline.store import durable

METADATA_KEY = "throughline"
_SUFFIXES = (".parquet", ".csv")

Part: TypeAlias = pa.RecordBatch | bytes
"""Scored rows, as a format writes them."""


class Output(Protocol):
    """A file that is written part by part."""

    def write(self, part: Part) -> None:
        """Writes scored rows."""
        ...

    def finish(self, about: Mapping[str, Any]) -> None:
        """Completes the file, with what made the scores, and shows it by its name."""
        ...

    def abandon(self) -> None:
        """Removes what was written."""
        ...


def is_parquet(out: Path) -> bool:
    """Whether the name of an output file is that of a Parquet file.

    Raises:
        UsageError: It is neither Parquet nor CSV.
    """
    if out.suffix not in _SUFFIXES:
        raise UsageError(
            f"out is {out}; its name must end with {' or '.join(_SUFFIXES)}, which "
            "chooses the format"
        )
    return out.suffix == _SUFFIXES[0]


def csv_of(batch: pa.RecordBatch) -> bytes:
    """Formats a batch as CSV without a header.

    Raises:
        UsageError: A column holds lists, which CSV has no form for.
    """
    text = io.BytesIO()
    try:
        csv.write_csv(batch, text, csv.WriteOptions(include_header=False))
    except pa.ArrowInvalid as error:
        raise UsageError(
            f"the rows can't be written as CSV: {error}; give --out a name that ends "
            "with .parquet"
        ) from error
    return text.getvalue()


class ParquetOutput:
    """A Parquet file."""

    def __init__(self, out: Path, schema: pa.Schema) -> None:
        """Begins a file under a temporary name."""
        self._out, self._part = out, _part_of(out)
        self._writer = parquet.ParquetWriter(
            self._part, schema, compression="zstd", compression_level=1
        )

    def write(self, part: Part) -> None:
        """Writes scored rows as a row group."""
        self._writer.write_batch(part)

    def finish(self, about: Mapping[str, Any]) -> None:
        """Completes the file, and shows it by its name."""
        self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(about)})
        self._writer.close()
        _show(self._part, self._out)

    def abandon(self) -> None:
        """Removes what was written."""
        self._writer.close()
        self._part.unlink(missing_ok=True)


class CsvOutput:
    """A CSV file, with a JSON file beside it."""

    def __init__(self, out: Path, names: Sequence[str]) -> None:
        """Begins a file under a temporary name, with a header."""
        self._out, self._part = out, _part_of(out)
        self._file: BinaryIO = self._part.open("wb")
        self._file.write(b",".join(map(quoted, names)) + b"\n")

    def write(self, part: Part) -> None:
        """Writes scored rows, formatted already."""
        self._file.write(part)

    def finish(self, about: Mapping[str, Any]) -> None:
        """Completes the file, and shows it by its name, after its JSON file."""
        self._file.close()
        beside = self._out.with_name(f"{self._out.name}.json")
        durable.stage(
            _part_of(beside), json.dumps(about, indent=1) + "\n", mode=0o644
        ).replace(beside)
        _show(self._part, self._out)

    def abandon(self) -> None:
        """Removes what was written."""
        self._file.close()
        self._part.unlink(missing_ok=True)


def _part_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.part")


def _show(part: Path, out: Path) -> None:
    durable.force_to_disk(part)
    part.replace(out)
    durable.force_to_disk(out.parent)


def quoted(name: str) -> bytes:
    """Returns a text as a field of CSV."""
    needs_quotes = any(c in name for c in ',"\r\n')
    doubled = name.replace('"', '""')
    return (f'"{doubled}"' if needs_quotes else name).encode()
