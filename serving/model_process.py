"""A process that has one version of the model loaded, and answers batches.

If another version answers, it loads in a thread of the lowest priority, so that the
live one hardly notices. A shadow loads at that priority too, and then runs only where a
core is idle. It warms up before it reports that it is ready. Each signature is frozen:
variables become constants, and one private call of TensorFlow 2.21 skips half of the
overhead of a signature's call (0.5 instead of 0.95 ms for one row of the taxi model).
Where that call is missing, or answers other numbers, the signature itself is used.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow.python.framework import convert_to_constants
from tensorflow_serving.apis import prediction_log_pb2

from models.declarations import MISSING_FLOAT, MISSING_INTEGER, MISSING_TEXT
from serving import description, frames

_LOG = logging.getLogger(__name__)

READY, FAILED, ANSWER, REFUSED = "ready", "failed", "answer", "refused"
"""First elements of the messages that it sends."""


class Priority(StrEnum):
    """What a process leaves to the version that answers clients."""

    USUAL = "usual"
    """Nothing: it is that version."""
    LOADS_LAST = "loads last"
    """The cores, while it loads: it will be that version."""
    IDLE = "idle"
    """The cores, while it loads; then every core that anybody else wants: a shadow."""


_LOWEST_PRIORITY = 19
_WARM_UP_ROWS = (1, 2, 3, 8, 32)
_WARM_UP_TURNS = 10
_MOST_WARM_UP_REQUESTS = 1_000
_ROWS_TO_COMPARE = 3
# Rank of an input that takes a list per row.
_LISTS = 2
_DEFAULT_SIGNATURE = "serving_default"
_WARM_UP_FILE = "tf_serving_warmup_requests"

Columns = Mapping[str, Any]
Answers = dict[str, Any]
Call = Callable[[Columns], Answers]


def run(arguments: dict[str, Any], connection: socket.socket) -> None:
    """Loads a version, then answers until the server closes the connection.

    Sends `(READY, info)` or `(FAILED, reason)` first. Then, for each message
    `(signature, columns)`, sends `(ANSWER, answers, seconds)` or `(REFUSED, reason)`.

    Args:
        arguments: "path", the directory of the version, and "priority", a `Priority`.
        connection: The server's socket.
    """
    if arguments["priority"] == Priority.IDLE:
        # TensorFlow's threads, still to be made, inherit it. Loading on idle cores only
        # would never end on a machine that has none.
        os.setpriority(os.PRIO_PROCESS, 0, _LOWEST_PRIORITY)
    # Small models gain nothing from several threads, and requests wait for them: P95
    # of one row is 0.9 instead of 1.3 ms.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with _without_notices():
        # Makes TensorFlow's own threads now, at the usual priority.
        tf.constant(0).numpy()
    path = Path(arguments["path"])
    if arguments["priority"] == Priority.LOADS_LAST:
        loaded = _loaded_in_the_background(path)
    else:
        loaded = _loaded(path)
    if isinstance(loaded, Exception):
        _LOG.error("%s can't be loaded", arguments["path"], exc_info=loaded)
        frames.send(connection, (FAILED, _sentence(loaded)))
        return
    if arguments["priority"] == Priority.IDLE:
        _use_idle_cores_only()
    frames.send(connection, (READY, loaded.info))
    while message := frames.receive(connection):
        frames.send(connection, _answered(loaded.calls, *message))


def _use_idle_cores_only() -> None:
    """Puts all threads below any priority: whoever wakes up takes the core at once."""
    for thread in Path("/proc/self/task").iterdir():
        # A thread may have ended since it was listed.
        with suppress(ProcessLookupError):
            os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))


@contextmanager
def _without_notices() -> Iterator[None]:
    """Hides what C++ prints during the block, such as that there is no GPU."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _answered(
    calls: Mapping[str, Call], signature: str, columns: Columns
) -> tuple[Any, ...]:
    started = time.perf_counter()
    try:
        answers = calls[signature](columns)
    except Exception as error:  # noqa: BLE001 - whatever it is, others are waiting
        return REFUSED, _sentence(error)
    return ANSWER, answers, time.perf_counter() - started


