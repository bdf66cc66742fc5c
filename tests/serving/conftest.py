"""A small model in the shape of the project's, and real servers of it."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
import tensorflow as tf

from tests.e2e.warm import Forked, WarmProcess, call

SCHEMA = """
feature { name: "fare" type: FLOAT presence { min_fraction: 1 } value_count { max: 1 } }
feature { name: "hour" type: INT presence { min_fraction: 0.9 } value_count { max: 1 } }
feature { name: "company" type: BYTES value_count { max: 1 } }
feature { name: "trip_id" type: BYTES value_count { max: 1 } }
feature { name: "tips" type: FLOAT not_in_environment: "SERVING" }
default_environment: "TRAINING"
default_environment: "SERVING"
"""
ROW = {"fare": 1.0, "hour": 2, "company": "Flash"}
MODEL = "taxi"


def score(row: Mapping[str, Any], weight: float = 0.5) -> float:
    """Returns what the small model answers."""
    known = {"Flash": 1, "Blue": 2, None: 0}.get(row["company"], 0)
    return float(row["fare"] * weight + row["hour"] + 10 * known)


class SmallModel(tf.Module):
    """Reads a number, an integer and a text; has a variable and a vocabulary."""

    def __init__(self, weight: float) -> None:
        """Sets the variable."""
        super().__init__()
        self.weight = tf.Variable(weight)
        words = tf.lookup.KeyValueTensorInitializer(
            ["Flash", "Blue"], tf.constant([1, 2], tf.int64)
        )
        self.table = tf.lookup.StaticHashTable(words, default_value=0)

    def score(self, fare: tf.Tensor, hour: tf.Tensor, company: tf.Tensor) -> tf.Tensor:
        """Returns a number per row."""
        known = tf.cast(self.table.lookup(company), tf.float32)
        return fare * self.weight + tf.cast(hour, tf.float32) + 10 * known


def save(directory: Path, weight: float = 0.5) -> Path:
    """Saves the small model with its signatures."""
    model = SmallModel(weight)
    one = {
        "fare": tf.TensorSpec([None], tf.float32, name="fare"),
        "hour": tf.TensorSpec([None], tf.int64, name="hour"),
        "company": tf.TensorSpec([None], tf.string, name="company"),
    }
    spec = {n: tf.io.FixedLenFeature([], s.dtype) for n, s in one.items()}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probability": model.score(**tf.io.parse_example(examples, spec))}

    @tf.function
    def raw(**columns: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probability": model.score(**columns)}

    # As many values per row as there are.
    @tf.function
    def lists(items: tf.Tensor) -> dict[str, tf.Tensor]:
        known = tf.not_equal(items, -(2**63))
        counts = tf.reduce_sum(tf.cast(known, tf.int64), axis=1)
        return {"count": counts, "probabilities": tf.one_hot(counts, 4)}

    @tf.function
    def several(company: tf.Tensor) -> dict[str, tf.Tensor]:
        codes = tf.one_hot(model.table.lookup(company), 3)
        return {"scores": codes, "name": company, "raw_bytes": company}

    # Answers one number per call, whatever the number of rows.
    @tf.function
    def total(fare: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": tf.reduce_sum(fare)}

    signatures = {
        "serving_default": default.get_concrete_function(),
        "serving_raw": raw.get_concrete_function(**one),
        "several": several.get_concrete_function(company=one["company"]),
        "lists": lists.get_concrete_function(
            items=tf.TensorSpec([None, None], tf.int64, name="items")
        ),
        "total": total.get_concrete_function(fare=one["fare"]),
    }
    tf.saved_model.save(model, str(directory), signatures=signatures)
    return directory


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model, with an operating threshold."""
    directory = save(tmp_path_factory.mktemp("model") / "small")
    about = {"task": "binary", "label": "big_tipper", "threshold": 0.25}
    (directory / "assets.extra").mkdir()
    (directory / "assets.extra" / "model.json").write_text(json.dumps(about))
    return directory


def publish(output: Path, model: Path, number: int) -> None:
    """Makes a model a version, visible when it is complete."""
    base = output / "serving" / MODEL
    hidden = base / f".partial-{number}"
    shutil.copytree(model, hidden)
    hidden.rename(base / str(number))


