"""SchemaGen on statistics in a bucket."""

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.types import Artifact
from tfx.types.standard_artifacts import Schema

from pipeline.columnar import files
from pipeline.components import schema_gen
from pipeline.store.artifact_files import SCHEMA_FILE


def test_a_schema_is_proposed(bucket: str, small_statistics: Artifact) -> None:
    """SchemaGen writes what the columns look like into the bucket."""
    schema = Schema()
    schema.uri = f"{bucket}/SchemaGen/schema/2"

    schema_gen.Executor().Do(
        {"statistics": [small_statistics]},
        {"schema": [schema]},
        {"exclude_splits": "null"},
    )

    text = files.read_text(files.join(schema.uri, SCHEMA_FILE))
    proposed = text_format.Parse(text, schema_pb2.Schema())
    assert [feature.name for feature in proposed.feature] == ["fare"]
    assert list(proposed.default_environment) == ["TRAINING", "SERVING"]
