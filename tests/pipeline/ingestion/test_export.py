"""Parquet shards as TFRecords: literal rows in, tf.Examples out."""

from pathlib import Path

import pyarrow as pa
import tensorflow as tf

from pipeline.columnar.shards import ShardWriter
from pipeline.ingestion.export import export_split

SPEC = {
    "price": tf.io.VarLenFeature(tf.float32),
    "sizes": tf.io.VarLenFeature(tf.int64),
    "color": tf.io.VarLenFeature(tf.string),
}


def values_in(file: Path) -> list[dict[str, list[object]]]:
    """Reads the rows of a file, as lists of values by name."""
    rows = tf.data.TFRecordDataset(str(file), "GZIP")
    parsed = [tf.io.parse_single_example(row, SPEC) for row in rows]
    return [{n: v.values.numpy().tolist() for n, v in p.items()} for p in parsed]


def test_each_shard_becomes_a_file_with_its_rows(tmp_path: Path) -> None:
    """Files are named like the shards; missing values stay missing, lists lists."""
    batch = pa.RecordBatch.from_pydict(
        {
            "price": pa.array([[1.5], None, [2.5]], pa.list_(pa.float32())),
            "sizes": pa.array([[1, 2], [], [3]], pa.list_(pa.int64())),
            "color": pa.array([[b"red"], [b"blue"], None], pa.list_(pa.binary())),
        }
    )
    for number, part in enumerate((batch.slice(0, 2), batch.slice(2))):
        path = tmp_path / "split" / f"data-{number}.parquet"
        with ShardWriter(path, batch.schema) as writer:
            writer.write(part)

    rows = export_split(tmp_path / "split", tmp_path / "out" / "train")

    files = sorted((tmp_path / "out" / "train").iterdir())
    assert rows == 3
    assert [f.name for f in files] == ["data-0.tfrecord.gz", "data-1.tfrecord.gz"]
    assert [row for file in files for row in values_in(file)] == [
        {"price": [1.5], "sizes": [1, 2], "color": [b"red"]},
        {"price": [], "sizes": [], "color": [b"blue"]},
        {"price": [2.5], "sizes": [3], "color": []},
    ]


def test_a_split_without_shards_has_no_files(tmp_path: Path) -> None:
    """The directory is created all the same, and no row was written."""
    (tmp_path / "split").mkdir()

    assert export_split(tmp_path / "split", tmp_path / "out") == 0
    assert list((tmp_path / "out").iterdir()) == []
