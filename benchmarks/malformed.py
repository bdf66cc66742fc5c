"""Malformed requests over HTTP and gRPC, by hypothesis; what a server answers to them.

A request is made of a good one by changes: values of other types, keys that nobody
knows, bytes cut off, shapes that lie. Whatever comes, an answer is 200, one of the
statuses that blame the client, or 503, and never a traceback.
"""

import collections
import http.client
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

ALLOWED = frozenset({200, 400, 401, 404, 405, 408, 411, 413, 414, 431, 503})
"""Statuses of HTTP that may be answered."""
ALLOWED_CODES = frozenset(
    {
        *("OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED"),
        *("UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED"),
    }
)
"""Statuses of gRPC that may be answered."""

_RAW = "serving_raw"
# Not its first word alone: hypothesis may send that, and the answer quotes it.
_TRACEBACK = "Traceback (most recent call last)"
_LARGE = 1 << 62
# How long to wait for an answer to what may be the beginning of a request.
_PATIENCE_SECONDS = 0.1
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(max_size=30),
    st.builds(lambda text: {"b64": text}, st.text(max_size=20)),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner)
    ),
    max_leaves=8,
)
_signatures = st.one_of(
    st.sampled_from(["serving_raw", "serving_raw", "serving_default", ""]), _values
)


