"""TensorFlow Serving's gRPC API against a real server, with its own messages."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.serving.conftest import ROW, Server, score

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[grpc.Channel]:
    """A connection to the server."""
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as found:
        yield found


@pytest.fixture(scope="module")
def predictions(channel: grpc.Channel) -> Any:
    """Calls the PredictionService."""
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request(signature: str = "serving_raw", **inputs: Any) -> Any:
    """Returns a request for predictions."""
    found = predict_pb2.PredictRequest()
    found.model_spec.name = "taxi"
    found.model_spec.signature_name = signature
    for name, values in inputs.items():
        found.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return found


def raw(**change: Any) -> Any:
    """Returns a request of two rows for raw values."""
    columns = {name: [value] * 2 for name, value in ROW.items()}
    columns["fare"] = tf.constant([1.0, 1.0])
    columns["hour"] = tf.constant([2, 2], tf.int64)
    return request(**{**columns, **change})


def test_predict(predictions: Any) -> None:
    """Answers are in the typed field that clients read, with version and signature."""
    found, call = predictions.Predict.with_call(
        raw(), metadata=[("x-request-id", "by-grpc")]
    )

    assert list(found.outputs["probability"].float_val) == [score(ROW)] * 2
    assert tf.make_ndarray(found.outputs["probability"]).shape == (2,)
    assert found.model_spec.version.value == 5
    assert found.model_spec.signature_name == "serving_raw"
    assert {tuple(each) for each in call.trailing_metadata()} >= {
        ("x-request-id", "by-grpc"),
        ("x-decision-threshold", "0.25"),
    }


def test_outputs_can_be_chosen(predictions: Any) -> None:
    """A filter leaves out the other outputs; texts are bytes."""
    asked = request("several", company=["Blue"])
    asked.output_filter.append("name")

    found = predictions.Predict(asked)

    assert list(found.outputs) == ["name"]
    assert list(found.outputs["name"].string_val) == [b"Blue"]


def oversized() -> Any:
    """Returns a request whose tensor claims a terabyte."""
    asked = raw()
    asked.inputs["fare"].Clear()
    asked.inputs["fare"].dtype = 1
    asked.inputs["fare"].float_val.append(1)
    for _ in range(2):
        asked.inputs["fare"].tensor_shape.dim.add(size=1 << 19)
    return asked


def claiming(rows: int) -> Any:
    """Returns a request whose only value claims to be many rows."""
    asked = raw(fare=tf.constant([1.0]))
    asked.inputs["fare"].tensor_shape.dim[0].size = rows
    return asked


def named(model: str = "taxi", version: int = 0, label: str = "") -> Any:
    """Returns a request for another model or version."""
    asked = raw()
    asked.model_spec.name = model
    if version:
        asked.model_spec.version.value = version
    if label:
        asked.model_spec.version_label = label
    return asked


def filtered() -> Any:
    """Returns a request for an output that isn't there."""
    asked = raw()
    asked.output_filter.append("odds")
    return asked


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        (raw(fare=tf.constant([1.0, float("inf")])), "INVALID_ARGUMENT", "row 1"),
        (raw(fare=[1, 2]), "INVALID_ARGUMENT", "is DT_INT32; expected DT_FLOAT"),
        (raw(fare=tf.constant(1.0)), "INVALID_ARGUMENT", "has shape []; expected [-1]"),
        (raw(fare=tf.constant([1.0])), "INVALID_ARGUMENT", "same number of rows"),
        (request(fare=[1.0]), "INVALID_ARGUMENT", "input 'company' is absent"),
        (request("none"), "INVALID_ARGUMENT", "there is no signature 'none'"),
        (oversized(), "INVALID_ARGUMENT", "expected [-1], where -1 is any size"),
        (claiming(1 << 30), "INVALID_ARGUMENT", "1,073,741,824 values; expected at"),
        (raw(other=["x"] * 2), "INVALID_ARGUMENT", "there is no feature 'other'"),
        (filtered(), "INVALID_ARGUMENT", "no output 'odds'; the signature has"),
        (named(model="bus"), "NOT_FOUND", "there is no model 'bus'"),
        (named(version=4), "NOT_FOUND", "the live one is 5"),
        (named(label="old"), "NOT_FOUND", "there is 'live'"),
        (raw(company=["x" * 300_000] * 2), "RESOURCE_EXHAUSTED", "larger than max"),
    ],
)
def test_a_wrong_request_is_explained(
    predictions: Any, asked: Any, status: str, part: str
) -> None:
    """Each ends with its status and one sentence."""
    with pytest.raises(grpc.RpcError) as found:
        predictions.Predict(asked)

    assert found.value.code().name == status
    assert part in found.value.details()


def test_metadata_and_status(channel: grpc.Channel, predictions: Any) -> None:
    """Clients of TensorFlow Serving find signatures and states."""
    asked = get_model_metadata_pb2.GetModelMetadataRequest()
    asked.model_spec.name = "taxi"
    asked.metadata_field.append("signature_def")
    state = get_model_status_pb2.GetModelStatusRequest()
    state.model_spec.name = "taxi"
    models = model_service_pb2_grpc.ModelServiceStub(channel)

    found = predictions.GetModelMetadata(asked)
    (version,) = models.GetModelStatus(state).model_version_status

    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert found.metadata["signature_def"].Unpack(signatures)
    assert "serving_raw" in signatures.signature_def
    assert (version.version, version.state) == (5, version.AVAILABLE)


def test_other_calls_are_unimplemented(channel: grpc.Channel) -> None:
    """Versions are changed by the registry only."""
    models = model_service_pb2_grpc.ModelServiceStub(channel)

    with pytest.raises(grpc.RpcError) as found:
        models.HandleReloadConfigRequest(predict_pb2.PredictRequest())

    assert found.value.code() is grpc.StatusCode.UNIMPLEMENTED
