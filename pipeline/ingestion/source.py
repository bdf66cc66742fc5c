"""Inspects data files before they are read: format, encoding, header.

A file that is invalid as a whole is rejected with one sentence, before anything is
written.
"""

import codecs
import csv
import difflib
import gzip
import re
import shlex
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, Protocol

import pyarrow as pa
from pyarrow import parquet
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.columnar.lists import is_list
from pipeline.errors import DataRefusedError
from pipeline.ingestion import columns
from pipeline.ingestion.records import (
    LONGEST_RECORD,
    EndlessLineError,
    find_records,
)
from pipeline.ingestion.walk import unreadable

UTF_8 = "utf-8"
BLOCK_BYTES = 4 << 20
"""Size of the blocks of text that are processed at once."""

Kind = Literal["csv", "gzip", "parquet"]


class Stream(Protocol):
    """A readable stream of bytes; only a plain UTF-8 file can seek."""

    def read(self, size: int, /) -> bytes:
        """Reads at most `size` bytes; empty only at the end."""
        ...

    def seek(self, offset: int, /) -> int:
        """Sets the position of the next read."""
        ...


_KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".csv.gz": "gzip",
    ".parquet": "parquet",
}
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
# UTF-32 first: its little-endian byte order mark begins with that of UTF-16.
_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HEADER_BYTES = LONGEST_RECORD + 1
_FIELD = re.compile(rb'(?:"(?:[^"]|"")*"|[^",]*)(?:,|$)')
_NAMES_SHOWN = 5
_NAMES_COMPARED = 10_000
_ENVIRONMENT = "TRAINING"
_ACTIVE_STAGES = (
    schema_pb2.UNKNOWN_STAGE,
    schema_pb2.BETA,
    schema_pb2.PRODUCTION,
)


@dataclass(frozen=True)
class Source:
    """A data file and how to read it.

    Attributes:
        path: Its path.
        kind: Its format.
        encoding: The encoding of its text.
        names: Its columns, in order.
        start: Offset of the first byte after the header in the text as UTF-8, not
            counting a byte order mark; 0 for Parquet.
        line: Number of the line at that offset, from 1.
        has_mark: Whether a byte order mark precedes the header.
    """

    path: Path
    kind: Kind
    encoding: str
    names: tuple[str, ...]
    start: int = 0
    line: int = 1
    has_mark: bool = False

    @property
    def is_divisible(self) -> bool:
        """Whether it can be read from any offset, and so divided into pieces."""
        return self.kind == "csv" and self.encoding == UTF_8


def look_at(path: Path, encoding: str = UTF_8) -> Source:
    """Determines a file's format, and reads its header.

    Args:
        path: A CSV file, gzipped or not, or a Parquet file.
        encoding: Python's name of the text's encoding.

    Raises:
        DataRefusedError: The file can't be read, or its contents don't match its name.
    """
    try:
        kind = _kind_of(path)
        if kind == "parquet":
            return Source(path, kind, UTF_8, _columns_of_parquet(path))
        with path.open("rb") as file:
            beginning = file.read(4)
        if not beginning:
            raise DataRefusedError(
                f"{path} is empty; write a header and rows into it, or remove it"
            )
        _check_contents(path, kind, beginning)
        with opened(path, kind, encoding) as text:
            return _with_header(path, kind, encoding, text)
    except OSError as error:
        raise DataRefusedError(unreadable(path, error)) from error


@contextmanager
def opened(path: Path, kind: Kind, encoding: str) -> Iterator[Stream]:
    """Opens a CSV file as a stream of UTF-8.

    Bytes that are invalid in the encoding are passed on unchanged; `reading` finds
    them, like invalid UTF-8, and quarantines their rows.

    Raises:
        DataRefusedError: While it is read: the gzip ends too early or is damaged, the
            text is cut in the middle of a character, or the file can't be read.
    """
    try:
        with path.open("rb") as file:
            raw: Stream = gzip.GzipFile(fileobj=file) if kind == "gzip" else file
            yield raw if encoding == UTF_8 else _Transcoded(raw, encoding)
    except EOFError as error:
        raise DataRefusedError(
            f"{path} ends before its gzip does: it was cut short; copy or export it "
            "again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataRefusedError(
            f"{path} is damaged: {error}; copy or export it again"
        ) from error
    except UnicodeError as error:
        raise DataRefusedError(
            f"{path} is not {encoding}: {error}; give its --encoding"
        ) from error
    except OSError as error:
        raise DataRefusedError(unreadable(path, error)) from error