def _sentence(error: Exception) -> str:
    """Returns the first line of an error, without TensorFlow's list of nodes."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__


@dataclass(frozen=True)
class _Loaded:
    """A version that can be called.

    Attributes:
        calls: Answers columns, by signature.
        info: What the server must know of it, see `_load`.
    """

    calls: Mapping[str, Call]
    info: dict[str, Any]


def _loaded(path: Path) -> "_Loaded | Exception":
    try:
        return _load(path)
    except Exception as error:  # noqa: BLE001 - it is reported to the server
        return error


def _loaded_in_the_background(path: Path) -> "_Loaded | Exception":
    found: list[_Loaded | Exception] = []

    def load() -> None:
        # Of this thread only; a process can't raise its priority again.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        found.append(_loaded(path))

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    return found[0]


def _load(path: Path) -> _Loaded:
    """Loads and warms up a version.

    `_Loaded.info` has the serialized SignatureDef of each signature, the names of
    those that are called frozen, those whose answers don't have one value per row, the
    process's id, what the version says of itself (`description`), and the seconds that
    loading took.
    """
    started = time.monotonic()
    definitions = _definitions(path)
    model = tf.saved_model.load(str(path))
    signatures = {n: s for n, s in model.signatures.items() if n in definitions}
    calls: dict[str, Call] = {}
    frozen, whole = [], []
    samples = _Samples(signatures)
    for name, signature in signatures.items():
        plain = _plain(signature, model)
        columns = samples.of(name, _ROWS_TO_COMPARE)
        quick = _frozen(signature, plain, columns)
        calls[name] = quick or plain
        if quick:
            frozen.append(name)
        if not _is_by_row(calls[name], columns):
            whole.append(name)
    _warm_up(path, samples, calls)
    said = description.of_version(path)
    info = {
        "signatures": {n: definitions[n].SerializeToString() for n in calls},
        "frozen": frozen,
        "whole": whole,
        "process": os.getpid(),
        "threshold": said.threshold,
        "inputs": dict(said.inputs),
        "seconds": time.monotonic() - started,
    }
    return _Loaded(calls, info)


def _definitions(path: Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    """Reads the signatures that can be called."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    found = saved.meta_graphs[0].signature_def
    return {n: d for n, d in found.items() if d.method_name.endswith("/predict")}


