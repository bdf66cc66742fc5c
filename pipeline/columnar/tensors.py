"""Record batches of list columns as the tensors of a TensorFlow feature spec, and back.

Both ways are tfx_bsl's own conversions, so a batch becomes exactly the tensors that TFX
would parse from the same rows as tf.Examples.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata.schema_utils import schema_from_feature_spec
from tfx_bsl.tfxio.tensor_adapter import TensorAdapter, TensorAdapterConfig
from tfx_bsl.tfxio.tensor_representation_util import (
    InferTensorRepresentationsFromMixedSchema,
)
from tfx_bsl.tfxio.tensor_to_arrow import TensorsToRecordBatchConverter

from pipeline.columnar.lists import arrow_schema, conform

FeatureSpec = Mapping[str, Any]
"""tf.io.FixedLenFeature, VarLenFeature, SparseFeature or RaggedFeature by name."""

Tensors = dict[str, Any]


class ToTensors:
    """Converts batches to tensors; building it costs more than a small batch.

    Attributes:
        columns: The columns that it needs, in the order of the schema.
    """

    def __init__(
        self,
        schema: schema_pb2.Schema,
        defaults: Mapping[str, schema_pb2.TensorRepresentation.DefaultValue]
        | None = None,
    ) -> None:
        """Prepares for the tensors that TFX makes of data with a schema.

        Args:
            schema: Names, types and shapes.
            defaults: What stands in for a missing value of a dense tensor, by name.
        """
        self._expected = arrow_schema(schema)
        self.columns: list[str] = self._expected.names
        representations = InferTensorRepresentationsFromMixedSchema(schema)
        for name, default in (defaults or {}).items():
            representations[name].dense_tensor.default_value.CopyFrom(default)
        self.config = TensorAdapterConfig(self._expected, representations)
        self._adapter = TensorAdapter(self.config)

    @classmethod
    def of(cls, spec: FeatureSpec) -> "ToTensors":
        """Prepares for the tensors of a feature spec."""
        # TFT makes a schema of a spec only if it has no default values.
        plain = {n: _without_default(feature) for n, feature in spec.items()}
        defaults = {
            name: _default(feature.default_value, feature.dtype)
            for name, feature in spec.items()
            if feature is not plain[name]
        }
        return cls(schema_from_feature_spec(plain), defaults)

    def conformed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Reorders a batch's columns to what the conversion and TFX expect."""
        return conform(batch, self._expected)

    def __call__(self, batch: pa.RecordBatch) -> Tensors:
        """Converts a batch.

        Args:
            batch: At least the columns needed; an absent one is missing in each row.

        Returns:
            A tensor, SparseTensor or RaggedTensor for each name of the spec.

        Raises:
            ValueError: A row lacks a value that the spec says it has; names the column.
        """
        tensors: Tensors = self._adapter.ToBatchTensors(self.conformed(batch))
        return tensors


class FromTensors:
    """Converts tensors to batches of list columns."""

    def __init__(self, schema: schema_pb2.Schema | FeatureSpec) -> None:
        """Prepares for the tensors of a schema or a feature spec."""
        if not isinstance(schema, schema_pb2.Schema):
            schema = schema_from_feature_spec(dict(schema))
        # Only an adapter has the TypeSpecs that tfx_bsl's converter asks for.
        adapter = TensorAdapter(ToTensors(schema).config)
        self._converter = TensorsToRecordBatchConverter(adapter.TypeSpecs())
        self.arrow_schema: pa.Schema = self._converter.arrow_schema()

    def __call__(self, tensors: Mapping[str, Any]) -> pa.RecordBatch:
        """Converts tensors whose first dimension is rows."""
        return self._converter.convert(dict(tensors))


def _without_default(feature: Any) -> Any:
    if getattr(feature, "default_value", None) is None:
        return feature
    return feature._replace(default_value=None)


def _default(
    value: Any, dtype: tf.DType
) -> schema_pb2.TensorRepresentation.DefaultValue:
    """Writes a default value as a schema does; of an array, which is all one value."""
    # A proto holds one default per feature, whatever its shape.
    (value,) = set(np.asarray(value).ravel().tolist())
    if dtype == tf.string:
        data = value if isinstance(value, bytes) else value.encode()
        return schema_pb2.TensorRepresentation.DefaultValue(bytes_value=data)
    if dtype.is_floating:
        return schema_pb2.TensorRepresentation.DefaultValue(float_value=value)
    return schema_pb2.TensorRepresentation.DefaultValue(int_value=value)


def to_tensors(batch: pa.RecordBatch, feature_spec: FeatureSpec) -> Tensors:
    """Converts one batch to tensors; for many, keep a `ToTensors`.

    Args:
        batch: List columns; those that the spec doesn't name are left out.
        feature_spec: What the tensors are to be.

    Returns:
        By name a tf.Tensor (FixedLenFeature) or a tf.SparseTensor (VarLenFeature).
    """
    return ToTensors.of(feature_spec)(batch)


def from_tensors(
    tensors: Mapping[str, tf.Tensor | tf.SparseTensor], feature_spec: FeatureSpec
) -> pa.RecordBatch:
    """Converts tensors to one batch of list columns; for many, keep a `FromTensors`."""
    return FromTensors(feature_spec)(tensors)
