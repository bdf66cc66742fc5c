"""A server's start, its answers over REST, its log, and its stop."""

import base64
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tensorflow as tf

from serving import request_log
from tests.e2e.warm import WarmProcess
from tests.serving.conftest import ROW, Server, publish, score, start, wait_until

pytestmark = pytest.mark.e2e

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - what the server must not do by mistake


def example(**row: object) -> bytes:
    """Returns a serialized tf.Example."""
    found = tf.train.Example()
    for name, value in row.items():
        feature = found.features.feature[name]
        if isinstance(value, str):
            feature.bytes_list.value.append(value.encode())
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        else:
            feature.int64_list.value.append(value)
    return bytes(found.SerializeToString())


def logged(server: Server, request_id: str) -> list[dict[str, object]]:
    """Returns the log's rows of a request, once they are in a segment."""
    directory = request_log.directory_of(server.output, "taxi")
    found: list[dict[str, object]] = []

    def look() -> bool:
        batches = request_log.read(directory, failed=True)
        rows = [row for batch in batches for row in batch.to_pylist()]
        found.extend(row for row in rows if row["request_id"] == request_id)
        return bool(found)

    wait_until(look)
    return found


def test_rows_are_answered_and_logged(server: Server) -> None:
    """Rows over REST get the model's answers, the request's id, and rows of the log."""
    blue = {"fare": 3, "hour": 1, "company": None, "trip_id": "t-1"}

    reply = server.predict(ROW, blue, X_Request_Id="first")

    answers = [score(ROW), score(blue)]
    assert (reply.status, reply.json()) == (200, {"predictions": answers})
    assert reply.headers["X-Request-Id"] == "first"
    assert reply.headers["X-Model-Version"] == "5"
    assert reply.headers["X-Decision-Threshold"] == "0.25"
    one, two = logged(server, "first")
    assert one["prediction"] == answers[0]
    assert (one["version"], one["signature"]) == (5, "serving_raw")
    assert (one["threshold"], one["status"]) == (0.25, "OK")
    assert two["row"] == 1
    assert two["features.fare"] == 3.0
    assert two["features.company"] is None
    assert two["features.trip_id"] == "t-1"


def test_columns_are_answered_in_columns(server: Server) -> None:
    """TensorFlow Serving's columnar format answers "outputs"."""
    columns = {name: [value, value] for name, value in ROW.items()}
    body = {"signature_name": "serving_raw", "inputs": columns}

    reply = server.ask(body=body)

    assert reply.json() == {"outputs": [score(ROW)] * 2}


def test_examples_are_answered_and_logged(server: Server) -> None:
    """Serialized tf.Examples in base64 are parsed, answered and logged as features."""
    text = base64.b64encode(example(fare=2.5, hour=0, company="Flash")).decode()
    body = {"instances": [{"b64": text}, {"examples": {"b64": text}}]}

    reply = server.ask(body=body, headers={"X-Request-Id": "examples"})

    expected = score({"fare": 2.5, "hour": 0, "company": "Flash"})
    assert reply.json() == {"predictions": [expected] * 2}
    first, _ = logged(server, "examples")
    assert first["features.fare"] == 2.5
    assert first["features.company"] == "Flash"
    assert first["signature"] == "serving_default"


def test_several_outputs_are_objects(server: Server) -> None:
    """Each row has all outputs; bytes are in base64, and the log has the numbers."""
    body = {"signature_name": "several", "instances": ["Blue"]}

    reply = server.ask(body=body, headers={"X-Request-Id": "several"})

    assert reply.json() == {
        "predictions": [
            {"name": "Blue", "raw_bytes": {"b64": "Qmx1ZQ=="}, "scores": [0, 0, 1]}
        ]
    }
    (row,) = logged(server, "several")
    assert (row["prediction"], row["scores"]) == (None, [0, 0, 1])


def test_lists_of_different_lengths(server: Server) -> None:
    """Rows may have lists of values; a classifier's probabilities are the scores."""
    body = {"signature_name": "lists", "instances": [[1, 2, 3], [], [7]]}

    reply = server.ask(body=body, headers={"X-Request-Id": "lists"})

    assert [row["count"] for row in reply.json()["predictions"]] == [3, 0, 1]
    first, *_ = logged(server, "lists")
    assert first["features.items"] == [1, 2, 3]
    assert first["scores"] == [0, 0, 0, 1]


