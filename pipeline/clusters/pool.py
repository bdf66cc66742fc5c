"""Beam's external worker pool: workers on demand, forks of a process with TFX imported.

    python -m pipeline.clusters.pool --port 50000

One runs next to each TaskManager or executor, as a sidecar on Kubernetes, or one for
all on a machine. It differs from Beam's own `worker_pool_main` in three ways: a worker
is there at once, since TFX takes seconds to import; it listens on loopback only,
because workers run the code that they are sent; and a worker ends with the connection
to its engine, and not when its id is stopped, since two TaskManagers use the same ids.
"""

import argparse
import asyncio
import gc
import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from typing import NoReturn

import grpc
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
)
from apache_beam.runners.worker.sdk_worker import SdkHarness

from pipeline.columnar.orphans import die_with

WARM = (
    "models.preprocessing",
    "pipeline.components.evaluator",
    "pipeline.components.gate_executor",
    "pipeline.components.ingestion",
    "pipeline.components.statistics_gen",
    "pipeline.components.transform",
)
"""Imported before there is a worker: the executors whose work is sent to one."""

_CACHE_BYTES = 100 << 20
_MESSAGE_BYTES = 1 << 16
_JOB_NAME = "beam:option:job_name:v1"
_UNNAMED = "unnamed-job"
_SECONDS_TO_NAME = 10
_REAP_SECONDS = 1.0
_OPTIONS = (
    # An engine pings for as long as a job lasts; gRPC would take that for an attack.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.max_ping_strikes", 0),
    # Or two pools may listen at one port, and each gets some of the requests.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True)
class Request:
    """An engine's request for a worker.

    Attributes:
        worker: Id of the worker, unique for the engine's process only.
        control: host:port where the worker asks for work.
        job: Name of the job, for the log.
    """

    worker: str
    control: str
    job: str


class Pool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """The service that engines call; passes requests on to the process that forks."""

    def __init__(self, forks: socket.socket) -> None:
        self._forks = forks

    async def StartWorker(  # noqa: N802 - the name is Beam's
        self, request: beam_fn_api_pb2.StartWorkerRequest, _: grpc.aio.ServicerContext
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        """Starts a worker."""
        job = await _job_of(request)
        text = json.dumps([request.worker_id, request.control_endpoint.url, job])
        self._forks.send(text.encode())
        return beam_fn_api_pb2.StartWorkerResponse()

    async def StopWorker(  # noqa: N802 - the name is Beam's
        self, _: beam_fn_api_pb2.StopWorkerRequest, __: grpc.aio.ServicerContext
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        """Does nothing: a worker ends with its connection."""
        return beam_fn_api_pb2.StopWorkerResponse()


class Forks:
    """The workers, which are forks of this process."""

    def __init__(self) -> None:
        self._workers: dict[int, Request] = {}

    def start(self, request: Request) -> None:
        """Forks a worker."""
        parent = os.getpid()
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            _work(request, parent)
        self._workers[pid] = request
        _say(
            f"worker {request.worker} of {request.control} started for {request.job}, "
            f"pid {pid}"
        )

    def reap(self, *, wait: bool = False) -> None:
        """Reports the workers that have ended, with the processor time of each."""
        while self._workers:
            pid, _, used = os.wait4(-1, 0 if wait else os.WNOHANG)
            if not pid:
                return
            request = self._workers.pop(pid, None)
            if request:
                _say(
                    f"worker {request.worker} of {request.control} ended, pid {pid}: "
                    f"{used.ru_utime + used.ru_stime:.1f} CPU s, "
                    f"{used.ru_maxrss >> 10} MB"
                )

    def stop(self) -> None:
        """Ends all workers."""
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        self.reap(wait=True)


def main() -> NoReturn:
    """Starts the pool, which runs until it is terminated."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.clusters.pool")
    parser.add_argument("--port", type=int, default=50_000, help="port to listen on")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; whoever reaches it runs code here (%(default)s)",
    )
    flags = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    for module in WARM:
        importlib.import_module(module)
    # What was imported is never looked at again, and so stays shared with the workers.
    gc.collect()
    gc.freeze()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    # The server forks off first: a process in which gRPC works can't be forked.
    if not os.fork():
        die_with(parent)
        ours.close()
        asyncio.run(_serve(f"{flags.host}:{flags.port}", theirs))
    theirs.close()
    _fork_on_request(ours)


def _fork_on_request(requests: socket.socket) -> NoReturn:
    forks = Forks()

    def terminate(*_: object) -> None:
        forks.stop()
        os._exit(0)

    signal.signal(signal.SIGTERM, terminate)
    while True:
        ready, _, _ = select.select([requests], [], [], _REAP_SECONDS)
        if ready:
            message = requests.recv(_MESSAGE_BYTES)
            if not message:
                forks.stop()
                sys.exit("the pool's server has ended; is the port in use?")
            forks.start(Request(*json.loads(message)))
        forks.reap()


async def _serve(address: str, forks: socket.socket) -> None:
    server = grpc.aio.server(options=_OPTIONS)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(
        Pool(forks), server
    )
    server.add_insecure_port(address)
    await server.start()
    _say(f"listening at {address}")
    await server.wait_for_termination()


async def _job_of(request: beam_fn_api_pb2.StartWorkerRequest) -> str:
    """Requests a job's name from the engine, which gives the ids of workers only."""
    url = request.provision_endpoint.url
    if not url:
        return _UNNAMED
    wanted = beam_provision_api_pb2.GetProvisionInfoRequest()
    async with grpc.aio.insecure_channel(url) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        try:
            answer = await stub.GetProvisionInfo(
                wanted,
                metadata=[("worker_id", request.worker_id)],
                timeout=_SECONDS_TO_NAME,
            )
        except grpc.aio.AioRpcError:
            # A worker needs no name to work.
            return _UNNAMED
    fields = answer.info.pipeline_options.fields
    return fields[_JOB_NAME].string_value if _JOB_NAME in fields else _UNNAMED


def _work(request: Request, parent: int) -> NoReturn:
    """Runs a worker until its engine closes the connection, then exits."""
    try:
        die_with(parent)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        SdkHarness(
            request.control,
            worker_id=request.worker,
            state_cache_size=_CACHE_BYTES,
            data_buffer_time_limit_ms=-1,
        ).run()
    except BaseException:  # noqa: BLE001 - the fork must end here
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
