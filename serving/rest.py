"""TensorFlow Serving's REST API, and what an operator asks a server.

| request | answers |
|---|---|
| `POST /v1/models/M[/versions/N or /labels/live]:predict` | predictions |
| `GET /v1/models/M[/versions/N]` | the state of the versions |
| `GET /v1/models/M[...]/metadata` | the signatures |
| `GET /healthz` | 200 while the process runs |
| `GET /readyz` | 200 while requests are answered, else 503 |
| `GET /monitoring/prometheus/metrics` | metrics |
| `GET /`, `GET /status` | a page of what the server does; the same as JSON |
| `GET /monitoring` | the page of what is monitored |

Errors are `{"error": "a sentence"}`.
"""

import asyncio
import base64
import difflib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson
from aiohttp import web
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from serving import metrics
from serving.contract import Job
from serving.live import Live
from serving.predictor import (
    DECISION_THRESHOLD,
    REQUEST_ID,
    Answered,
    Asked,
    Predictor,
    failed,
    request_id,
)
from serving.rejections import Code, RejectedError, invalid
from serving.settings import Limits
from serving.tokens import Tokens
from serving.version import Version

VERSION_HEADER = "X-Model-Version"
DEFAULT_SIGNATURE = "serving_default"

_MODEL = re.compile(
    r"/v1/models/(?P<model>[^/:]+)"
    r"(?:/versions/(?P<version>\d{1,19})|/labels/(?P<label>[^/:]+))?"
    r"(?P<what>:predict|/metadata|:\w+|)"
)
_KEYS = ("signature_name", "instances", "inputs")
_JSON = "application/json"
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