def test_a_signature_that_does_not_answer_by_row_is_called_alone(
    server: Server,
) -> None:
    """Its requests are not joined with others, so each gets its own total."""
    replies = []

    def ask(fare: float) -> None:
        body = {"signature_name": "total", "inputs": {"fare": [fare, fare]}}
        replies.append((fare, server.ask(body=body).json()))

    threads = [threading.Thread(target=ask, args=(float(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(replies) == [(n, {"outputs": 2.0 * n}) for n in range(8)]


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([{**ROW, "fare": "x"}], "row 0: feature 'fare' is 'x'; expected a number"),
        ([ROW, {**ROW, "hour": 1.5}], "row 1: feature 'hour' is 1.5; expected a whole"),
        ([{**ROW, "tip": 1}], "there is no feature 'tip'; expected company, fare"),
        ([{**ROW, "company": "x" * 5000}], "text of 5,000 bytes; expected at most"),
        ([{**ROW, "fare": None}], "the schema requires it in each row"),
        ([{"fare": 1.0, "hour": 1}], "feature 'company' is absent"),
        ([], "the request has 0 rows; expected 1 to 100"),
        ([ROW] * 101, "the request has 101 rows; expected 1 to 100"),
    ],
)
def test_a_bad_row_is_named(server: Server, rows: list[object], part: str) -> None:
    """400 with row, feature, value and what was expected."""
    body = {"signature_name": "serving_raw", "instances": rows}

    reply = server.ask(body=body)

    assert reply.status == 400
    assert part in reply.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "part"),
    [
        ("/v1/models/taxi:predict", b"{", 400, "no JSON"),
        ("/v1/models/taxi:predict", b"[]", 400, "no JSON object"),
        ("/v1/models/taxi:predict", b"{}", 400, "either 'instances'"),
        ("/v1/models/taxi:predict", {"instance": [1]}, 400, "did you mean 'instances'"),
        ("/v1/models/taxi:predict", {"inputs": 3}, 400, "is no list"),
        ("/v1/models/taxi:predict", None, 405, "takes POST only"),
        ("/v1/models/taxi:predict", b" " * 300_000, 413, "more than 0.2 MB"),
        ("/v1/models/taxi/versions/4:predict", {}, 404, "the live one is 5"),
        ("/v1/models/taxi/labels/old:predict", {}, 404, "there is 'live'"),
        ("/v1/models/bus:predict", {}, 404, "there is no model 'bus'"),
        ("/v1/models/taxi:classify", {}, 404, "expected /v1/models/taxi:predict"),
        ("/nothing", None, 404, "there is no '/nothing'"),
    ],
)
def test_a_wrong_request_is_explained(
    server: Server, path: str, body: object, status: int, part: str
) -> None:
    """Each is answered with its status and one sentence."""
    reply = server.ask(path, body)

    assert reply.status == status
    assert part in reply.json()["error"]


def test_a_rejected_request_is_in_the_log(server: Server) -> None:
    """It has a status and no features."""
    server.predict({"fare": "x"}, X_Request_Id="rejected")

    (row,) = logged(server, "rejected")

    assert (row["status"], row["row"]) == ("INVALID_ARGUMENT", None)
    assert row["features.fare"] is None


def test_versions_and_labels_can_be_asked_for(server: Server) -> None:
    """The live version answers to its number and to its label."""
    body = {"signature_name": "serving_raw", "instances": [ROW]}

    replies = [
        server.ask(f"/v1/models/taxi/{which}:predict", body).json()
        for which in ("versions/5", "labels/live")
    ]

    assert replies == [{"predictions": [score(ROW)]}] * 2


def test_status_and_metadata_are_those_of_tensorflow_serving(server: Server) -> None:
    """Clients of TensorFlow Serving find the version's state and its signatures."""
    (state,) = server.ask("/v1/models/taxi").json()["model_version_status"]
    found = server.ask("/v1/models/taxi/metadata").json()

    assert (state["version"], state["state"]) == ("5", "AVAILABLE")
    assert found["model_spec"]["version"] == "5"
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_raw"]["inputs"]["fare"]["dtype"] == "DT_FLOAT"


