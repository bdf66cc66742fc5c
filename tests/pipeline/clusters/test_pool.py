"""The worker pool: a process per worker, and none left at its end."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
)

from tests.pipeline.clusters.test_processes import is_running
from tests.servers import free_port

# What is imported for real workers takes TFX's ten seconds.
_COLD = "from pipeline.clusters import pool; pool.WARM = (); pool.main()"


@pytest.fixture(scope="module")
def port() -> int:
    """The pool's port."""
    return free_port()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pool's log."""
    return tmp_path_factory.mktemp("pool") / "pool.log"


@pytest.fixture(scope="module")
def pool(port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A pool that listens."""
    command = [sys.executable, "-c", _COLD, f"--port={port}"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    wait_for(log, "listening")
    yield process
    process.kill()
    process.wait()


def wait_for(log: Path, text: str) -> str:
    """Waits until a pool has printed something; returns all that it has."""
    end = time.monotonic() + 60
    while not re.search(text, log.read_text()):
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    return log.read_text()


def start_worker(port: int, worker: str, control: str, provision: str = "") -> None:
    """Asks a pool for a worker, as an engine does."""
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id=worker)
    request.control_endpoint.url = control
    request.provision_endpoint.url = provision
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        assert not stub.StartWorker(request, timeout=30).error


def test_a_port_in_use_ends_the_pool(pool: subprocess.Popen[bytes], port: int) -> None:
    """A second pool at the port ends, and says so."""
    second = subprocess.run(
        [sys.executable, "-c", _COLD, f"--port={port}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert second.returncode == 1
    assert "is the port in use?" in second.stderr


class Engine(beam_provision_api_pb2_grpc.ProvisionServiceServicer):
    """What an engine answers to a worker's first question."""

    def GetProvisionInfo(  # noqa: N802 - the name is Beam's
        self,
        request: beam_provision_api_pb2.GetProvisionInfoRequest,
        context: grpc.ServicerContext,
    ) -> beam_provision_api_pb2.GetProvisionInfoResponse:
        """Gives the job's name to the worker that it knows."""
        assert ("worker_id", "7-1") in context.invocation_metadata()
        answer = beam_provision_api_pb2.GetProvisionInfoResponse()
        options = answer.info.pipeline_options
        options.update({"beam:option:job_name:v1": "job-a"})
        return answer


def test_a_worker_is_reported_with_its_job(
    pool: subprocess.Popen[bytes], port: int, log: Path
) -> None:
    """The engine is asked which job a worker is for."""
    engine = grpc.server(ThreadPoolExecutor(1))
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(Engine(), engine)
    provision = f"127.0.0.1:{engine.add_insecure_port('127.0.0.1:0')}"
    engine.start()

    start_worker(port, "7-1", f"127.0.0.1:{free_port()}", provision)

    wait_for(log, r"worker 7-1 of [\d.:]+ started for job-a, pid \d+")
    engine.stop(None)


def test_workers_are_reported_with_their_processor_time(
    pool: subprocess.Popen[bytes], port: int, log: Path
) -> None:
    """Two engines may use one id; both workers start, and end with the pool."""
    for _ in range(2):
        # Nothing listens there: the workers keep trying.
        start_worker(port, "1-1", f"127.0.0.1:{free_port()}")
    started = wait_for(log, r"(?s)worker 1-1 .* started.*worker 1-1 .* started")
    pids = [int(pid) for pid in re.findall(r"worker 1-1 .*pid (\d+)", started)]
    assert len(set(pids)) == 2
    assert all(map(is_running, pids))

    pool.send_signal(signal.SIGTERM)
    pool.wait(30)

    ended = r"worker 1-1 of [\d.:]+ ended, pid (\d+): \d+\.\d CPU s, [1-9]\d* MB"
    assert sorted(map(int, re.findall(ended, log.read_text()))) == sorted(pids)
    assert not any(map(is_running, pids))
