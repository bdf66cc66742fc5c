"""Reads CSV files into tf.Examples by columns, with the types of the reviewed schema.

The stock executor parses rows one by one, guesses a column's type from its values, and
shuffles rows by chance. Here a column keeps the type the schema gives it, and the same
files always give the same records in the same order, so that two runs train alike.
"""

import hashlib
import itertools
import json
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.struct_pb2 import Struct
from pyarrow import csv
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import Artifact, artifact_utils
from tfx.utils import proto_utils
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from pipeline.csv_check import check_csv_files

_ARROW_TYPES = {
    schema_pb2.FLOAT: pa.float64(),
    schema_pb2.INT: pa.int64(),
    schema_pb2.BYTES: pa.string(),
}
_NARROWING = (pa.int64(), pa.float64())
_FIELD_SEPARATOR = "\x1f"
# Arrow reads some thirty blocks ahead.
_BLOCK_BYTES = 1 << 20

Types = Mapping[str, pa.DataType]
Buckets = Mapping[str, int]


def column_types(
    files: Sequence[Path], schema: schema_pb2.Schema | None
) -> dict[str, pa.DataType]:
    """Gives each column the type of the schema, or one that all its values fit.

    Args:
        files: CSV files with the same header.
        schema: The reviewed schema; columns it doesn't know are looked at in the data.

    Returns:
        int64, float64 or string for each column of the files.
    """
    described = schema.feature if schema else ()
    known = {f.name: _ARROW_TYPES[f.type] for f in described if f.type in _ARROW_TYPES}
    if all(name in known for name in _header(files[0])):
        return known
    return {**infer_types(files), **known}


def infer_types(files: Sequence[Path]) -> dict[str, pa.DataType]:
    """Finds the narrowest type that holds every value of a column in all files.

    Args:
        files: CSV files with the same header.

    Returns:
        int64, float64 or string for each column.
    """
    names = _header(files[0])
    candidates = {name: [*_NARROWING, pa.string()] for name in names}
    as_text = dict.fromkeys(names, pa.string())
    for batch in itertools.chain.from_iterable(_read(f, as_text) for f in files):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            while not _fits(column, candidates[name][0]):
                del candidates[name][0]
    return {name: remaining[0] for name, remaining in candidates.items()}


def read_examples(
    file: Path, types: Types, buckets: Buckets
) -> Iterator[tuple[str, list[bytes]]]:
    """Reads a file in blocks of bounded size.

    Args:
        file: A CSV file with a header.
        types: Arrow type of each column.
        buckets: Parts of the rows for each split, in order.

    Yields:
        Name of a split, and serialized tf.Examples of rows that belong to it.
    """
    encoder = RecordBatchToExamplesEncoder()
    names = list(buckets)
    for batch in _read(file, types):
        examples = np.array(encoder.encode(_as_lists(batch)), dtype=object)
        splits = _split_of_rows(batch, list(buckets.values()))
        for index, name in enumerate(names):
            yield name, examples[splits == index].tolist()


def write_shards(
    numbered_file: tuple[int, str],
    directories: Mapping[str, str],
    types: Types,
    buckets: Buckets,
    shards: int,
) -> dict[str, int]:
    """Writes one file's rows, one gzipped TFRecord file for each split.

    Args:
        numbered_file: Number of the file among all, and its path.
        directories: Where each split's files go.
        types: Arrow type of each column.
        buckets: Parts of the rows for each split.
        shards: How many files there are in all.

    Returns:
        Number of rows written to each split.
    """
    number, file = numbered_file
    name = f"data_tfrecord-{number:05d}-of-{shards:05d}.gz"
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
    writers, rows = {}, dict.fromkeys(directories, 0)
    for split, directory in directories.items():
        tf.io.gfile.makedirs(directory)
        writers[split] = tf.io.TFRecordWriter(f"{directory}/{name}", options)
    for split, examples in read_examples(Path(file), types, buckets):
        rows[split] += len(examples)
        for example in examples:
            writers[split].write(example)
    for writer in writers.values():
        writer.close()
    return rows


def _header(file: Path) -> list[str]:
    return list(next(_read(file, {})).schema.names)