def _tensors(columns: Columns, specs: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    return {name: _tensor(columns[name], spec) for name, spec in specs.items()}


def _tensor(values: Any, spec: Any) -> tf.Tensor:
    if spec.shape.rank == _LISTS and isinstance(values, list):
        values = _filled_up(values, spec.dtype)
    if spec.dtype == tf.string:
        return tf.constant(values, tf.string)
    # By way of NumPy: twice as fast as `tf.constant` of a list, for numbers.
    return tf.constant(np.asarray(values, spec.dtype.as_numpy_dtype))


def _filled_up(rows: list[list[Any]], dtype: tf.DType) -> list[list[Any]]:
    """Makes lists of values as long as the longest, by values that mean "missing"."""
    width = max(map(len, rows))
    if dtype == tf.string:
        missing: Any = MISSING_TEXT.encode()
    else:
        missing = MISSING_FLOAT if dtype.is_floating else MISSING_INTEGER
    return [[*row, *[missing] * (width - len(row))] for row in rows]


def _plain(signature: Any, model: Any) -> Call:
    specs = signature.structured_input_signature[1]

    # The model is an argument to keep it: a signature alone doesn't hold its variables.
    def call(columns: Columns, _: Any = model) -> Answers:
        answers = signature(**_tensors(columns, specs))
        return {name: _values(tensor) for name, tensor in answers.items()}

    return call


def _frozen(signature: Any, plain: Call, sample: Columns) -> Call | None:
    """Returns a faster call of a signature; `None` if it can't be had or trusted."""
    specs = signature.structured_input_signature[1]
    try:
        constant = convert_to_constants.convert_variables_to_constants_v2(signature)
        inputs = [tensor.name.partition(":")[0] for tensor in constant.inputs]
        own = [
            tensor.name.partition(":")[0] for tensor in signature.inputs[len(specs) :]
        ]
        # What is no variable stays an input, such as the tables of vocabularies.
        captured = dict(zip(own, signature.captured_inputs, strict=True))
        # The structured outputs are sorted by name, and so are the flat ones.
        names = sorted(signature.structured_outputs)
        function = constant._inference_function.call_preflattened  # noqa: SLF001 - see the module

        def call(columns: Columns) -> Answers:
            tensors = {**captured, **_tensors(columns, specs)}
            answers = function([tensors[name] for name in inputs])
            return {n: _values(t) for n, t in zip(names, answers, strict=True)}

        if _are_close(call(sample), plain(sample)):
            return call
    except Exception as error:  # noqa: BLE001 - a private call may fail in any way
        _LOG.info("a signature is called as it is: %s", _sentence(error))
    return None


def _are_close(one: Answers, other: Answers) -> bool:
    return one.keys() == other.keys() and all(
        np.shape(one[name]) == np.shape(other[name])
        and (
            np.allclose(one[name], other[name], rtol=1e-4, atol=1e-6, equal_nan=True)
            if isinstance(one[name], np.ndarray)
            else one[name] == other[name]
        )
        for name in one
    )


def _values(tensor: tf.Tensor) -> Any:
    """Returns numbers as an array, and texts as (nested) lists of bytes."""
    found = np.asarray(tensor.numpy())
    return found.tolist() if tensor.dtype == tf.string else found


class _Samples:
    """Input to warm up with, made from the types of the inputs alone."""

    def __init__(self, signatures: Mapping[str, Any]) -> None:
        self._specs = {
            name: signature.structured_input_signature[1]
            for name, signature in signatures.items()
        }
        widest: Mapping[str, Any] = max(self._specs.values(), key=len, default={})
        # An input of texts alone takes tf.Examples: with the columns that the
        # signature for raw values names, so that parsing finds what it requires.
        self._example = _example(widest) if len(widest) > 1 else b""

    def of(self, signature: str, rows: int) -> Columns:
        """Returns zeros and empty texts for each input of a signature, [rows, ...]."""
        specs = self._specs[signature]
        text = self._example if len(specs) == 1 else b""
        found = {}
        for name, spec in specs.items():
            sizes = [rows, *(size or 1 for size in spec.shape[1:])]
            if spec.dtype == tf.string:
                found[name] = np.empty(sizes, object)
                # np.full would cut off the zeros at the end of a serialized Example.
                found[name].fill(text)
            else:
                found[name] = np.zeros(sizes, spec.dtype.as_numpy_dtype)
        return found


def _example(specs: Mapping[str, Any]) -> bytes:
    example = tf.train.Example()
    for name, spec in specs.items():
        feature = example.features.feature[name]
        if spec.dtype == tf.string:
            feature.bytes_list.value.append(b"")
        elif spec.dtype.is_floating:
            feature.float_list.value.append(0)
        else:
            feature.int64_list.value.append(0)
    return bytes(example.SerializeToString())


def _is_by_row(call: Call, sample: Columns) -> bool:
    """Whether a signature answers one value per row, so that requests can be joined."""
    try:
        answers = call(sample)
    except Exception:  # noqa: BLE001 - it may need columns that nothing names
        return True
    return all(np.shape(each)[:1] == (_ROWS_TO_COMPARE,) for each in answers.values())


def _warm_up(path: Path, samples: _Samples, calls: Mapping[str, Call]) -> None:
    """Calls each signature often enough that the first request isn't slow."""
    for request in _recorded(path):
        signature = request.model_spec.signature_name or _DEFAULT_SIGNATURE
        if signature in calls:
            tensors = {n: tf.make_ndarray(t) for n, t in request.inputs.items()}
            calls[signature](tensors)
    for name in calls:
        for rows in _WARM_UP_ROWS:
            columns = samples.of(name, rows)
            for _ in range(_WARM_UP_TURNS):
                if _answered(calls, name, columns)[0] == REFUSED:
                    break


def _recorded(path: Path) -> Any:
    """Yields the requests that TensorFlow Serving would warm up with."""
    file = path / "assets.extra" / _WARM_UP_FILE
    if not file.is_file():
        return
    records = tf.data.TFRecordDataset(str(file)).take(_MOST_WARM_UP_REQUESTS)
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.HasField("predict_log"):
            yield log.predict_log.request