@dataclass
class Reply:
    """An answer over HTTP."""

    status: int
    headers: http.client.HTTPMessage
    text: bytes

    def json(self) -> Any:
        """Returns the body, parsed."""
        return json.loads(self.text)


@dataclass
class Server:
    """A server that is running.

    Attributes:
        output: Its output directory.
        printed: What it has printed, standard error too.
        process: The server's main process.
    """

    output: Path
    printed: Path
    process: Forked
    ports: dict[str, int] = field(default_factory=dict)

    def wait(self) -> Self:
        """Waits until it answers; notes its ports."""
        self.process.wait_for("REST ")
        self.process.wait_for("gRPC ")
        self.process.wait_for("is live")
        for line in self.printed.read_text().splitlines():
            if line.startswith("REST"):
                self.ports["rest"] = int(line.split(":")[2].split("/")[0])
            if line.startswith("gRPC"):
                self.ports["grpc"] = int(line.rpartition(":")[2])
        return self

    def connect(self) -> http.client.HTTPConnection:
        """Returns a connection, which stays open."""
        return http.client.HTTPConnection("127.0.0.1", self.ports["rest"], timeout=30)

    def ask(
        self,
        path: str = f"/v1/models/{MODEL}:predict",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        method: str = "",
    ) -> Reply:
        """Sends a request: GET without a body, else POST."""
        text = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = self.connect()
        verb = method or ("GET" if text is None else "POST")
        connection.request(verb, path, text, dict(headers or {}))
        found = connection.getresponse()
        reply = Reply(found.status, found.headers, found.read())
        connection.close()
        return reply

    def predict(self, *rows: Mapping[str, Any], **headers: str) -> Reply:
        """Sends rows to the signature for raw values."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"signature_name": "serving_raw", "instances": list(rows)}
        return self.ask(body=body, headers=named)

    def hurry_shadow(self) -> None:
        """Lets its shadow compete for cores: on a busy machine none is idle."""
        for process in self.family()[1:]:
            # A process or a thread may end meanwhile.
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                for task in Path(f"/proc/{process}/task").iterdir():
                    if os.sched_getscheduler(int(task.name)) == os.SCHED_IDLE:
                        usual = os.sched_param(0)
                        os.sched_setscheduler(int(task.name), os.SCHED_OTHER, usual)

    def family(self) -> list[int]:
        """Returns the ids of its process and of those that it has started."""
        found = [self.process.pid]
        for process in found:
            path = Path(f"/proc/{process}/task/{process}/children")
            # It may end meanwhile.
            with contextlib.suppress(FileNotFoundError):
                found += map(int, path.read_text().split())
        return found

    def stop(self, which: int = signal.SIGTERM) -> int:
        """Ends it by a signal; returns the exit code."""
        os.kill(self.process.pid, which)
        return self.process.wait()


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


Start = Callable[..., Server]


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmProcess]:
    """A process that has imported the server, to start servers as its forks."""
    process = WarmProcess.start(["pipeline.commands.serve", "serving.server"])
    yield process
    process.stop()


def start(warm: WarmProcess, output: Path, *flags: str) -> Server:
    """Starts `throughline serve` on free ports; doesn't wait for it."""
    schema = output / "schema.pbtxt"
    schema.write_text(SCHEMA)
    printed = output / "printed.txt"
    places = ["--name", MODEL, "--output", str(output), "--schema", str(schema)]
    arguments = ["serve", *places]
    ports = ["--port", "0", "--grpc-port", "0"]
    with printed.open("wb") as file, Path(os.devnull).open() as nothing:
        descriptors = [nothing.fileno(), file.fileno(), file.fileno()]
        address = str(warm.directory / "socket")
        words = [*arguments, *ports, *flags]
        forked = call(address, "throughline", words, descriptors)
    process = Forked(forked.pid, forked.connection, printed)
    return Server(output, printed, process)


@pytest.fixture(scope="module")
def server(
    warm: WarmProcess, saved_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of version 5 of the small model."""
    output = tmp_path_factory.mktemp("served")
    publish(output, saved_model, 5)
    flags = ["--log.segment-seconds", "0.5", "--log.flush-seconds", "0.05"]
    small = ["--limits.body-megabytes", "0.2", "--limits.rows", "100"]
    running = start(warm, output, *flags, *small).wait()
    yield running
    running.stop()