def _read(file: Path, types: Types) -> Iterator[pa.RecordBatch]:
    yield from csv.open_csv(
        file,
        read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict(types),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _fits(column: pa.Array, target: pa.DataType) -> bool:
    if pa.types.is_string(target):
        return True
    # Arrow takes 0x1F for a whole number, and a float loses digits of a long one: both
    # are codes rather than quantities.
    if pc.any(pc.match_substring_regex(column, "[xX]")).as_py():
        return False
    numbers = pc.utf8_trim(column, " \t")
    if pa.types.is_floating(target):
        long = numbers.filter(pc.match_substring_regex(numbers, "^[-+]?[0-9]{19,}$"))
        return _casts(long, pa.int64()) and _casts(numbers, target)
    return _casts(numbers, target)


def _casts(column: pa.Array, target: pa.DataType) -> bool:
    try:
        column.cast(target)
    except pa.ArrowInvalid:
        return False
    return True


def _as_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Turns each value into a list of one, and each missing one into no list."""
    return pa.RecordBatch.from_arrays(
        [_as_list(column) for column in batch.columns], batch.schema.names
    )


def _as_list(column: pa.Array) -> pa.ListArray:
    # tf.Example knows float32 only; Arrow parses text to float64 and then rounds, as
    # a tf.Example made from a Python float does.
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float32())
    elif pa.types.is_string(column.type) or pa.types.is_null(column.type):
        column = column.cast(pa.binary())
    present = np.asarray(column.is_valid())
    offsets = np.concatenate([[0], np.cumsum(present)]).astype(np.int32)
    mask = pa.array(np.concatenate([~present, [False]]))
    offsets = pa.array(offsets, mask=np.asarray(mask)) if not present.all() else offsets
    return pa.ListArray.from_arrays(offsets, column.drop_null())


def _split_of_rows(batch: pa.RecordBatch, buckets: Sequence[int]) -> np.ndarray:
    """Gives each row the index of its split, by a hash of all its values."""
    texts = [pc.fill_null(c.cast(pa.string()), "") for c in batch.columns]
    rows = pc.binary_join_element_wise(*texts, _FIELD_SEPARATOR).to_pylist()
    ends = list(itertools.accumulate(buckets))
    return np.array([bisect(ends, _hash(row) % ends[-1]) for row in rows], np.int32)


def _hash(row: str) -> int:
    return int.from_bytes(hashlib.blake2b(row.encode(), digest_size=8).digest(), "big")


class Executor(BaseBeamExecutor):
    """Ingests CSV files; the executor of the standard FileBasedExampleGen."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits, each row to one of them.

        Args:
            input_dict: Empty; files come from the execution's parameters.
            output_dict: `examples`, the artifact to fill.
            exec_properties: `input_base` and `input_config` name the files,
                `output_config` the splits, `custom_config` the reviewed schema.

        Raises:
            DataRefusedError: A file can't be read as the schema says.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        files = _files(exec_properties)
        schema = _schema(exec_properties)
        check_csv_files(files, schema)
        buckets = _buckets(exec_properties)
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        examples.split_names = artifact_utils.encode_split_names(list(buckets))
        directories = {
            split: artifact_utils.get_split_uri([examples], split) for split in buckets
        }
        types = column_types(files, schema)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Files" >> beam.Create(list(enumerate(map(str, files))))
                | "Spread" >> beam.Reshuffle()
                | "Write"
                >> beam.Map(write_shards, directories, types, buckets, len(files))
            )
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")
        examples.set_string_custom_property("source_files", _fingerprints(files))


def _fingerprints(files: Sequence[Path]) -> str:
    """Says what was read, for lineage: each file's path, bytes and SHA-256, as JSON."""
    found = []
    for path in files:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        found.append({"path": str(path), "bytes": size, "sha256": sha256})
    return json.dumps(found)


def _files(exec_properties: Mapping[str, Any]) -> list[Path]:
    settings = example_gen_pb2.Input()
    proto_utils.json_to_proto(exec_properties["input_config"], settings)
    base = Path(exec_properties["input_base"])
    return sorted(file for s in settings.splits for file in base.glob(s.pattern))


def _buckets(exec_properties: Mapping[str, Any]) -> dict[str, int]:
    settings = example_gen_pb2.Output()
    proto_utils.json_to_proto(exec_properties["output_config"], settings)
    return {s.name: s.hash_buckets for s in settings.split_config.splits}


def _schema(exec_properties: Mapping[str, Any]) -> schema_pb2.Schema | None:
    custom, settings = example_gen_pb2.CustomConfig(), Struct()
    proto_utils.json_to_proto(exec_properties["custom_config"], custom)
    custom.custom_config.Unpack(settings)
    if "schema_file" not in settings:
        return None
    text = Path(str(settings["schema_file"])).read_text()
    return text_format.Parse(text, schema_pb2.Schema())
