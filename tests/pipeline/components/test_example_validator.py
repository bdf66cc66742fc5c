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
    """In the artifact's own place, and none of columns that only serving has."""
    schema, anomalies = Schema(), ExampleAnomalies()
    schema.uri, anomalies.uri = f"{bucket}/schema/1", f"{bucket}/anomalies/1"
    text = """
        feature { name: "tips" type: FLOAT presence { min_count: 1 } }
        feature {
          name: "device" presence { min_count: 1 } not_in_environment: "TRAINING"
        }
        default_environment: "TRAINING" default_environment: "SERVING"
    """
    files.write_text(files.join(schema.uri, SCHEMA_FILE), text)
    executor = example_validator.Executor()

    output = executor.Do(
        {"statistics": [small_statistics], "schema": [schema]},
        {"anomalies": [anomalies]},
        {"exclude_splits": "null"},
    )

    data = files.read_bytes(f"{bucket}/anomalies/1/Split-train/{ANOMALIES_FILE}")
    found = anomalies_pb2.Anomalies.FromString(data).anomaly_info
    assert found.keys() == {"fare", "tips"}
    # What the executor returns is what the launcher publishes.
    (written,) = output.output_artifacts["anomalies"].artifacts
    assert written.uri == anomalies.uri == f"{bucket}/anomalies/1"
