"""The stock ExampleValidator, with environments, and files in an object store."""

from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.example_validator import executor as stock
from tfx.components.example_validator import labels
from tfx.components.util import value_utils
from tfx.types.standard_component_specs import SCHEMA_KEY, STATISTICS_KEY

from pipeline.columnar import files
from pipeline.components.local_files import OnLocalFiles
from pipeline.store.artifact_files import ANOMALIES_FILE
from pipeline.trust import schema_review


class Executor(OnLocalFiles, stock.Executor):
    """TFDV reads statistics with TensorFlow, which has no s3://."""

    def _Validate(  # noqa: N802 - the name is TFX's
        self, inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> anomalies_pb2.Anomalies:
        """Validates a split in the environment TRAINING, if the schema has any.

        TFX passes no environment, and then TFDV expects the columns of all of them.
        """
        schema = value_utils.GetSoleValue(inputs, SCHEMA_KEY)
        statistics = value_utils.GetSoleValue(inputs, STATISTICS_KEY)
        known = schema.default_environment
        environment = schema_review.TRAINING if known else None
        found = tfdv.validate_statistics(statistics, schema, environment)
        directory = value_utils.GetSoleValue(outputs, labels.SCHEMA_DIFF_PATH)
        files.write_bytes(
            files.join(directory, ANOMALIES_FILE), found.SerializeToString()
        )
        return found