def test_health_and_metrics(server: Server) -> None:
    """Probes answer, and metrics count requests by version, API and status."""
    server.predict(ROW)

    assert server.ask("/healthz").status == 200
    assert server.ask("/readyz").json() == {"ready": True, "version": 5}
    text = server.ask("/monitoring/prometheus/metrics").text.decode()
    assert 'throughline_live_version{model="taxi"} 5.0' in text
    counted = 'requests_total{api="REST",model="taxi",status="OK",version="5"}'
    assert f"throughline_{counted}" in text


def test_a_reused_connection_serves_many_requests(server: Server) -> None:
    """Requests after a rejected one on the same connection are answered."""
    connection = server.connect()
    statuses = []
    for body in (b"{", json.dumps({"instances": []}).encode(), b"{"):
        connection.request("POST", "/v1/models/taxi:predict", body)
        reply = connection.getresponse()
        reply.read()
        statuses.append(reply.status)

    assert statuses == [400, 400, 400]
    connection.close()


def test_a_new_version_is_swapped_in_under_load(
    warm: WarmProcess, saved_model: Path, tmp_path: Path
) -> None:
    """No request fails while versions come, one of them broken; and storage may go."""
    publish(tmp_path, saved_model, 1)
    server = start(warm, tmp_path).wait()
    base = tmp_path / "serving" / "taxi"

    with asking(server) as seen:
        publish(tmp_path, saved_model, 2)
        wait_until(lambda: seen and seen[-1][1] == "2")
        (base / "3").mkdir()
        server.process.wait_for("version 3 can't be loaded")
        states = server.ask("/v1/models/taxi").json()["model_version_status"]
        (base / "3").rename(base / ".broken")
        server.process.wait_for("version 3, which can't be loaded, is gone")
        forgotten = server.ask("/v1/models/taxi").json()["model_version_status"]
        base.rename(base.with_name("gone"))
        wait_until(lambda: "can't be read: No such" in server.printed.read_text())
        storage_gone = server.predict(ROW)
        base.with_name("gone").rename(base)
        publish(tmp_path, saved_model, 4)
        wait_until(lambda: seen[-1][1] == "4")

    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {"1", "2", "4"}
    assert [(s["version"], s["state"]) for s in states] == [
        ("3", "END"),
        ("2", "AVAILABLE"),
    ]
    assert [s["version"] for s in forgotten] == ["2"]
    assert storage_gone.status == 200
    assert "directory; version 2 stays live" in server.printed.read_text()
    assert server.stop() == 0


