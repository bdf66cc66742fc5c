"""The server's main process: its parts, their start, and their stop."""

import asyncio
import dataclasses
import functools
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web

from pipeline.errors import EXIT_DONE, EXIT_INTERRUPTED, UsageError, no_such
from serving import (
    grpc_api,
    metrics,
    model_process,
    page,
    request_log,
    upkeep,
    version,
)
from serving.activity import Activity
from serving.journal import Counts, Journal, Privacy, Rotation
from serving.live import Live, Source
from serving.metrics import Metrics
from serving.nursery import Nursery
from serving.predictor import Predictor
from serving.rest import Rest, json_response
from serving.settings import Log, Settings
from serving.shadow import Shadow
from serving.tokens import Tokens

_LOG = logging.getLogger(__name__)

_COUNT_SECONDS = 1.0


@dataclass(frozen=True)
class Places:
    """What a server reads and writes.

    Attributes:
        versions: The model's serving directory and the reviewed schema.
        log: The directory of the request log.
        monitoring: The page that monitoring writes.
    """

    versions: Source
    log: Path
    monitoring: Path


def serve(places: Places, settings: Settings) -> int:
    """Serves until it is stopped by SIGTERM or SIGINT; returns the exit code.

    Args:
        places: What it reads and writes.
        settings: How it serves.

    Raises:
        UsageError: It can't listen, or a file of tokens can't be used.
        ThroughlineError: No version can be served.
    """
    _log_to_standard_error()
    tokens = Tokens(settings.token_file)
    # Before the sockets: nobody may connect to what doesn't answer yet.
    nursery = Nursery.start(
        {version.MODEL_TASK: model_process.run, upkeep.TASK: upkeep.run}
    )
    return asyncio.run(_Server(places, settings, tokens, nursery).run())


class _Server:
    """The parts of a running server."""

    def __init__(
        self, places: Places, settings: Settings, tokens: Tokens, nursery: Nursery
    ) -> None:
        self._places = places
        self._settings = settings
        self._tokens = tokens
        self._nursery = nursery
        self._stop: asyncio.Event
        self._signal = signal.SIGTERM

    async def run(self) -> int:
        settings = self._settings
        self._stop = asyncio.Event()
        self._catch_signals()
        model = self._places.versions.base.name
        counts = Metrics(model)
        live = Live(self._places.versions, settings, self._nursery, counts)
        # Bound early, so that a port in use ends the start before a model is loaded.
        listening = _listen(settings.host, settings.port, "port")
        with listening:
            await live.start()
            _require_columns(settings.log, live)
            gc.collect()
            gc.freeze()
            log = self._open_log(settings.log)
            journal = log.journal if log else None
            shadow = Shadow(live, settings, counts, log.shadow) if log else None
            predictor = Predictor(live, counts, journal, shadow)
            activity = Activity()
            monitored = page.Monitoring(self._places.monitoring)
            logged = journal.counts if journal else None
            status = functools.partial(
                page.status, live, shadow, activity, logged, monitored
            )
            operations = _operations(counts, monitored, status)
            rest = Rest(predictor, live, operations, self._tokens, settings.limits)
            runner = await _http(rest, listening, settings)
            calls = grpc_api.server(
                grpc_api.Services(predictor, live, self._tokens), settings.limits
            )
            grpc_port = await self._start_grpc(calls)
            _announce(model, live, settings, listening, grpc_port)
            following = asyncio.create_task(live.follow())
            comparing = asyncio.create_task(shadow.follow()) if shadow else None
            counting = asyncio.create_task(_count(counts, live, journal, activity))
            looking = asyncio.create_task(monitored.follow())
            await self._stop.wait()
            _LOG.info("stopping: requests in flight are answered first")
            await live.stop()
            await asyncio.gather(runner.cleanup(), calls.stop(0))
            counting.cancel()
            looking.cancel()
            await following
            if shadow and comparing:
                comparing.cancel()
                await shadow.stop()
        if log:
            await asyncio.to_thread(_close_log, log)
        self._nursery.close()
        interrupted = self._signal == signal.SIGINT
        return EXIT_INTERRUPTED if interrupted else EXIT_DONE

    def _catch_signals(self) -> None:
        def stop(which: signal.Signals) -> None:
            self._signal = which
            self._stop.set()

        for which in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(which, stop, which)

    def _open_log(self, log: Log) -> "_OpenLog | None":
        """Starts the request log and the process that keeps its files in order."""
        if log.off:
            return None
        directory = self._places.log
        rotation = Rotation(
            log.flush_seconds, log.segment_seconds, log.segment_megabytes
        )
        privacy = Privacy(log.sample, frozenset(log.leave_out), frozenset(log.hashed))
        shadows = directory / request_log.SHADOW
        keeper = self._nursery.spawn(
            upkeep.TASK,
            {
                "directories": [str(directory), str(shadows)],
                "days": log.keep_days,
                "megabytes": log.keep_megabytes,
            },
        )
        return _OpenLog(
            Journal(directory, rotation, privacy), Journal(shadows, rotation), keeper
        )

    async def _start_grpc(self, calls: grpc.aio.Server) -> int | None:
        if self._settings.grpc_port is None:
            return None
        host = _bracketed(self._settings.host)
        try:
            port = calls.add_insecure_port(f"{host}:{self._settings.grpc_port}")
        except RuntimeError:
            raise _in_use(
                self._settings.host, self._settings.grpc_port, "grpc-port"
            ) from None
        await calls.start()
        return int(port)