def opened_parquet(path: Path) -> parquet.ParquetFile:
    """Opens a Parquet file.

    Raises:
        DataRefusedError: The file is not Parquet, or can't be read.
    """
    try:
        return parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        what = "is empty" if not path.stat().st_size else "is not a Parquet file"
        raise DataRefusedError(
            f"{path} {what}; export it again, or remove it ({_first_line(error)})"
        ) from error
    except OSError as error:
        raise DataRefusedError(unread_parquet(path, error)) from error


def unread_parquet(path: Path, error: Exception) -> str:
    """Formats an error of reading a Parquet file."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return unreadable(path, error)
    return f"{path} is damaged: {_first_line(error)}; export it again"


def size_of(path: Path) -> int:
    """Returns a file's size in bytes.

    Raises:
        DataRefusedError: The file is gone, or can't be accessed.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataRefusedError(unreadable(path, error)) from error


def read_fully(text: Stream, size: int) -> bytes:
    """Reads exactly `size` bytes, fewer only at the end."""
    parts, missing = [], size
    while missing and (part := text.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def check_headers(sources: Sequence[Source], schema: schema_pb2.Schema | None) -> None:
    """Checks that files have all columns of the schema, and the same header.

    Columns that the schema doesn't have are accepted here; the gate reports them.

    Args:
        sources: All files that are read together, at least one.
        schema: The reviewed schema, if there is one.

    Raises:
        DataRefusedError: A column is missing, unnamed or there twice, or headers
            differ; the message is about the first such file.
    """
    first = sources[0]
    for source in sources:
        if schema is not None:
            _check_expected(source, schema)
        _check_names(source)
        if source.names != first.names:
            _refuse_other_header(source, first)


class _Transcoded:
    """A stream that converts text in another encoding to UTF-8."""

    def __init__(self, raw: Stream, encoding: str) -> None:
        self._raw = raw
        # Undecodable bytes pass through, and are quarantined with their row.
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        self._rest = b""
        self._at_end = False

    def seek(self, offset: int) -> int:
        """Raises OSError: the decoder's state depends on all text before."""
        raise OSError(f"cannot seek to {offset} in a decoded stream")

    def read(self, size: int) -> bytes:
        """Reads `size` bytes of UTF-8; fewer only at the end."""
        while len(self._rest) < size and not self._at_end:
            block = self._raw.read(BLOCK_BYTES)
            self._at_end = not block
            text = self._decoder.decode(block, final=self._at_end)
            self._rest += text.encode(UTF_8, "surrogateescape")
        read, self._rest = self._rest[:size], self._rest[size:]
        return read


def _kind_of(path: Path) -> Kind:
    name = path.name.lower()
    for ending, kind in _KINDS.items():
        if name.endswith(ending):
            return kind
    raise DataRefusedError(
        f"{path} is none of {', '.join(_KINDS)} by its name; rename it, move it out of "
        "the data directory, or choose files with --pattern"
    )


def _check_contents(path: Path, kind: Kind, beginning: bytes) -> None:
    """Rejects a file whose first bytes don't match its extension."""
    if kind == "gzip" and not beginning.startswith(_GZIP):
        raise DataRefusedError(f"{path} is not gzipped; rename it, or gzip it")
    if kind == "csv" and beginning.startswith(_GZIP):
        raise DataRefusedError(f"{path} is gzipped; rename it to {path.name}.gz")
    if kind == "csv" and beginning == _PARQUET:
        new = path.with_suffix(".parquet").name
        raise DataRefusedError(f"{path} is a Parquet file; rename it to {new}")


def _columns_of_parquet(path: Path) -> tuple[str, ...]:
    schema = opened_parquet(path).schema_arrow
    for column in schema:
        item = column.type.value_type if is_list(column.type) else column.type
        if pa.types.is_nested(item):
            raise DataRefusedError(
                f"{path}, column {column.name!r}: {column.type} is nested; a column "
                "holds values, or lists of values: give each part a column of its own, "
                "or leave it out"
            )
        if not columns.is_supported(item):
            wrong = "is neither text nor number, date or time; export it as one"
            if zone := getattr(item, "tz", ""):
                wrong = f"has the unknown time zone {zone!r}; export it in UTC"
            raise DataRefusedError(
                f"{path}, column {column.name!r}: {column.type} {wrong}, or leave it "
                "out"
            )
    return tuple(schema.names)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


def _with_header(path: Path, kind: Kind, encoding: str, text: Stream) -> Source:
    data = read_fully(text, _HEADER_BYTES)
    if encoding == UTF_8:
        _refuse_utf_16(path, data)
    has_mark = data.startswith(codecs.BOM_UTF8)
    data = data[len(codecs.BOM_UTF8) :] if has_mark else data
    try:
        records, _ = find_records(data, 1, is_last=len(data) < _HEADER_BYTES)
    except EndlessLineError as error:
        raise DataRefusedError(f"{path}: {error}; is it a CSV file?") from error
    if not len(records) or records.lines[0] != 1 or not records.text_of(0).strip():
        raise DataRefusedError(
            f"{path}, line 1: nothing, where the column names belong; add the header"
        )
    if 0 in records.broken:
        raise DataRefusedError(f"{path}, line 1: {records.broken[0]}")
    header, end = records.text_of(0), int(records.ends[0])
    if (at := header.find(b"\0")) >= 0:
        raise DataRefusedError(
            f"{path}, line 1: a NUL byte at offset {at:,}, which no text has; export "
            "the file again"
        )
    try:
        names = next(csv.reader([header.decode(UTF_8)], strict=True))
    except UnicodeDecodeError as error:
        offset = error.start + (len(codecs.BOM_UTF8) if has_mark else 0)
        raise DataRefusedError(
            f"{path}, line 1: the byte at offset {offset:,} is not {encoding.upper()}; "
            "save the file as UTF-8, or give its --encoding"
        ) from error
    except csv.Error as error:
        # Python's reader takes 131,072 characters; Arrow's, which reads the rows, more.
        raise DataRefusedError(
            f"{path}, line 1, column {_first_long(header)}: a name of more than "
            f"{csv.field_size_limit():,} characters; shorten it, or is it a CSV file?"
        ) from error
    line = 1 + records.data[:end].count(b"\n")
    return Source(path, kind, encoding, tuple(names), end, line, has_mark)


def _first_long(header: bytes) -> int:
    """Returns the number of the first field too long for Python's CSV reader."""
    lengths = (len(found[0]) for found in _FIELD.finditer(header))
    limit = csv.field_size_limit()
    return next((n for n, length in enumerate(lengths, 1) if length > limit), 1)


def _refuse_utf_16(path: Path, data: bytes) -> None:
    marks = (name for mark, name in _OTHER_ENCODINGS.items() if data.startswith(mark))
    found = next(marks, "utf-16-le" if data[1:2] == b"\0" else None)
    found = found or ("utf-16-be" if data[:1] == b"\0" and data[1:2] else None)
    if found:
        raise DataRefusedError(
            f"{path} is {found.upper()}; give --encoding {found}, or convert it with: "
            f"iconv -f {found.upper()} -t UTF-8 {shlex.quote(str(path))}"
        )


def _check_expected(source: Source, schema: schema_pb2.Schema) -> None:
    there = set(source.names)
    expected = expected_columns(schema)
    missing = [name for name in expected if name not in there]
    if expected and missing == expected:
        raise DataRefusedError(
            f"{_where(source)}: none of the schema's columns; it must hold the column "
            f"names: {_shown(expected)}"
        )
    if missing:
        unknown = sorted(there - set(expected))[:_NAMES_COMPARED]
        close = difflib.get_close_matches(missing[0], unknown, 1)
        hint = f" (the header has {close[0]!r})" if close else ""
        raise DataRefusedError(
            f"{_where(source)}: {_columns(missing)} missing, which the schema "
            f"expects{hint}; add what is missing, or change the schema"
        )


def expected_columns(schema: schema_pb2.Schema) -> list[str]:
    """Returns the columns that a schema expects in training data, in its order."""
    return [f.name for f in schema.feature if _in_training(f, schema)]


def _in_training(feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> bool:
    if feature.deprecated or feature.lifecycle_stage not in _ACTIVE_STAGES:
        return False
    if _ENVIRONMENT in feature.not_in_environment:
        return False
    environments = [*schema.default_environment, *feature.in_environment]
    return not environments or _ENVIRONMENT in environments


def _check_names(source: Source) -> None:
    names = source.names
    unnamed = [n for n, name in enumerate(names, start=1) if not name.strip()]
    if unnamed:
        raise DataRefusedError(
            f"{_where(source)}: column {unnamed[0]} of {len(names)} has no name; name "
            "it, or remove it (pandas writes its index so, unless told index=False)"
        )
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataRefusedError(
            f"{_where(source)}: column {name!r} is there {count} times; rename or "
            "remove"
        )


def _refuse_other_header(source: Source, first: Source) -> NoReturn:
    here, there = set(source.names), set(first.names)
    lacking = [name for name in first.names if name not in here]
    extra = [name for name in source.names if name not in there]
    if lacking:
        difference = f"{_columns(lacking)} missing"
    elif extra:
        difference = f"{_columns(extra)} additional"
    else:
        difference = "the same columns in another order"
    raise DataRefusedError(
        f"{_where(source)}: not the header of {first.path}: {difference}; give all "
        "files the same header"
    )


def _where(source: Source) -> str:
    return str(source.path) if source.kind == "parquet" else f"{source.path}, line 1"


def _columns(names: list[str]) -> str:
    return f"{'column' if len(names) == 1 else 'columns'} {_shown(names)}"


def _shown(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
