"""TensorFlow Serving's gRPC API: PredictionService and ModelService.

Predict, GetModelMetadata and GetModelStatus are answered, with the messages of the
package tensorflow-serving-api. Classify, Regress and MultiInference are for signatures
that the project doesn't export, and versions are changed by the registry only: these
calls end with UNIMPLEMENTED.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.any_pb2 import Any as AnyMessage
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import metrics
from serving.contract import Column, Job
from serving.live import Live
from serving.predictor import (
    DECISION_THRESHOLD,
    REQUEST_ID,
    Asked,
    Predictor,
    failed,
    request_id,
)
from serving.rejections import RejectedError, invalid
from serving.rest import DEFAULT_SIGNATURE
from serving.settings import Limits
from serving.tokens import Tokens
from serving.version import Version

_SIGNATURES = "signature_def"
# Field of a TensorProto that holds values of a type; clients read these.
_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
}
_TYPES = {
    np.dtype(np.float32): types_pb2.DT_FLOAT,
    np.dtype(np.float64): types_pb2.DT_DOUBLE,
    np.dtype(np.int32): types_pb2.DT_INT32,
    np.dtype(np.int64): types_pb2.DT_INT64,
    np.dtype(np.bool_): types_pb2.DT_BOOL,
}
# Of a tensor: one that holds one value may claim to have any shape.
_MOST_VALUES = 1_000_000

Call = Callable[[Any], Awaitable[Any]]


class Services(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """Answers gRPC calls."""

    def __init__(self, predictor: Predictor, live: Live, tokens: Tokens) -> None:
        """Combines the parts.

        Args:
            predictor: Answers requests for predictions.
            live: The version that answers.
            tokens: Which requests are let in.
        """
        self._predictor = predictor
        self._live = live
        self._tokens = tokens

    async def Predict(  # noqa: N802 - the service's name for it
        self,
        request: predict_pb2.PredictRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> predict_pb2.PredictResponse:
        """Answers a request for predictions."""
        given = request_id(_metadata(context).get(REQUEST_ID))
        # Also of a failed call: it is what the client can ask us about.
        context.set_trailing_metadata(((REQUEST_ID, given),))
        return await self._answered(
            context, lambda: self._predict(request, given, context)
        )

    async def GetModelMetadata(  # noqa: N802 - as above
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Answers with the signatures of the version that answers."""

        async def answer() -> get_model_metadata_pb2.GetModelMetadataResponse:
            if list(request.metadata_field) != [_SIGNATURES]:
                raise invalid(f"metadata_field must be [{_SIGNATURES!r}]")
            asked = _asked(request.model_spec)
            version = self._live.asked(asked.model, asked.number, asked.label)
            found = get_model_metadata_pb2.GetModelMetadataResponse()
            _describe(found.model_spec, asked, version, "")
            packed = AnyMessage()
            packed.Pack(
                get_model_metadata_pb2.SignatureDefMap(
                    signature_def=version.contract.definitions
                )
            )
            found.metadata[_SIGNATURES].CopyFrom(packed)
            return found

        return await self._answered(context, answer)

    async def GetModelStatus(  # noqa: N802 - as above
        self,
        request: get_model_status_pb2.GetModelStatusRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Answers with the states of the versions."""

        async def answer() -> get_model_status_pb2.GetModelStatusResponse:
            asked = _asked(request.model_spec)
            states = self._live.states()
            if asked.model != self._live.model or asked.number not in {None, *states}:
                self._live.asked(asked.model, asked.number, asked.label)
            found = get_model_status_pb2.GetModelStatusResponse()
            for number, (state, problem) in states.items():
                if asked.number in {None, number}:
                    one = found.model_version_status.add(version=number)
                    one.state = get_model_status_pb2.ModelVersionStatus.State.Value(
                        state
                    )
                    one.status.error_code = 2 if problem else 0
                    one.status.error_message = problem
            return found

        return await self._answered(context, answer)

    async def _answered(
        self, context: "grpc.aio.ServicerContext[Any, Any]", answer: Callable[[], Any]
    ) -> Any:
        """Returns an answer, or ends the call with the status of a rejection."""
        try:
            self._tokens.check(_metadata(context).get("authorization"))
            return await answer()
        except RejectedError as error:
            rejected = error
        except Exception as error:  # noqa: BLE001 - gRPC would answer with its text
            rejected = failed(error)
        status = getattr(grpc.StatusCode, rejected.code.grpc_name)
        return await context.abort(status, str(rejected))

    async def _predict(
        self,
        request: predict_pb2.PredictRequest,
        given: str,
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> predict_pb2.PredictResponse:
        asked = _asked(request.model_spec)
        signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
        answered = await self._predictor.predict(
            asked, metrics.GRPC, given, lambda version: _job(request, version)
        )
        if (threshold := answered.version.threshold) is not None:
            context.set_trailing_metadata(
                ((REQUEST_ID, given), (DECISION_THRESHOLD, str(threshold)))
            )
        found = predict_pb2.PredictResponse()
        _describe(found.model_spec, asked, answered.version, signature)
        for name, values in answered.answers.items():
            if not request.output_filter or name in request.output_filter:
                _fill(found.outputs[name], values)
        return found


def server(services: Services, limits: Limits) -> "grpc.aio.Server":
    """Returns a server that answers the two services."""
    size = int(limits.body_megabytes * 1e6)
    found = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", -1),
            # Two servers on one port would each get half of the requests.
            ("grpc.so_reuseport", 0),
        ]
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(services, found)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(services, found)
    return found


def _metadata(context: "grpc.aio.ServicerContext[Any, Any]") -> Mapping[str, str]:
    pairs: Sequence[tuple[str, Any]] = context.invocation_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}


def _asked(spec: Any) -> Asked:
    number = spec.version.value if spec.HasField("version") else None
    return Asked(spec.name, number, spec.version_label or None)


def _describe(spec: Any, asked: Asked, version: Version, signature: str) -> None:
    spec.name = asked.model
    spec.signature_name = signature
    spec.version.value = version.number


def _job(request: predict_pb2.PredictRequest, version: Version) -> Job:
    """Reads the tensors of a request for predictions, and checks its rows."""
    signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
    contract = version.contract
    inputs = {column.name: column for column in contract.inputs(signature)}
    outputs = contract.definitions[signature].outputs
    for name in request.output_filter:
        if name not in outputs:
            raise invalid(
                f"there is no output {name[:60]!r}; the signature has "
                f"{', '.join(sorted(outputs))}"
            )
    if missing := sorted(inputs.keys() - request.inputs.keys()):
        raise invalid(f"input {missing[0]!r} is absent; expected {', '.join(inputs)}")
    types = contract.definitions[signature].inputs
    columns = {}
    for name, tensor in request.inputs.items():
        column = inputs.get(name) or contract.feature(name)
        if column is not None:
            _check_tensor(column, tensor, types[name].dtype if name in types else None)
            columns[name] = _values(name, tensor)
    return contract.of_columns(signature, columns)


def _check_tensor(
    column: Column, tensor: tensor_pb2.TensorProto, dtype: int | None
) -> None:
    """Checks a tensor by what it says of itself, before memory is taken for it."""
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    wanted = [-1, *column.shape]
    fits = len(sizes) == len(wanted) and all(
        size >= 0 and most in {-1, size}
        for size, most in zip(sizes, wanted, strict=True)
    )
    if not fits or tensor.tensor_shape.unknown_rank:
        raise invalid(
            f"input {column.name!r} has shape {sizes}; expected {wanted}, where -1 is "
            "any size and the first one is the rows"
        )
    if math.prod(sizes) > _MOST_VALUES:
        raise invalid(
            f"input {column.name!r} has {math.prod(sizes):,} values; expected at most "
            f"{_MOST_VALUES:,}"
        )
    if dtype is not None and tensor.dtype != dtype:
        raise invalid(
            f"input {column.name!r} is {_type_name(tensor.dtype)}; expected "
            f"{_type_name(dtype)}"
        )


def _values(name: str, tensor: tensor_pb2.TensorProto) -> list[Any]:
    """Returns the values of a tensor, one per row."""
    try:
        found: list[Any] = tf.make_ndarray(tensor).tolist()
    except (TypeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else "it is empty"
        raise invalid(f"input {name!r} can't be read: {reason}") from None
    return found


def _type_name(dtype: int) -> str:
    try:
        return str(types_pb2.DataType.Name(dtype))
    except ValueError:
        return f"type {dtype}"


def _fill(tensor: tensor_pb2.TensorProto, values: Any) -> None:
    """Writes an output into its typed field, which is what clients read."""
    if isinstance(values, np.ndarray) and values.dtype in _TYPES:
        tensor.dtype = _TYPES[values.dtype]
        shape: Sequence[int] = values.shape
        getattr(tensor, _FIELDS[tensor.dtype]).extend(values.ravel().tolist())
    elif isinstance(values, np.ndarray):
        tensor.CopyFrom(tf.make_tensor_proto(values))
        return
    else:
        array = np.asarray(values, object)
        tensor.dtype = types_pb2.DT_STRING
        shape = array.shape
        tensor.string_val.extend(array.ravel().tolist())
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