class Rest:
    """Answers HTTP requests."""

    def __init__(
        self,
        predictor: Predictor,
        live: Live,
        operations: Mapping[str, Callable[[], web.Response]],
        tokens: Tokens,
        limits: Limits,
    ) -> None:
        """Combines the parts.

        Args:
            predictor: Answers requests for predictions.
            live: The version that answers.
            operations: Answers what operators ask, by path.
            tokens: Which requests are let in.
            limits: Size of a body, and how long it may take to arrive.
        """
        self._predictor = predictor
        self._live = live
        self._tokens = tokens
        self._limits = limits
        self._open = {"/healthz": self._health, "/readyz": self._readiness}
        self._operations = operations

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers a request, whatever it is."""
        try:
            return await self._answer(request)
        except RejectedError as error:
            return _error(error)
        except Exception as error:  # noqa: BLE001 - aiohttp would answer with 500
            return _error(failed(error))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if handler := self._open.get(request.path):
            return handler()
        self._tokens.check(request.headers.get("Authorization"))
        if handler := self._operations.get(request.path):
            _require_method(request, "GET")
            return handler()
        found = _MODEL.fullmatch(request.path)
        if not found or found["what"] not in {":predict", "/metadata", ""}:
            raise RejectedError(
                Code.NOT_FOUND,
                f"there is no {request.path[:100]!r}; expected "
                f"/v1/models/{self._live.model}:predict, or without :predict or with "
                "/metadata",
            )
        number = int(found["version"]) if found["version"] else None
        asked = Asked(found["model"], number, found["label"])
        if found["what"] == ":predict":
            _require_method(request, "POST")
            return await self._predict(request, asked)
        _require_method(request, "GET")
        return self._metadata(asked) if found["what"] else self._status(asked)

    async def _predict(self, request: web.BaseRequest, asked: Asked) -> web.Response:
        given = request_id(request.headers.get(REQUEST_ID))
        try:
            body = await self._body(request)
            answered = await self._predictor.predict(
                asked, metrics.REST, given, lambda version: _job(body, version)
            )
        except RejectedError as error:
            return _error(error, given)
        headers = {REQUEST_ID: given, VERSION_HEADER: str(answered.version.number)}
        if (threshold := answered.version.threshold) is not None:
            headers[DECISION_THRESHOLD] = str(threshold)
        return web.Response(
            body=_encoded(answered), content_type=_JSON, headers=headers
        )

    async def _body(self, request: web.BaseRequest) -> bytes:
        too_large = RejectedError(
            Code.TOO_LARGE,
            f"the body has more than {self._limits.body_megabytes:g} MB, which is the "
            "limit; send fewer rows at once",
        )
        size = self._limits.body_megabytes * 1e6
        if (request.content_length or 0) > size:
            raise too_large
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await request.read()
        except TimeoutError:
            raise RejectedError(
                Code.TOO_SLOW_TO_SEND,
                f"the body didn't arrive within {self._limits.seconds:g} s",
            ) from None
        except web.HTTPRequestEntityTooLarge:
            raise too_large from None
        except web.RequestPayloadError as error:
            raise invalid(f"the body can't be read: {error}") from None

    def _status(self, asked: Asked) -> web.Response:
        states = self._live.states()
        if asked.model != self._live.model or asked.number not in {None, *states}:
            self._live.asked(asked.model, asked.number, asked.label)
        wanted = [asked.number] if asked.number is not None else list(states)
        return json_response(
            {
                "model_version_status": [
                    {
                        "version": str(number),
                        "state": states[number][0],
                        "status": {
                            "error_code": "UNKNOWN" if states[number][1] else "OK",
                            "error_message": states[number][1],
                        },
                    }
                    for number in wanted
                ]
            }
        )

    def _metadata(self, asked: Asked) -> web.Response:
        version = self._live.asked(asked.model, asked.number, asked.label)
        found = get_model_metadata_pb2.SignatureDefMap(
            signature_def=version.contract.definitions
        )
        signatures = json_format.MessageToDict(found, preserving_proto_field_name=True)
        return json_response(
            {
                "model_spec": {
                    "name": asked.model,
                    "signature_name": "",
                    "version": str(version.number),
                },
                "metadata": {"signature_def": signatures},
            }
        )

    def _health(self) -> web.Response:
        return json_response({"status": "ok"})

    def _readiness(self) -> web.Response:
        number = self._live.version.number if self._live.version else None
        found = {"ready": self._live.is_ready, "version": number}
        return json_response(found, 200 if self._live.is_ready else 503)


def _require_method(request: web.BaseRequest, method: str) -> None:
    if request.method != method:
        raise RejectedError(
            Code.WRONG_METHOD, f"{request.path[:100]!r} takes {method} only"
        )


def json_response(found: Any, status: int = 200) -> web.Response:
    """Returns an answer in JSON."""
    return web.Response(
        body=orjson.dumps(found, option=_OPTIONS), status=status, content_type=_JSON
    )


def _error(error: RejectedError, given: str = "") -> web.Response:
    answer = json_response({"error": str(error)}, error.code.http_status)
    if given:
        answer.headers[REQUEST_ID] = given
    if answer.status == 503:  # noqa: PLR2004 - HTTP's own number
        answer.headers["Retry-After"] = "1"
    if error.code is Code.UNAUTHENTICATED:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _job(body: bytes, version: Version) -> Job:
    """Reads the JSON of a request for predictions, and checks its rows."""
    found = _parsed(body)
    for key in found:
        if key not in _KEYS:
            close = difflib.get_close_matches(str(key), _KEYS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"expected {_KEYS}"
            raise invalid(f"there is no key {str(key)[:60]!r} in a request; {hint}")
    signature = found.get("signature_name") or DEFAULT_SIGNATURE
    if not isinstance(signature, str):
        raise invalid("'signature_name' is no text; expected the signature's name")
    if ("instances" in found) == ("inputs" in found):
        raise invalid(
            "a request has either 'instances', a list of rows, or 'inputs', an object "
            "of columns"
        )
    contract = version.contract
    if "instances" in found:
        rows = found["instances"]
        if not isinstance(rows, list):
            raise invalid("'instances' is no list; expected a list of rows")
        return contract.of_rows(signature, rows)
    return contract.of_columns(signature, _columns(found["inputs"], version, signature))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # TensorFlow Serving takes the bare tokens NaN and Infinity; orjson doesn't.
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise invalid(f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise invalid("the body is no JSON object")
    return found


def _columns(given: Any, version: Version, signature: str) -> dict[str, list[Any]]:
    inputs = version.contract.inputs(signature)
    # The bare value of the only input; {"b64": ...} is such a value too.
    if not isinstance(given, dict) or given.keys() == {"b64"}:
        if len(inputs) != 1:
            raise invalid("'inputs' is no object; expected one with a key per input")
        given = {inputs[0].name: given}
    for name, values in given.items():
        if not isinstance(values, list):
            raise invalid(
                f"input {name[:60]!r} is no list; expected a list of one value per row"
            )
    return given


def _encoded(answered: Answered) -> bytes:
    """Returns the JSON of predictions: rows if rows were sent, columns for columns."""
    found = {name: _readable(name, v) for name, v in answered.answers.items()}
    single = next(iter(found.values())) if len(found) == 1 else None
    if not answered.job.in_rows:
        value = found if single is None else single
        return orjson.dumps({"outputs": value}, option=_OPTIONS)
    if single is None:
        names = list(found)
        rows = [
            dict(zip(names, values, strict=True))
            for values in zip(*map(_listed, found.values()), strict=True)
        ]
        return orjson.dumps({"predictions": rows}, option=_OPTIONS)
    return orjson.dumps({"predictions": single}, option=_OPTIONS)


def _listed(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _readable(name: str, values: Any) -> Any:
    """Returns an output for JSON: texts as text, bytes in base64."""
    if isinstance(values, np.ndarray):
        # A slice of a call that joined requests: orjson wants memory of its own.
        return np.ascontiguousarray(values) if values.ndim else values.item()
    return _text(name, values)


def _text(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_text(name, each) for each in value]
    # TensorFlow Serving goes by the name; what is no text can't be sent otherwise.
    if not name.endswith("_bytes"):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(value).decode()}
