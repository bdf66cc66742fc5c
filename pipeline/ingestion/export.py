"""Writes Parquet shards as TFRecords of tf.Examples, for tools that read only those."""

import gzip
from pathlib import Path

from pipeline.columnar import files
from pipeline.columnar.files import Location
from pipeline.columnar.shards import SUFFIX, read_batches, shards_of
from pipeline.ingestion.encoding import to_tfrecords

_COMPRESSION_LEVEL = 1


def export_split(source: Location, target: Path) -> int:
    """Writes each shard of a split as a gzipped TFRecord file.

    Args:
        source: The split's directory.
        target: Where the files go; created if it is absent.

    Returns:
        How many rows were written.
    """
    target.mkdir(parents=True, exist_ok=True)
    rows = 0
    for shard in shards_of(source):
        name = files.name_of(shard.file).removesuffix(SUFFIX)
        with gzip.open(target / f"{name}.tfrecord.gz", "wb", _COMPRESSION_LEVEL) as out:
            for batch in read_batches(shard):
                out.write(b"".join(to_tfrecords(batch).to_pylist()))
                rows += batch.num_rows
    return rows
