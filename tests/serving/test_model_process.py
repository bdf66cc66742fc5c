"""What a model's process reports and answers, over its socket."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving import frames, model_process
from serving.model_process import ANSWER, FAILED, READY, REFUSED, Priority
from tests.serving.conftest import ROW, score


@contextmanager
def running(path: Path, priority: Priority = Priority.USUAL) -> Iterator[socket.socket]:
    """Runs what the process runs, in a thread."""
    ours, theirs = socket.socketpair()
    arguments = ({"path": str(path), "priority": priority}, theirs)
    thread = threading.Thread(target=model_process.run, args=arguments)
    thread.start()
    with ours:
        yield ours
    thread.join()
    theirs.close()


def asked(connection: socket.socket, *message: Any) -> tuple[Any, ...]:
    """Sends a message; returns the answer."""
    frames.send(connection, message)
    answer = frames.receive(connection)
    assert answer
    return answer


@pytest.fixture(autouse=True)
def _leave_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of threads can be set once per process, before TensorFlow starts."""
    for name in ("inter", "intra"):
        setter = f"set_{name}_op_parallelism_threads"
        monkeypatch.setattr(tf.config.threading, setter, lambda _: None)


@pytest.mark.parametrize(
    ("priority", "expected"),
    [
        (Priority.USUAL, []),
        (Priority.LOADS_LAST, ["thread 19"]),
        (Priority.IDLE, ["process 19", "thread idle"]),
    ],
)
def test_it_leaves_the_cores_to_others_if_asked(
    saved_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    priority: Priority,
    expected: list[str],
) -> None:
    """A version that will be live lowers the thread that loads it, a shadow all."""
    lowered: list[str] = []

    def lower(_: int, thread: int, value: int) -> None:
        lowered.append(f"{'thread' if thread else 'process'} {value}")

    def idle(thread: int, policy: int, _: object) -> None:
        name = "idle" if policy == os.SCHED_IDLE else str(policy)
        lowered.append(f"{'thread' if thread else 'process'} {name}")

    monkeypatch.setattr(os, "setpriority", lower)
    monkeypatch.setattr(os, "sched_setscheduler", idle)

    with running(saved_model, priority) as connection:
        frames.receive(connection)

    # One line for all threads.
    assert list(dict.fromkeys(lowered)) == expected


def test_it_reports_then_answers(saved_model: Path) -> None:
    """The signatures are called frozen, and answer as the model does."""
    columns = {name: [value] * 2 for name, value in ROW.items()}
    columns["company"] = [b"Flash", b"other"]

    with running(saved_model) as connection:
        what, info = frames.receive(connection) or ()
        answer, found, _ = asked(connection, "serving_raw", columns)
        refused = asked(connection, "serving_default", {"examples": [b"\xff\x00"]})

    assert what == READY
    assert info["threshold"] == 0.25
    assert set(info["frozen"]) >= {"serving_raw", "serving_default"}
    assert info["whole"] == ["total"]
    assert answer == ANSWER
    expected = [score(ROW), score({**ROW, "company": "other"})]
    assert found["probability"].tolist() == expected
    assert refused[0] == REFUSED
    assert len(refused[1].splitlines()) == 1


def test_the_signature_is_called_where_freezing_fails(
    saved_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without TensorFlow's private call the answers are the same."""

    def fail(_: object) -> None:
        raise AttributeError("call_preflattened")

    name = convert_to_constants.convert_variables_to_constants_v2.__name__
    monkeypatch.setattr(convert_to_constants, name, fail)
    columns = {"fare": [1.0], "hour": [2], "company": [b"Flash"]}

    with running(saved_model) as connection:
        _, info = frames.receive(connection) or ()
        _, found, _ = asked(connection, "serving_raw", columns)

    assert info["frozen"] == []
    assert found["probability"].tolist() == [score(ROW)]


def test_a_broken_version_is_reported(tmp_path: Path) -> None:
    """A directory without a model gives one sentence."""
    with running(tmp_path) as connection:
        what, reason = frames.receive(connection) or ()

    assert what == FAILED
    assert "saved_model.pb" in reason


def test_recorded_requests_warm_up(tmp_path: Path) -> None:
    """The file that TensorFlow Serving warms up with is read."""
    request = predict_pb2.PredictRequest()
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto([b"text"]))
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
    (tmp_path / "assets.extra").mkdir()
    file = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(log.SerializeToString())

    (found,) = model_process._recorded(tmp_path)

    assert found == request
    assert list(model_process._recorded(tmp_path / "assets.extra")) == []
