"""Measures `throughline serve` on the live model, next to the model called in process.

    python -m benchmarks serving                     loads and a reload, one minute
    python -m benchmarks serving --requests 1000000  also memory over a million requests
    python -m benchmarks serving --malformed 10000   also malformed requests
    python -m benchmarks serving --shadow 1          also latency with shadow answers,
                                                     of that share of the requests

Needs a live model: `make run` first, or --output. Server and clients share the
machine's cores, so every figure includes the client's work. The row is that of the
README, with the signature for raw values. The model in process is called through its
signature, in a process of its own, with nothing else running.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import malformed
from pipeline.config import local
from pipeline.registry import shadow_order, versions
from pipeline.registry.shadow_order import Order

ROW: dict[str, Any] = {
    "payment_type": "Credit Card",
    "company": "",
    "fare": 9.5,
    "trip_miles": 2.4,
    "trip_seconds": 780,
    "trip_start_month": 5,
    "trip_start_day": 6,
    "trip_start_hour": 19,
    "pickup_community_area": 8,
    "dropoff_community_area": 32,
    "pickup_latitude": 41.90,
    "pickup_longitude": -87.63,
    "dropoff_latitude": 41.88,
    "dropoff_longitude": -87.62,
}
_WARM_UP_SECONDS = 1.0
_TURNS = 5
# Clients, and their requests per second: what leaves a core to the shadow.
_SHADOW_LOAD = (4, 400)
# What is aimed at: clients, requests per second (0: as many as they can).
LOADS = ((1, 0), (16, 1000), (8, 0), (32, 0))


@dataclass(frozen=True)
class Running:
    """A server that is running.

    Attributes:
        process: The server's main process.
        rest: Its port for REST.
        grpc: Its port for gRPC.
        output: Its output directory.
        model: The model's name.
    """

    process: "subprocess.Popen[str]"
    rest: int
    grpc: int
    output: Path
    model: str

    @property
    def path(self) -> str:
        """The path of predictions."""
        return f"/v1/models/{self.model}:predict"

    def megabytes(self) -> float:
        """Returns the memory of all its processes that no other process shares."""
        return sum(map(_private_megabytes, _family(self.process.pid)))

    def live(self) -> int:
        """Returns the version that answers."""
        return int(self.status()["version"])

    def status(self) -> dict[str, Any]:
        """Returns what the server's page shows."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/status") as answer:
            found: dict[str, Any] = json.load(answer)
            return found


def _family(process: int) -> Iterator[int]:
    yield process
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        yield from _family(int(child))


def _private_megabytes(process: int) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    private = (line.split()[1] for line in lines if line.startswith("Private_"))
    return sum(map(int, private)) / 1e3


