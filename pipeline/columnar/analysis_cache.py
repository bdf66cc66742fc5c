"""Caches what TFT's analysis accumulates of each span, so that it is analyzed once.

A file for each span holds the values that TFT would accumulate from its rows again,
such as the sums of a column and the counts of its texts, and a note next to it has its
digest. Files are found by a key: a digest of the span's rows and of everything else
that the values depend on. In the Beam pipeline all cached spans are one dataset, so it
doesn't grow with them: TFT merges the values of a dataset in any order and number.
"""

import functools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from tensorflow_transform.beam.analyzer_cache import DatasetCache, DatasetKey

from pipeline.columnar import files, lists, shards
from pipeline.columnar.shards import SUFFIX, Shard, ShardWriter

_LOG = logging.getLogger(__name__)

CACHED = DatasetKey("cached")
"""All spans whose values are read from files, as one dataset."""

_ENTRY, _VALUE = "entry", "value"
_SCHEMA = pa.schema([(_ENTRY, pa.large_binary()), (_VALUE, pa.large_binary())])
_ROWS_AT_ONCE = 10_000

Entries = Mapping[str, frozenset[bytes]]
"""The entries that are cached of spans, by the key of each."""

Written = tuple[str, tuple[bytes, bytes | None]]
"""A key, and a value with the entry that it belongs to."""


@dataclass(frozen=True)
class Span:
    """Rows that are analyzed together, and cached together.

    Attributes:
        key: Digest of the rows, the schema, the code and whatever else decides.
        shards: The rows.
    """

    key: str
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class Cache:
    """Where cached values are read and written.

    Attributes:
        source: Directory of an earlier analysis; `None` if there is none.
        target: Directory for the values of all spans of this analysis.
    """

    source: str | None
    target: str

    def find(self, spans: Iterable[Span]) -> Entries:
        """Finds the spans whose values are cached.

        Args:
            spans: The spans.

        Returns:
            The entries of each, by its key. A file that can't be read is logged, and
            its span is not in the result.
        """
        found = {}
        for span in spans:
            if self.source and files.exists(_place(self.source, span.key)):
                try:
                    found[span.key] = _entries_of(self.source, span.key)
                except (ValueError, KeyError, OSError) as error:
                    place = _place(self.source, span.key)
                    _LOG.warning(
                        "%s is not used, and its span is analyzed again: %s",
                        place,
                        error,
                    )
        return found

    def read(self, cached: Entries, pipeline: beam.Pipeline) -> DatasetCache:
        """Reads the values of spans as one dataset.

        Args:
            cached: The spans.
            pipeline: Reads them.
        """
        places = [_place(self.source or "", key) for key in sorted(cached)]
        created = pipeline | "CachedSpans" >> beam.Create(places)
        return DatasetCache(
            {
                entry: created
                | f"ReadCached{number}"
                >> beam.FlatMap(functools.partial(_values_of, entry))
                for number, entry in enumerate(sorted(shared_entries(cached)))
            },
            None,
        )

    def write(
        self, computed: Mapping[DatasetKey, DatasetCache], pipeline: beam.Pipeline
    ) -> None:
        """Writes the values that TFT has computed, a file for each span.

        Args:
            computed: The values by entry, by the span's key.
            pipeline: Writes them.
        """
        values: list[beam.PCollection[Written]] = []
        named: list[Written] = []
        for number, (key, dataset) in enumerate(sorted(computed.items())):
            for place, (entry, found) in enumerate(sorted(dataset.items())):
                # An entry without a value, of a column that is empty in this span, is
                # cached as well.
                named.append((key.key, (entry, None)))
                values.append(
                    found
                    | f"Named{number}.{place}"
                    >> beam.Map(functools.partial(_named, key.key, entry))
                )
        if not named:
            return
        _ = (
            [pipeline | "Entries" >> beam.Create(named), *values]
            | "AllValues" >> beam.Flatten()
            | "BySpan" >> beam.GroupByKey()
            | "WriteCached" >> beam.Map(functools.partial(_write, self.target))
        )

    def copy(self, keys: Iterable[str]) -> None:
        """Copies files of spans, so that the next analysis finds them in one place."""
        for key in keys:
            for place in (_place, _note):
                files.copy_file(place(self.source or "", key), place(self.target, key))


def shared_entries(found: Entries) -> frozenset[bytes]:
    """Returns the entries that all cached spans have; empty if there is none."""
    return frozenset.intersection(*found.values()) if found else frozenset()


def _place(directory: str, key: str) -> str:
    return files.join(directory, f"{key}{SUFFIX}")


def _note(directory: str, key: str) -> str:
    return files.join(directory, f"{key}.json")


def _entries_of(directory: str, key: str) -> frozenset[bytes]:
    """Reads which entries a file has.

    Raises:
        ValueError: It isn't as it was written.
        KeyError: The note about it isn't.
        OSError: One of them can't be read.
    """
    noted = json.loads(files.read_text(_note(directory, key)))
    # Parquet's own checksums don't cover all of a file.
    if files.sha256(_place(directory, key)) != noted["sha256"]:
        raise ValueError("its contents have changed since it was written")
    return frozenset(map(bytes.fromhex, noted["entries"]))


def _values_of(entry: bytes, place: str) -> Iterator[bytes]:
    for name, value in _rows_of(place):
        if name == entry and value is not None:
            yield value


def _rows_of(place: str) -> Iterator[tuple[bytes, bytes | None]]:
    for batch in shards.read_batches(place, columns=_SCHEMA.names):
        entries, values = map(lists.unwrap, batch.columns)
        yield from zip(entries.to_pylist(), values.to_pylist(), strict=True)


def _named(key: str, entry: bytes, value: bytes) -> Written:
    return key, (entry, value)


def _write(
    directory: str, group: tuple[str, Iterable[tuple[bytes, bytes | None]]]
) -> None:
    key, rows = group
    names: set[bytes] = set()
    with ShardWriter(_place(directory, key), _SCHEMA) as writer:
        for some in _chunks(rows):
            entries, values = zip(*some, strict=True)
            names.update(entries)
            arrays = [pa.array(a, pa.large_binary()) for a in (entries, values)]
            writer.write(pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA))
    noted = {
        "sha256": files.sha256(_place(directory, key)),
        "entries": sorted(name.hex() for name in names),
    }
    files.write_text(_note(directory, key), json.dumps(noted))


def _chunks(
    rows: Iterable[tuple[bytes, bytes | None]],
) -> Iterator[list[tuple[bytes, bytes | None]]]:
    waiting: list[tuple[bytes, bytes | None]] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == _ROWS_AT_ONCE:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
