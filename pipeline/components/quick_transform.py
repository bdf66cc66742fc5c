"""Transforms small data with little Beam, whose set-up costs more than the work.

For 15,002 rows the stock executor traces `preprocessing_fn` nine times and runs seventy
stages. Here TFT analyzes the data on Beam, as it can't otherwise, and writes the same
graph; the graph is then applied to the rows without Beam. That is done as long as the
examples are few; the stock executor does the rest.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform import beam as tft_beam
from tensorflow_transform.impl_helper import make_tensor_to_arrow_converter
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io
from tfx.components.transform import executor as stock
from tfx.components.transform import executor_utils, labels
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import Artifact, artifact_utils
from tfx.utils import io_utils
from tfx_bsl.coders.example_coder import (
    ExamplesToRecordBatchDecoder,
    RecordBatchToExamplesEncoder,
)
from tfx_bsl.tfxio.tensor_adapter import TensorAdapter
from tfx_bsl.tfxio.tf_example_record import TFExampleBeamRecord

from pipeline.components.small_data import fits_in_memory, read_examples

TRANSFORMED_FILE = "transformed_examples-00000-of-00001.gz"
# What else Transform can be asked for is left to the stock executor.
_PLAIN_PROPERTIES = {
    "preprocessing_fn",
    "splits_config",
    "custom_config",
    "disable_statistics",
    "disable_analyzer_cache",
}
_BATCH = 10_000  # Rows transformed at a time.
_TEMPORARY = ".analysis"

Preprocess = Callable[..., Any]


class Executor(stock.Executor):
    """The stock Transform, but for small data and no statistics."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the transform graph and the transformed examples of each split."""
        if not _is_plain(input_dict, output_dict, exec_properties):
            super().Do(input_dict, output_dict, exec_properties)
            return
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        schema = _schema(input_dict)
        splits = executor_utils.ResolveSplitsConfig(
            exec_properties["splits_config"], input_dict["examples"]
        )
        graph = Path(artifact_utils.get_single_uri(output_dict["transform_graph"]))
        properties = {
            labels.PREPROCESSING_FN: exec_properties["preprocessing_fn"],
            labels.CUSTOM_CONFIG: exec_properties.get("custom_config"),
        }
        preprocess = self._GetPreprocessingFn(properties, {})
        analyzed = [artifact_utils.get_split_uri([examples], s) for s in splits.analyze]
        self._analyze(analyzed, schema, preprocess, graph)
        transformed = output_dict["transformed_examples"]
        executor_utils.SetSplitNames(splits.transform, transformed)
        apply = Application(graph, schema)
        for split in splits.transform:
            source = Path(artifact_utils.get_split_uri([examples], split))
            apply.to_split(
                source, Path(artifact_utils.get_split_uri(transformed, split))
            )

    def _analyze(
        self,
        directories: list[str],
        schema: schema_pb2.Schema,
        preprocess: Preprocess,
        graph: Path,
    ) -> None:
        """Has TFT compute what the graph needs to know, and write it."""
        temporary = graph / _TEMPORARY
        with (
            self._make_beam_pipeline() as pipeline,
            tft_beam.Context(temp_dir=str(temporary), use_deep_copy_optimization=True),
        ):
            batches = (
                pipeline
                | "Splits" >> beam.Create(directories, reshuffle=False)
                | "Read" >> beam.FlatMap(_read_batches, schema)
            )
            _ = (
                (batches, _tfxio(schema).TensorAdapterConfig())
                | "Analyze" >> tft_beam.AnalyzeDataset(preprocess)
                | "Write" >> tft_beam.WriteTransformFn(str(graph))
            )
        metadata_io.write_metadata(
            dataset_metadata.DatasetMetadata(schema),
            str(graph / tft.TFTransformOutput.RAW_METADATA_DIR),
        )
        shutil.rmtree(temporary, ignore_errors=True)


class Application:
    """A transform graph, ready to be applied to examples.

    Attributes:
        output: What Transform wrote.
        schema: Of the raw examples.
    """

    def __init__(self, graph: Path, schema: schema_pb2.Schema) -> None:
        """Reads the graph."""
        self.output = tft.TFTransformOutput(str(graph))
        self.schema = schema
        transformed = self.output.transformed_metadata.schema
        self._adapter = TensorAdapter(_tfxio(schema).TensorAdapterConfig())
        self._converter = make_tensor_to_arrow_converter(transformed)
        self._encoder = RecordBatchToExamplesEncoder(transformed)

    def to_split(self, source: Path, target: Path) -> None:
        """Transforms a split's examples and writes them as one gzipped TFRecord."""
        target.mkdir(parents=True, exist_ok=True)
        options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)
        with tf.io.TFRecordWriter(str(target / TRANSFORMED_FILE), options) as writer:
            for batch in _read_batches(str(source), self.schema):
                for example in self._transform(batch):
                    writer.write(example)

    def _transform(self, batch: pa.RecordBatch) -> list[bytes]:
        tensors = self._adapter.ToBatchTensors(batch)
        columns = self.output.transform_raw_features(tensors)
        encoded: list[bytes] = self._encoder.encode(self._converter.convert(columns))
        return encoded


def _is_plain(
    input_dict: dict[str, list[Artifact]],
    output_dict: dict[str, list[Artifact]],
    exec_properties: dict[str, Any],
) -> bool:
    """Whether few tf.Examples are to be transformed, and nothing else is wanted."""
    asked = {name for name, value in exec_properties.items() if value}
    if not asked <= _PLAIN_PROPERTIES or "disable_statistics" not in asked:
        return False
    if "analyzer_cache" in input_dict or len(input_dict["examples"]) != 1:
        return False
    if set(output_dict) != {"transform_graph", "transformed_examples"}:
        return False
    (examples,) = input_dict["examples"]
    return (
        examples_utils.get_payload_format(examples)
        == example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE
        and examples_utils.get_file_format(examples) == "tfrecords_gzip"
        and fits_in_memory(examples)
    )


def _schema(input_dict: dict[str, list[Artifact]]) -> schema_pb2.Schema:
    directory = artifact_utils.get_single_uri(input_dict["schema"])
    return io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(directory))


def _tfxio(schema: schema_pb2.Schema) -> TFExampleBeamRecord:
    return TFExampleBeamRecord(
        physical_format="inmem",
        telemetry_descriptors=["throughline", "transform"],
        schema=schema,
    )


def _read_batches(
    directory: str, schema: schema_pb2.Schema
) -> Iterator[pa.RecordBatch]:
    examples = read_examples(Path(directory))
    decoder = ExamplesToRecordBatchDecoder(schema.SerializeToString())
    for start in range(0, len(examples), _BATCH):
        yield decoder.DecodeBatch(examples[start : start + _BATCH])