@dataclass(frozen=True)
class _OpenLog:
    """The request log that is being written.

    Attributes:
        journal: Of the answers that clients get.
        shadow: Of a shadow's answers.
        keeper: Connects the process that keeps the files in order.
    """

    journal: Journal
    shadow: Journal
    keeper: socket.socket


def _require_columns(log: Log, live: Live) -> None:
    """Rejects a misspelt column, whose values would be logged as they are."""
    hidden = dict.fromkeys(log.leave_out, "leave-out")
    hidden |= dict.fromkeys(log.hashed, "hashed")
    known = live.columns() if hidden else set()
    for name, flag in hidden.items():
        if name not in known:
            raise UsageError(
                f"--log.{flag}: {no_such('column', name, known)}; the model and the "
                f"reviewed schema have {', '.join(sorted(known))}"
            )


async def _http(
    rest: Rest, listening: socket.socket, settings: Settings
) -> web.ServerRunner:
    size = int(settings.limits.body_megabytes * 1e6)
    loop = asyncio.get_running_loop()
    request = functools.partial(web.BaseRequest, loop=loop, client_max_size=size)
    server = web.Server(rest.handle, request_factory=request, access_log=None)
    runner = web.ServerRunner(
        server, shutdown_timeout=settings.limits.stop_seconds, handle_signals=False
    )
    await runner.setup()
    await web.SockSite(runner, listening, backlog=1024).start()
    return runner


def _listen(host: str, port: int, flag: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if isinstance(error, socket.gaierror):
            raise UsageError(
                f"host is {host!r}, which is no address of this machine: "
                f"{error.strerror}"
            ) from None
        raise _in_use(host, port, flag, error) from None
    return listening


def _in_use(
    host: str, port: int, flag: str, error: OSError | None = None
) -> UsageError:
    reason = (error and error.strerror) or "address already in use"
    return UsageError(
        f"{flag} {port} of {host} can't be listened on: {reason.lower()}; give another "
        f"--{flag}, or 0 for a free one"
    )


def _announce(
    model: str,
    live: Live,
    settings: Settings,
    listening: socket.socket,
    grpc_port: int | None,
) -> None:
    number = live.version.number if live.version else None
    host, port = listening.getsockname()[:2]
    shown = _bracketed(host)
    lines = [
        f"serving  {model}, version {number}",
        f"REST     http://{shown}:{port}/v1/models/{model}:predict",
        f"page     http://{shown}:{port}/",
    ]
    if grpc_port is not None:
        lines.append(f"gRPC     {shown}:{grpc_port}")
    if settings.token_file:
        lines.append(f"tokens   {settings.token_file}")
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()


def _bracketed(host: str) -> str:
    """Returns an address as URLs have it."""
    return f"[{host}]" if ":" in host else host


def _operations(
    counts: Metrics,
    monitored: page.Monitoring,
    status: Callable[[], Mapping[str, Any]],
) -> Mapping[str, Callable[[], web.Response]]:
    """Returns the handlers of metrics and the page, by path."""

    def shown() -> web.Response:
        return json_response(status())

    def measured() -> web.Response:
        content = "text/plain; version=0.0.4; charset=utf-8"
        return web.Response(body=counts.text(), headers={"Content-Type": content})

    files = {path: functools.partial(page.file, path) for path in page.FILES}
    return {
        **files,
        page.STATUS: shown,
        page.MONITORING: monitored.response,
        metrics.PATH: measured,
    }


async def _count(
    counts: Metrics, live: Live, journal: Journal | None, activity: Activity
) -> None:
    """Updates the metrics that are polled instead of counted."""
    before = Counts()
    while True:
        counts.waiting.set(live.version.batcher.waiting if live.version else 0)
        now = dataclasses.replace(journal.counts) if journal else before
        counts.logged("written", now.written - before.written)
        counts.logged("dropped", now.dropped - before.dropped)
        before = now
        activity.note(counts.registry)
        await asyncio.sleep(_COUNT_SECONDS)


def _close_log(log: _OpenLog) -> None:
    """Writes what is waiting, and waits for the last segment."""
    log.journal.close()
    log.shadow.close()
    keeper = log.keeper
    # The keeper takes it for the server's end, has its last turn and ends itself.
    keeper.shutdown(socket.SHUT_WR)
    keeper.settimeout(30)
    try:
        keeper.recv(1)
    except TimeoutError:
        _LOG.warning(
            "the last journal is not a Parquet file yet; the next server's start or "
            "%s.close_journals makes it one",
            request_log.__name__,
        )


def _log_to_standard_error() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", force=True
    )
    # It writes a traceback for each request that is no HTTP. Whatever fails on one that
    # is, `Rest.handle` catches.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
