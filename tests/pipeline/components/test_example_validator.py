"""ExampleValidator on statistics in a bucket."""

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import Artifact
from tfx.types.standard_artifacts import ExampleAnomalies, Schema

from pipeline.columnar import files
from pipeline.components import example_validator
from pipeline.store.artifact_files import ANOMALIES_FILE, SCHEMA_FILE


def test_anomalies_are_found_and_uploaded(
    bucket: str, small_statistics: Artifact
) -> None:
    """A column that the schema lacks is an anomaly, in the artifact's own place."""
    schema, anomalies = Schema(), ExampleAnomalies()
    schema.uri, anomalies.uri = f"{bucket}/schema/1", f"{bucket}/anomalies/1"
    text = 'feature { name: "tips" type: FLOAT }'
    files.write_text(files.join(schema.uri, SCHEMA_FILE), text)
    executor = example_validator.Executor()

    output = executor.Do(
        {"statistics": [small_statistics], "schema": [schema]},
        {"anomalies": [anomalies]},
        {"exclude_splits": "null"},
    )

    data = files.read_bytes(f"{bucket}/anomalies/1/Split-train/{ANOMALIES_FILE}")
    assert "fare" in anomalies_pb2.Anomalies.FromString(data).anomaly_info
    # What the executor returns is what the launcher publishes.
    (written,) = output.output_artifacts["anomalies"].artifacts
    assert written.uri == anomalies.uri == f"{bucket}/anomalies/1"