@contextmanager
def serving(output: Path, model: str, *flags: str) -> Iterator[Running]:
    """Runs a server of a model, on free ports."""
    command = [sys.executable, "-m", "pipeline.cli", "serve"]
    places = ["--output", str(output), "--name", model]
    ports = ["--port", "0", "--grpc-port", "0"]
    process = subprocess.Popen(
        [*command, *places, *ports, *flags], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout  # noqa: S101 - for mypy
    said = dict(process.stdout.readline().split(maxsplit=1) for _ in range(4))
    rest, grpc = said["REST"], said["gRPC"]
    try:
        port = int(rest.split(":")[2].split("/")[0])
        yield Running(process, port, int(grpc.split(":")[1]), output, model)
    finally:
        process.terminate()
        process.wait()


def load(
    server: Running, clients: int, seconds: float, rate: float
) -> dict[str, float]:
    """Runs clients in a process of their own; returns what they measured."""
    body = {"signature_name": "serving_raw", "instances": [ROW]}
    arguments = [server.rest, server.path, clients, seconds, rate]
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving_load", *map(str, arguments)],
        input=json.dumps(body),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def in_process(path: Path) -> dict[str, float]:
    """Measures the model called through its signature, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving_floor", str(path)],
        input=json.dumps(ROW),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def reload_under_load(server: Running, seconds: float) -> dict[str, float]:
    """Measures a load during which two versions are swapped in."""
    base = server.output / "serving" / server.model
    swaps = []

    def publish() -> None:
        for number in (1, 2):
            time.sleep(seconds / 4)
            newest = versions.versions(base)[-1]
            hidden = base / f"{versions.PARTIAL}{number}"
            shutil.copytree(base / str(newest), hidden)
            hidden.rename(base / str(newest + 1))
            deadline = time.monotonic() + seconds / 4
            while server.live() != newest + 1 and time.monotonic() < deadline:
                time.sleep(0.05)
            swaps.append(server.live() == newest + 1)

    thread = threading.Thread(target=publish)
    thread.start()
    found = load(server, 4, seconds, 400)
    thread.join()
    return {**found, "swaps": sum(swaps)}


def with_shadow(server: Running, share: float, seconds: float) -> dict[str, Any]:
    """Compares latencies without and with shadow answers, in turns of a few seconds.

    Both have the shadow loaded; one of them has a share of 0. Medians of the turns are
    returned, and what became of the requests that were sampled.
    """
    base = server.output / "serving" / server.model
    live = server.live()
    # The live version's own files, so both take the same time.
    earlier = base / str(live - 1)
    shutil.copytree(base / str(live), earlier)
    until = datetime.now(UTC) + timedelta(hours=1)
    found: dict[float, list[dict[str, float]]] = {0.0: [], share: []}
    try:
        for _ in range(_TURNS):
            for each, turns in found.items():
                shadow_order.follow(base, Order(live, live - 1, until, each))
                while server.status()["shadow"] is None or (
                    server.status()["shadow"]["share"] != each
                ):
                    time.sleep(0.05)
                clients, rate = _SHADOW_LOAD
                turns.append(load(server, clients, seconds, rate))
        outcomes = server.status()["shadow"]["requests"]
    finally:
        shadow_order.follow(base, None)
        shutil.rmtree(earlier)
    names = ("p50", "p95", "p99", "failed")
    return {
        "share": share,
        **{
            f"{name} {'with' if each else 'without'}": statistics.median(
                turn[name] for turn in turns
            )
            for name in names
            for each, turns in found.items()
        },
        "shadow": outcomes,
    }


def memory_over(server: Running, requests: int) -> dict[str, Any]:
    """Sends many requests; returns the memory after each tenth of them."""
    found = []
    sent = 0.0
    while sent < requests:
        seconds = max(1.0, requests / 10 / 4000)
        sent += load(server, 32, seconds, 0)["requests"]
        found.append(round(server.megabytes()))
    return {"requests": int(sent), "megabytes": found}


def _say(what: str, found: dict[str, Any]) -> None:
    print(f"{what}: {json.dumps(found)}")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Measures, and prints a line per load."""
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--seconds", type=float, default=5.0)
    flags.add_argument("--requests", type=int, default=0)
    flags.add_argument("--malformed", type=int, default=0)
    flags.add_argument("--shadow", type=float, default=0.0)
    flags.add_argument("--no-loads", action="store_true", help="only what is named")
    flags.add_argument("--output", type=Path, default=local().output)
    given = flags.parse_args(arguments)
    config = replace(local(), output=given.output)
    live = versions.live(config.serving_directory)
    if live is None:
        print(f"no model is live in {given.output}; `make run` makes one")
        return 2
    _say("in process, one row", in_process(live.path))
    with tempfile.TemporaryDirectory(prefix="serving-") as directory:
        output = Path(directory)
        copied = output / "serving" / config.name / str(live.number)
        shutil.copytree(live.path, copied)
        with serving(output, config.name) as server:
            return _measure(server, given)


def _measure_loads(server: Running, seconds: float) -> bool:
    """Measures loads and reloads; returns whether a request or a reload failed."""
    for clients, rate in LOADS:
        at = f" at {rate:,} requests/s" if rate else ""
        found = load(server, clients, seconds, rate)
        _say(f"{clients} clients{at}", found)
    found = reload_under_load(server, max(20.0, 4 * seconds))
    _say("4 clients at 400 requests/s, two reloads", found)
    return bool(found["failed"]) or found["swaps"] != 2  # noqa: PLR2004 - both of them


def _measure(server: Running, given: argparse.Namespace) -> int:
    load(server, 8, _WARM_UP_SECONDS, 0)
    failed = not given.no_loads and _measure_loads(server, given.seconds)
    if given.shadow:
        found = with_shadow(server, given.shadow, given.seconds)
        _say("4 clients at 400 requests/s, shadow answers", found)
    if given.requests:
        _say("memory", memory_over(server, given.requests))
    if given.malformed:
        before = server.megabytes()
        target = malformed.Target(server.rest, server.grpc, server.model, ROW)
        outcome = malformed.send(target, given.malformed)
        after = server.megabytes()
        _say("malformed", {**outcome, "megabytes": [round(before), round(after)]})
        failed = failed or bool(outcome["unexpected"])
    return int(bool(failed))
