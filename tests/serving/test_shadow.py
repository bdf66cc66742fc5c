"""An earlier version's answers to the requests that the live one has answered."""

import os
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.registry import shadow_order
from pipeline.registry.shadow_order import Order
from serving import request_log
from serving.journal import is_sampled
from tests.e2e.warm import WarmProcess
from tests.serving.conftest import (
    MODEL,
    ROW,
    SCHEMA,
    Server,
    publish,
    save,
    score,
    start,
    wait_until,
)

pytestmark = pytest.mark.e2e

# The live version wants a company in each row, and the shadow doesn't.
STRICT = SCHEMA.replace(
    'name: "company" type: BYTES',
    'name: "company" type: BYTES presence { min_fraction: 1 }',
)
LIVE_WEIGHT = 0.25


@pytest.fixture(scope="module")
def server(
    warm: WarmProcess, saved_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of version 2, while an order asks for version 1's answers too."""
    output = tmp_path_factory.mktemp("compared")
    publish(output, saved_model, 1)
    newer = save(output / "newer", LIVE_WEIGHT)
    (newer / "assets.extra").mkdir()
    (newer / "assets.extra" / "schema.pbtxt").write_text(STRICT)
    publish(output, newer, 2)
    shutil.rmtree(newer)
    order(output)
    flags = ["--log.segment-seconds", "0.5", "--log.flush-seconds", "0.05"]
    running = start(warm, output, *flags).wait()
    running.process.wait_for("version 1 gives shadow answers")
    yield running
    running.stop()


def order(
    output: Path, live: int = 2, share: float = 1.0, seconds: float = 3600
) -> None:
    """Asks for the answers of version 1."""
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    base = output / "serving" / MODEL
    shadow_order.follow(base, Order(live, 1, until, share))


def log_of(server: Server) -> Path:
    """Returns the directory of the request log."""
    return request_log.directory_of(server.output, MODEL)


def rows(directory: Path, count: int, prefix: str) -> list[dict[str, object]]:
    """Returns the rows of requests in a log, once there are as many."""
    found: list[dict[str, object]] = []

    def look() -> bool:
        found.clear()
        for batch in request_log.read(directory, failed=True):
            listed = batch.to_pylist()
            found.extend(r for r in listed if r["request_id"].startswith(prefix))
        return len(found) >= count

    wait_until(look)
    return sorted(found, key=lambda row: (row["request_id"], row["row"]))


def test_both_answers_are_logged(server: Server) -> None:
    """With the request's id, the version and the row; clients get the live answers."""
    other = {**ROW, "fare": 7.0}

    reply = server.predict(ROW, other, X_Request_Id="both-1")

    live = rows(log_of(server), 2, "both")
    shadow = rows(log_of(server) / request_log.SHADOW, 2, "both")
    asked = [ROW, other]
    assert reply.headers["X-Model-Version"] == "2"
    assert reply.json() == {"predictions": [score(row, LIVE_WEIGHT) for row in asked]}
    assert [row["prediction"] for row in live] == reply.json()["predictions"]
    assert [row["prediction"] for row in shadow] == [score(row) for row in asked]
    assert [(r["version"], r["row"]) for r in live] == [(2, 0), (2, 1)]
    assert [(r["version"], r["row"]) for r in shadow] == [(1, 0), (1, 1)]
    assert shadow[0]["time"] == live[0]["time"]
    assert (shadow[0]["threshold"], live[0]["threshold"]) == (0.25, None)
    assert not [name for name in shadow[0] if name.startswith("features.")]


def test_what_the_live_version_rejects_the_shadow_may_answer(server: Server) -> None:
    """A version that rejects what the one before took is seen, and the other way."""
    nameless = {**ROW, "company": None}

    replies = [
        server.predict(nameless, X_Request_Id="rejected-1"),
        server.predict({"fare": "x"}, X_Request_Id="rejected-2"),
    ]

    shadow = rows(log_of(server) / request_log.SHADOW, 2, "rejected")
    assert [reply.status for reply in replies] == [400, 400]
    assert [row["status"] for row in shadow] == ["OK", "INVALID_ARGUMENT"]
    assert shadow[0]["prediction"] == score(nameless)
    assert shadow[1]["row"] is None


def test_it_is_seen_what_the_shadow_does(server: Server) -> None:
    """On the page, and in the metrics; clients can't ask for the version."""
    server.predict(ROW, X_Request_Id="seen-1")
    rows(log_of(server) / request_log.SHADOW, 1, "seen")

    found = server.ask("/status").json()["shadow"]
    text = server.ask("/monitoring/prometheus/metrics").text.decode()
    asked = server.ask(
        f"/v1/models/{MODEL}/versions/1:predict",
        {"signature_name": "serving_raw", "instances": [ROW]},
    )

    answered = found["requests"]["answered"]
    assert (found["version"], found["share"]) == (1, 1.0)
    labels = f'{{model="{MODEL}",outcome="answered",version="1"}}'
    assert f"throughline_shadow_requests_total{labels} {answered}.0" in text
    assert asked.status == 404


def test_a_share_of_the_requests_is_decided_by_the_id(server: Server) -> None:
    """So the same on each server; a changed order counts without a restart."""
    order(server.output, share=0.3)
    wait_until(lambda: server.ask("/status").json()["shadow"]["share"] == 0.3)
    ids = [f"share-{number:02}" for number in range(40)]

    for each in ids:
        server.predict(ROW, X_Request_Id=each)

    wanted = [each for each in ids if is_sampled(each, 0.3)]
    rows(log_of(server), len(ids), "share")
    found = rows(log_of(server) / request_log.SHADOW, len(wanted), "share")
    assert 5 < len(wanted) < 20
    assert [row["request_id"] for row in found] == wanted
    order(server.output)
    wait_until(lambda: server.ask("/status").json()["shadow"]["share"] == 1)


def process_of(server: Server) -> int:
    """Returns the shadow's process: the one that runs on idle cores only."""
    (found,) = (p for p in server.family() if os.sched_getscheduler(p) == os.SCHED_IDLE)
    return found


def test_a_shadow_that_hangs_or_dies_is_not_felt(server: Server) -> None:
    """Clients get their answers; what it can't take is dropped, and counted."""
    shadow = process_of(server)
    before = server.ask("/status").json()["shadow"]["requests"]

    os.kill(shadow, signal.SIGSTOP)
    statuses = {server.predict(ROW).status for _ in range(60)}
    hanging = server.ask("/status").json()["shadow"]["requests"]
    os.kill(shadow, signal.SIGKILL)
    server.process.wait_for("the process of the shadow has ended")

    assert statuses == {200}
    # One call is in flight, and 32 requests wait.
    assert hanging["dropped"] - before.get("dropped", 0) == 60 - 33
    assert server.predict(ROW).status == 200
    text = server.ask("/monitoring/prometheus/metrics").text.decode()
    labels = f'{{model="{MODEL}",outcome="dropped",version="1"}}'
    assert f"{labels} {before.get('dropped', 0) + 60}.0" in text


def test_without_an_order_there_is_no_shadow(
    warm: WarmProcess, saved_model: Path, tmp_path: Path
) -> None:
    """Nor with one for another live version, a damaged one, or a missing version."""
    publish(tmp_path, saved_model, 2)
    base = tmp_path / "serving" / MODEL
    order(tmp_path, live=3)
    server = start(warm, tmp_path, "--log.flush-seconds", "0.05").wait()

    (base / shadow_order.FILE).write_text("{")
    server.process.wait_for("no order for shadow answers")
    order(tmp_path)
    server.process.wait_for("version 1 can't give shadow answers")
    publish(tmp_path, saved_model, 1)
    reply = server.predict(ROW)

    assert reply.status == 200
    assert server.ask("/status").json()["shadow"] is None
    assert server.stop() == 0
    assert "version 1 gives shadow answers" not in server.printed.read_text()


def test_it_ends_by_itself(
    warm: WarmProcess, saved_model: Path, tmp_path: Path
) -> None:
    """When its time is over, also if nobody deletes the order, or another is live."""
    for number in (1, 2):
        publish(tmp_path, saved_model, number)
    order(tmp_path)
    server = start(warm, tmp_path).wait()
    server.process.wait_for("version 1 gives shadow answers")

    order(tmp_path, seconds=0.1)
    server.process.wait_for("version 1 gives no shadow answers any more")
    expired = server.ask("/status").json()["shadow"]
    order(tmp_path)
    wait_until(lambda: server.ask("/status").json()["shadow"])
    publish(tmp_path, saved_model, 3)
    wait_until(lambda: server.ask("/status").json()["shadow"] is None)

    wait_until(lambda: server.predict(ROW).headers["X-Model-Version"] == "3")
    assert expired is None
    assert server.stop() == 0
