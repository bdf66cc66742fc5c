"""Writes rows as a new span of the training data, in the form that the data has.

The file appears by a rename, with the header, format and encoding of the files that are
there, so that the next run reads it like any other.
"""

import codecs
import gzip
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.columnar import files
from pipeline.errors import UsageError
from pipeline.ingestion import source, spans
from pipeline.ingestion.columns import is_text
from pipeline.ingestion.spans import Pattern
from pipeline.store import durable

_ROWS = 50_000
_FORM = "a pattern such as 'span-{SPAN}/*.csv' or '{YYYY}-{MM}-{DD}/*.csv'"


@dataclass(frozen=True)
class Place:
    """A training data directory.

    Attributes:
        directory: The directory.
        pattern: The pattern of its spans.
        encoding: Encoding of text files, by Python's name.
    """

    directory: Path
    pattern: Pattern
    encoding: str = source.UTF_8

    def __post_init__(self) -> None:
        """Rejects patterns for which a new file's name is not determined."""
        text = self.pattern.text
        above, _, last = text.rpartition("/")
        if not self.pattern.has_spans:
            raise UsageError(
                f"pattern is {text!r}; labels become a new span, so give {_FORM}"
            )
        if re.search(r"[*?\[]", above) or re.search(r"[?\[]|\*.*\*", last):
            raise UsageError(
                f"pattern is {text!r}, for which a new file can have many names; give "
                f"{_FORM}, with one * in the name of the file at most"
            )

    def spans(self) -> list[spans.Span]:
        """Returns the spans that exist, oldest first."""
        if not self.directory.is_dir():
            return []
        return spans.available(self.directory, self.pattern)

    def next_span(self, day: date) -> int:
        """Returns the number for a new span, after that of the newest one.

        Args:
            day: When its rows came. If spans are days, it is that day, or the one after
                the newest span: a day that exists may have been read already.
        """
        after = max((span.number + 1 for span in self.spans()), default=1)
        return max(after, spans.number_of(day)) if self.pattern.has_dates else after

    def newest_file(self) -> source.Source | None:
        """Returns a file of the newest span, whose form a new one takes."""
        for span in reversed(self.spans()):
            if not span.fault:
                path = spans.files_of(self.directory, span.pattern)[0]
                return source.look_at(path, self.encoding)
        return None

    def name_for(self, number: int, label: str, ending: str) -> str:
        """Returns the relative path of a new file.

        Args:
            number: Number of the span.
            label: What replaces the pattern's `*`.
            ending: Ending of the file's name, such as .csv, if the pattern has none.
        """
        name = self.pattern.path_of(number).replace("*", label)
        return name if name.endswith(ending) else f"{name}{ending}"


@dataclass(frozen=True)
class Form:
    """The form of a training file.

    Attributes:
        names: Its columns, in order.
        ending: Ending of its name: .csv, .csv.gz or .parquet.
    """

    names: tuple[str, ...]
    ending: str


def form_of(place: Place, schema: schema_pb2.Schema) -> Form:
    """Returns the form that a new file must have to be read with those there."""
    found = place.newest_file()
    if found is None:
        return Form(tuple(source.expected_columns(schema)), ".csv")
    endings = {"csv": ".csv", "gzip": ".csv.gz", "parquet": ".parquet"}
    return Form(found.names, endings[found.kind])


def write(place: Place, relative: str, rows: pa.Table) -> Path:
    """Writes a file of training data, and syncs it to disk.

    Args:
        place: The training data.
        relative: Path of the file in it.
        rows: The rows, with the columns of the form in order.
    """
    target = place.directory / relative
    typed = _shown(rows)
    with files.created(target) as stream:
        if relative.endswith(".parquet"):
            with parquet.ParquetWriter(stream, typed.schema, compression="zstd") as out:
                out.write_table(typed, _ROWS)
        else:
            for part in _texts(typed, place.encoding, gz=relative.endswith(".gz")):
                stream.write(part)
    durable.force_to_disk(target)
    durable.force_to_disk(target.parent)
    durable.force_to_disk(place.directory)
    return target


def _shown(rows: pa.Table) -> pa.Table:
    # Texts as strings: a CSV file can't have bytes, and Parquet readers show them so.
    columns = [
        column.cast(pa.large_string()) if is_text(column.type) else column
        for column in rows.columns
    ]
    return pa.table(columns, names=rows.column_names)


def _texts(rows: pa.Table, encoding: str, *, gz: bool) -> Iterator[bytes]:
    """Yields a CSV file in pieces of bounded size."""
    # One encoder for all pieces, so that UTF-16 has one byte order mark.
    encoder = codecs.getincrementalencoder(encoding)()
    for number, batch in enumerate(rows.to_batches(_ROWS)):
        sink = io.BytesIO()
        options = csv.WriteOptions(include_header=number == 0)
        csv.write_csv(batch, sink, options)
        part = encoder.encode(sink.getvalue().decode(source.UTF_8))
        # Without a time of its own, so that the same rows are the same bytes.
        yield gzip.compress(part, mtime=0) if gz else part