def _bodies(row: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
    """Returns bodies: from random bytes to a good row with a changed value."""
    names = st.sampled_from([*row, "x", "", "\x00"])
    rows = st.one_of(
        st.dictionaries(names, _values, max_size=5),
        st.dictionaries(names, _values, max_size=2).map(lambda more: {**row, **more}),
    )
    columns = rows.map(lambda row: {name: [value] for name, value in row.items()})
    calls = st.one_of(
        _values,
        st.fixed_dictionaries(
            {"instances": st.one_of(_values, st.lists(rows, max_size=3))},
            optional={"signature_name": _signatures, "more": _values},
        ),
        st.fixed_dictionaries(
            {"inputs": st.one_of(rows, columns), "signature_name": _signatures}
        ),
    )
    encoded = calls.map(lambda body: json.dumps(body).encode())
    return st.one_of(
        st.binary(max_size=200),
        encoded,
        encoded,
        encoded.map(lambda text: text[: len(text) // 2]),
    )


_paths = st.one_of(
    st.just(":predict"),
    st.just(":predict"),
    st.sampled_from(["", "/metadata", "/versions/1:predict", "/labels/x:predict"]),
    st.text("abc/%.:?#", max_size=20),
)
_methods = st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "DELETE", "OPTIONS"])
_raw_bytes = st.one_of(
    st.binary(min_size=1, max_size=100),
    st.sampled_from(
        [
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        ]
    ),
)
_sizes = st.lists(st.sampled_from([-1, 0, 1, 2, 1000, _LARGE]), max_size=3)


@st.composite
def _tensor_changes(draw: st.DrawFn) -> Callable[[Any], None]:
    """Returns a change of a TensorProto."""
    dtype = draw(st.sampled_from([0, 1, 3, 7, 9, 10, 14, 19, 20, 21, 99]))
    sizes = draw(_sizes)
    content = draw(st.binary(max_size=40))
    texts = draw(st.lists(st.binary(max_size=40), max_size=3))
    floats = draw(st.lists(st.floats(width=32), max_size=3))

    clears = draw(st.booleans())

    def change(tensor: Any) -> None:
        if clears:
            tensor.Clear()
        tensor.dtype = dtype
        for size in sizes:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = content
        tensor.string_val.extend(texts)
        tensor.float_val.extend(floats)

    return change


class Sender:
    """Sends requests, and counts the answers by status.

    Attributes:
        counts: Number of answers by status; a connection that was closed is "closed".
        unexpected: Answers that no malformed request may get.
    """

    def __init__(self, target: "Target") -> None:
        """Prepares connections to a server."""
        self.counts: collections.Counter[str] = collections.Counter()
        self.unexpected: list[str] = []
        self._target = target
        self._http = http.client.HTTPConnection("127.0.0.1", target.rest, timeout=30)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{target.grpc}")
        stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._predict = stub.Predict

    def over_http(self, method: str, path: str, body: bytes) -> None:
        """Sends a request that is HTTP."""
        try:
            self._http.request(method, f"/v1/models/{self._target.model}{path}", body)
            reply = self._http.getresponse()
            text = reply.read()
        except http.client.InvalidURL:
            self.counts["not sent"] += 1
            return
        except (http.client.HTTPException, OSError):
            self._http.close()
            self.counts["closed"] += 1
            return
        self.counts[str(reply.status)] += 1
        if reply.status not in ALLOWED or _TRACEBACK.encode() in text:
            self.unexpected.append(f"{method} {path} {body!r}: {reply.status} {text!r}")

    def raw(self, data: bytes) -> None:
        """Sends bytes that may be no HTTP, on a connection of their own."""
        answer = b""
        port = self._target.rest
        with socket.create_connection(("127.0.0.1", port), _PATIENCE_SECONDS) as to:
            try:
                to.sendall(data)
                answer = to.recv(1 << 16)
            except OSError:
                pass  # It waits for the rest of a request, or has closed already.
        status = answer[9:12].decode("ascii", "replace") if answer else "no answer"
        self.counts[status] += 1
        known = {str(each) for each in ALLOWED} | {"no answer"}
        if status not in known or _TRACEBACK.encode() in answer:
            self.unexpected.append(f"{data!r}: {answer!r}")

    def over_grpc(
        self, model: str, signature: str, inputs: Mapping[str, Callable[[Any], None]]
    ) -> None:
        """Sends a request for predictions over gRPC."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        for name, value in self._target.row.items() if signature == _RAW else ():
            _fill(request.inputs[name], value)
        for name, change in inputs.items():
            change(request.inputs[name])
        code, details = "OK", ""
        try:
            self._predict(request, timeout=30)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details()
        self.counts[code] += 1
        if code not in ALLOWED_CODES or _TRACEBACK in details:
            self.unexpected.append(f"{request}: {code} {details}")

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()
        self._channel.close()


def _fill(tensor: Any, value: Any) -> None:
    """Makes a tensor of one row."""
    tensor.tensor_shape.dim.add(size=1)
    if isinstance(value, str):
        tensor.dtype = types_pb2.DT_STRING
        tensor.string_val.append(value.encode())
    elif isinstance(value, float):
        tensor.dtype = types_pb2.DT_FLOAT
        tensor.float_val.append(value)
    else:
        tensor.dtype = types_pb2.DT_INT64
        tensor.int64_val.append(value)


@dataclass(frozen=True)
class Target:
    """A server on loopback, and a request that it answers.

    Attributes:
        rest: Its port for REST.
        grpc: Its port for gRPC.
        model: The model's name.
        row: A good row of the signature for raw values; whole numbers are int64.
    """

    rest: int
    grpc: int
    model: str
    row: Mapping[str, Any]


def send(target: Target, requests: int) -> dict[str, Any]:
    """Sends malformed requests, nearly a half over HTTP and as many over gRPC.

    Args:
        target: Where to.
        requests: How many, about; the tenth between the halves is no HTTP at all.

    Returns:
        "answers", their number by status, and "unexpected", a list of what no
        malformed request may get.
    """
    sender = Sender(target)
    # Requests, not bugs, are looked for: nothing is shrunk, and failures are collected.
    how = settings(
        max_examples=max(1, requests * 9 // 20),
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    how(given(_methods, _paths, _bodies(target.row))(sender.over_http))()
    raw = settings(how, max_examples=max(1, requests // 10))
    raw(given(_raw_bytes)(sender.raw))()
    models = st.sampled_from([target.model, target.model, target.model, "", "other"])
    texts = st.sampled_from([_RAW, _RAW, "serving_default", "", "x"])
    names = st.sampled_from([*target.row, "examples", "x"])
    inputs = st.dictionaries(names, _tensor_changes(), max_size=2)
    how(given(models, texts, inputs)(sender.over_grpc))()
    sender.close()
    return {"answers": dict(sender.counts), "unexpected": sender.unexpected}