@contextmanager
def asking(server: Server) -> Iterator[list[tuple[int, str]]]:
    """Sends requests on four connections; yields each answer's status and version."""
    seen: list[tuple[int, str]] = []
    ended = threading.Event()

    def ask_on() -> None:
        connection = server.connect()
        body = json.dumps({"signature_name": "serving_raw", "instances": [ROW]})
        while not ended.is_set():
            connection.request("POST", "/v1/models/taxi:predict", body)
            reply = connection.getresponse()
            reply.read()
            seen.append((reply.status, reply.headers["X-Model-Version"]))

    threads = [threading.Thread(target=ask_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_a_model_process_that_dies_is_replaced(
    warm: WarmProcess, saved_model: Path, tmp_path: Path
) -> None:
    """Its requests get 503, and a moment later the version answers again."""
    publish(tmp_path, saved_model, 1)
    server = start(warm, tmp_path).wait()
    before = server.predict(ROW).status
    # The nursery is the server's only child; its first one is the model's process.
    (nursery,) = children(server.process.pid)
    victim, *_ = children(nursery)

    os.kill(victim, signal.SIGKILL)
    server.process.wait_for("has ended; it is loaded again")
    meanwhile = server.ask("/readyz")
    wait_until(lambda: server.ask("/readyz").status == 200)

    assert before == 200
    assert meanwhile.status in {200, 503}
    assert server.predict(ROW).json() == {"predictions": [score(ROW)]}
    assert server.stop() == 0


def children(process: int) -> list[int]:
    """Returns the ids of a process's children, the oldest first."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(word) for word in found.split()]


def test_a_killed_server_leaves_its_log(
    warm: WarmProcess, saved_model: Path, tmp_path: Path
) -> None:
    """After kill -9, what was answered a second ago is in the log, each row once."""
    publish(tmp_path, saved_model, 1)
    server = start(warm, tmp_path).wait()
    ids = [f"r{number}" for number in range(50)]
    for each in ids:
        server.predict(ROW, X_Request_Id=each)
    time.sleep(1)

    code = server.stop(signal.SIGKILL)

    directory = request_log.directory_of(tmp_path, "taxi")
    # The process that keeps the log has a last turn.
    wait_until(lambda: request_log.segments(directory))
    rows = [r for b in request_log.read(directory) for r in b.to_pylist()]
    assert code == -signal.SIGKILL
    assert [row["request_id"] for row in rows] == ids
    wait_until(lambda: not list((directory / "journals").iterdir()))


def test_tokens_and_overload(
    warm: WarmProcess, saved_model: Path, tmp_path: Path
) -> None:
    """Without a token only the probes answer, and load beyond a limit gets 503."""
    publish(tmp_path, saved_model, 1)
    tokens = tmp_path / "tokens"
    tokens.write_text("# of the dispatchers\n0123456789abcdef\n")
    flags = ["--token-file", str(tokens), "--extra-columns", "ignore"]
    few = ["--limits.waiting", "1", "--batching.rows", "1"]
    server = start(warm, tmp_path, *flags, *few, "--host", EVERY_ADDRESS).wait()
    good = {"Authorization": "Bearer 0123456789abcdef"}
    body = {"signature_name": "serving_raw", "instances": [{**ROW, "more": 1}] * 50}

    bare = server.predict(ROW)
    wrong = server.ask(body=body, headers={"Authorization": "Bearer 0123"})
    metrics = server.ask("/monitoring/prometheus/metrics")
    probe = server.ask("/readyz")
    ignored = server.ask(body=body, headers=good)
    statuses = burst(server, json.dumps(body).encode(), good)

    assert [bare.status, wrong.status, metrics.status] == [401, 401, 401]
    assert bare.headers["WWW-Authenticate"] == "Bearer"
    assert probe.status == 200
    assert ignored.json()["predictions"] == [score(ROW)] * 50
    assert set(statuses) == {200, 503}
    assert server.stop(signal.SIGINT) == 130


def burst(server: Server, body: bytes, headers: dict[str, str]) -> list[int]:
    """Sends 60 requests at the same moment; returns their statuses."""
    connections = [server.connect() for _ in range(60)]
    for connection in connections:
        connection.connect()
    for connection in connections:
        connection.request("POST", "/v1/models/taxi:predict", body, headers)
    return [connection.getresponse().status for connection in connections]


def test_a_start_that_cannot_work_says_why(
    warm: WarmProcess, saved_model: Path, tmp_path: Path
) -> None:
    """Each mistake ends with 2 and a sentence.

    They are no version, a port in use, an open address, and a column to leave out that
    is misspelt, since its values would be in the log.
    """
    empty = start(warm, tmp_path)
    no_version = empty.process.communicate()
    publish(tmp_path, saved_model, 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        in_use = start(warm, tmp_path, "--port", port).process.communicate()
    opened = start(warm, tmp_path, "--host", EVERY_ADDRESS).process.communicate()
    (tmp_path / "serving" / "taxi" / "2").mkdir()
    hide = ["--log.leave-out", "trip_id", "--log.hashed", "compny"]
    misspelt = start(warm, tmp_path, *hide).process.communicate()

    assert no_version[0] == 2
    assert "there is no version in" in no_version[1]
    assert in_use[0] == 2
    assert f"port {port} of 127.0.0.1 can't be listened on" in in_use[1]
    assert opened[0] == 2
    assert "give --token-file" in opened[1]
    assert "version 2 can't be loaded: " in misspelt[1]
    assert "; the version before it is tried, if there is one" in misspelt[1]
    assert misspelt[0] == 2
    assert (
        "--log.hashed: there is no column 'compny'; did you mean 'company'?"
        in (misspelt[1])
    )
