"""SchemaGen on statistics in a bucket."""

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

    assert 'name: "fare"' in files.read_text(files.join(schema.uri, SCHEMA_FILE))
