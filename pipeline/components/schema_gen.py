"""The stock SchemaGen, with environments, and statistics in an object store."""

from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.schema_gen import executor as stock
from tfx.types import Artifact

from models import declared
from pipeline.columnar import files
from pipeline.components.local_files import OnLocalFiles
from pipeline.store.artifact_files import SCHEMA_FILE
from pipeline.trust import schema_review


class Executor(OnLocalFiles, stock.Executor):
    """TFDV reads statistics with TensorFlow, which has no s3://."""

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> Any:
        """Infers a schema; columns that only the label needs are not in SERVING."""
        result = super().Do(input_dict, output_dict, exec_properties)
        for artifact in output_dict["schema"]:
            place = files.join(artifact.uri, SCHEMA_FILE)
            schema = text_format.Parse(files.read_text(place), schema_pb2.Schema())
            unknown = set(declared.LABEL_COLUMNS) - set(declared.RAW_COLUMNS)
            schema_review.add_environments(schema, unknown)
            text = text_format.MessageToString(schema, as_utf8=True)
            files.write_text(place, text)
        return result
