"""Faults while a model is served and operated: kills, a full disk, a bad model.

The server, the ticks and the pipeline are real; requests come all the time. By default
there are 9 kills; `--kills 21` has all that docs/operating.md names.
"""

import contextlib
import os
import pickle
import random
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from demo import day
from demo.client import Client
from demo.day import Trip
from operations import facts, labels, requests, status
from operations.decisions import Action, Decision
from operations.joining import Status
from operations.requests import Log
from operations.settings import Inbox, Operate, Watch
from pipeline.config import Config, Gate, Quality, ServingCheck, smoke
from pipeline.ingestion.columns import kinds_of_schema
from pipeline.registry import changes, history
from pipeline.store import clock
from pipeline.trust import schema_review
from serving import request_log
from tests.e2e import worse
from tests.e2e.runs import PROJECT
from tests.e2e.test_operate import CLIENT
from tests.e2e.warm import MOMENTS, Forked, WarmProcess, call
from tests.serving.conftest import Server, wait_until

pytestmark = pytest.mark.e2e

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
ROWS = 400
BOUND_SECONDS = 1.0
INFINITE = float("inf")
# Less than another server takes to start.
CLIENT_SECONDS = 0.5
WATCH = timedelta(hours=6)
# Those whose kill leaves most behind, and a cheap one.
NODES = ("ExampleGen", "Trainer", "Pusher", "Transform")
_WRITES = range(1, 7)


@dataclass
class Traffic:
    """Requests that come all the time, each with an id of its own.

    Attributes:
        server: Returns the server that runs now.
        trips: What is asked about, over and over.
        acknowledged: When each request's answer came, by id.
        versions: The version that answered, by id.
    """

    server: Callable[[], Server]
    trips: list[Trip]
    acknowledged: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    _ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Asks until it is ended."""
        kinds = kinds_of_schema(schema_review.read(smoke().schema))
        number = 0
        while not self._ended.wait(0.01):
            port = self.server().ports.get("rest", 0)
            client = Client(port, "taxi", kinds)
            trip = replace(self.trips[number % len(self.trips)], number=number)
            client.ask(trip)
            client.close()
            number += 1
            for version in client.answered:
                self.acknowledged[trip.request_id] = time.monotonic()
                self.versions[trip.request_id] = version
            self.refused.update(client.failures)

    def of(self, version: int) -> list[str]:
        """Returns the ids of requests that a version has answered."""
        # Copied at once, since the thread goes on.
        return [i for i, v in self.versions.copy().items() if v == str(version)]

    def wait_for_more(self, count: int) -> None:
        """Waits until so many more requests have been answered."""
        wanted = len(self.acknowledged) + count
        wait_until(lambda: len(self.acknowledged) >= wanted)

    def end(self) -> None:
        """Ends it."""
        self._ended.set()


class Production:
    """A model in production on one machine, with a clock of its own."""

    def __init__(self, root: Path, warm: WarmProcess) -> None:
        """Prepares the directories."""
        self.root = root
        self.warm = warm
        self.clock = root / "clock"
        self.inbox = root / "inbox"
        self.inbox.mkdir()
        self.kill = root / "kill"
        self.config: Config = replace(
            smoke(),
            name="taxi",
            data=root / "data",
            pattern="span-{SPAN}/*.csv",
            output=root / "out",
            # So that a model is good enough for another to be worse.
            train_steps=100,
            quality=Quality(
                min_auc=0.01,
                max_auc_loss=1,
                max_slice_auc_loss=1,
                max_error_rate_gap=1,
            ),
            gate=Gate(
                warn=("DRIFT", "UNSEEN_VALUES", "LABEL_RATE", "LABEL_RELATION"),
                min_share_of_rows=0.01,
            ),
            serving_check=ServingCheck(max_latency_ms=60_000),
        )
        client = root / "client.py"
        address = str(warm.directory / "socket")
        client.write_text(
            CLIENT.format(project=str(PROJECT), address=address, kill=str(self.kill))
        )
        self.settings = Operate(
            on=("span",),
            backoff_minutes=0,
            stop_after=99,
            max_runs_per_day=999,
            monitor_minutes=1e6,
            inbox=Inbox(directory=self.inbox),
            watch=Watch(hours=6, min_rows=100, max_slowdown=1e6, shadow_share=1.0),
        )
        self._pickled = root / "operate.pickle"
        program = (sys.executable, str(client))
        self._pickled.write_bytes(pickle.dumps((self.config, self.settings, program)))
        self.now = BEGIN
        self.server = Server(root, root / "none", Forked(0, None))  # type: ignore[arg-type]
        self._started = 0
        hours = dict(day.hours())
        self.trips = [trip for hour in (12, 13) for trip in hours[hour]]

    def pass_time(self, hours: float) -> None:
        """Sets the clock forward, or back."""
        self.now += timedelta(hours=hours)
        clock.write(self.clock, self.now)

    def arrive(self, span: int) -> None:
        """Delivers a span of the training data."""
        files = list(day.history().values())
        header, *rows = b"".join(files[:1]).splitlines(keepends=True)
        for content in files[1:]:
            rows += content.splitlines(keepends=True)[1:]
        # In the order of quarters, spans differ enough for the gate to refuse one.
        random.Random(1).shuffle(rows)  # noqa: S311 - no secret depends on it
        path = self.root / "data" / f"span-{span}" / "trips.csv"
        path.parent.mkdir(parents=True)
        path.write_bytes(header + b"".join(rows[ROWS * span : ROWS * (span + 1)]))

    def start_tick(self, moment: int = 0) -> Forked:
        """Starts a tick in a process of its own, which is killed at a moment."""
        script = PROJECT / "tests" / "e2e" / "operate_once.py"
        words = [str(script), str(self._pickled), str(moment)]
        return self._forked("script", words, f"tick-{self._started}.txt")

    def tick(self, moment: int = 0) -> int:
        """Ticks to the end; returns the exit code."""
        return self.start_tick(moment).wait()

    def serve(self) -> None:
        """Starts a server of the live version and waits until it answers."""
        flags = ["--name", "taxi", "--output", str(self.config.output)]
        ports = ["--port", "0", "--grpc-port", "0"]
        words = ["serve", *flags, *ports, "--log.segment-seconds", "0.5"]
        name = f"serve-{self._started}.txt"
        process = self._forked("throughline", words, name)
        self.server = Server(self.root, self.root / name, process).wait()

    def kill_server(self) -> float:
        """Kills the server (-9) and starts another one; returns when it was dead."""
        self.server.stop(signal.SIGKILL)
        dead = time.monotonic()
        self.serve()
        return dead

    def _forked(self, program: str, words: list[str], name: str) -> Forked:
        self._started += 1
        printed = self.root / name
        with printed.open("wb") as file, Path(os.devnull).open() as nothing:
            descriptors = [nothing.fileno(), file.fileno(), file.fileno()]
            address = str(self.warm.directory / "socket")
            forked = call(address, program, words, descriptors)
        return Forked(forked.pid, forked.connection, printed)

    @property
    def decisions(self) -> list[Decision]:
        """All decisions, oldest first."""
        return facts.decisions_of(self.config).all()

    @property
    def live(self) -> int:
        """The live version."""
        return history.read(self.config.serving_directory).live or 0

    def logged(self) -> Counter[str]:
        """Returns the request log's rows by request id."""
        found: Counter[str] = Counter()
        log = requests.directory_of(self.config)
        for batch in request_log.read(log, columns=["request_id"]):
            found.update(batch.column("request_id").to_pylist())
        return found

    def compared(self, version: int) -> list[str]:
        """Returns the ids of requests that a version and a shadow have answered.

        Earlier versions have had shadows too, whose answers are in the same log.
        """
        self.server.hurry_shadow()
        log = Log(requests.directory_of(self.config))
        shadowed = set(ids_of(log.shadow))
        return [i for i in ids_of(log, version) if i in shadowed]

    def status(self) -> str:
        """Returns what `throughline operate --status` prints."""
        found = status.lines(self.config, self.settings, clock.now)
        return "\n".join(found)

    def wait_for_log(self, request_id: str) -> None:
        """Waits until a request is in a segment."""
        wait_until(lambda: request_id in self.logged())


def ids_of(log: Log, version: int | None = None) -> list[str]:
    """Returns the ids of a log's requests, of one version if given."""
    batches = request_log.read(log.directory, columns=["request_id", "version"])
    return [
        row["request_id"]
        for batch in batches
        for row in batch.to_pylist()
        if version in {None, row["version"]}
    ]


def settled(production: Production) -> None:
    """Ticks until no run is open, as the loop of `throughline operate` does."""
    for _ in range(100):
        production.pass_time(0.01)
        production.tick()
        if not any(d.is_open for d in production.decisions):
            return
        # A run that outlived its parent is waited for.
        time.sleep(0.2)
    raise AssertionError([d.outcome for d in production.decisions])


@pytest.fixture(scope="module")
def production(
    tmp_path_factory: pytest.TempPathFactory, warm: WarmProcess
) -> Iterator[Production]:
    """A model that was trained, is served, and is asked about trips."""
    made = Production(tmp_path_factory.mktemp("faults"), warm)
    made.pass_time(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(clock.VARIABLE, str(made.clock))
        made.arrive(1)
        settled(made)
        made.serve()
        yield made
        made.server.stop()


@pytest.fixture(scope="module")
def traffic(production: Production) -> Iterator[Traffic]:
    """Requests that come all the time."""
    found = Traffic(lambda: production.server, production.trips)
    thread = threading.Thread(target=found.run)
    thread.start()
    found.wait_for_more(30)
    yield found
    found.end()
    thread.join()


def test_kills_lose_nothing_and_start_nothing_twice(
    production: Production, traffic: Traffic, request: pytest.FixtureRequest
) -> None:
    """Server, tick and node of each of several spans are killed, one after another."""
    chance = random.Random(20_261_129)  # noqa: S311 - no secret depends on it
    rounds = -(-request.config.getoption("--kills") // 3)
    deaths: list[float] = []
    killed = 0
    for span in range(2, 2 + rounds):
        production.arrive(span)
        node = NODES[span % len(NODES)]
        production.kill.write_text(f"{node} {chance.choice(MOMENTS)}")
        production.pass_time(1)
        if span % 2:
            killed += killed_with_a_run(production) == -signal.SIGKILL
        else:
            killed += production.tick(chance.choice(_WRITES)) == -signal.SIGKILL
        traffic.wait_for_more(chance.randrange(10, 60))
        deaths.append(production.kill_server())
        traffic.wait_for_more(10)
        settled(production)
        assert not production.kill.exists()

    ids = list(traffic.acknowledged.copy())
    production.wait_for_log(ids[-1])

    def late() -> list[float]:
        """Seconds from a lost request's answer to the next kill, if they are many."""
        logged = production.logged()
        missing = [traffic.acknowledged[i] for i in ids if i not in logged]
        # The client may note an answer a moment after the server that gave it is dead.
        ends = [*deaths, INFINITE]
        ages = [min(d - at for d in ends if d >= at - CLIENT_SECONDS) for at in missing]
        return [age for age in ages if age > BOUND_SECONDS]

    # The journal of a killed server becomes a segment when somebody gets to it.
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not late(), 30)
    assert late() == []
    logged = production.logged()
    runs = [d for d in production.decisions if d.action is Action.RUN]
    assert killed == rounds
    assert max(logged.values()) == 1
    # So there was something to lose, and not much was.
    assert len(ids) > 100
    # One decision a span, one push of each, and each killed run was done in the end.
    newest = [max(d.facts["spans"]) for d in runs]
    assert newest == list(range(1, 2 + rounds))
    assert [d.attempts[-1].exit_code for d in runs] == [0] * len(runs)
    registry = history.read(production.config.serving_directory)
    assert len(registry.numbers) == len(runs)
    assert not traffic.refused.keys() - {
        *("ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected"),
        *("BadStatusLine", "IncompleteRead", "503: the server is stopping"),
    }


def killed_with_a_run(production: Production) -> int:
    """Kills a tick whose run has begun, which goes on; returns the exit code."""
    before = len([d for d in production.decisions if d.attempts])
    tick = production.start_tick()
    wait_until(lambda: len([d for d in production.decisions if d.attempts]) > before)
    os.kill(tick.pid, signal.SIGKILL)
    return tick.wait()


def test_two_operators_at_once_start_one_run(
    production: Production, traffic: Traffic
) -> None:
    """And a clock that is set back starts none."""
    span = max(n for d in production.decisions for n in d.facts.get("spans", ()))
    production.arrive(span + 1)
    production.pass_time(1)
    before = len(production.decisions)

    both = [production.start_tick() for _ in range(2)]
    codes = [tick.wait() for tick in both]
    production.pass_time(-10)
    back = production.start_tick()
    codes.append(back.wait())
    production.pass_time(10)

    (decision,) = production.decisions[before:]
    printed = [tick.printed.read_text() for tick in both]
    assert codes == [0, 0, 0], printed
    assert sorted("held" in text for text in printed) == [False, True]
    assert [attempt.exit_code for attempt in decision.attempts] == [0]
    assert "minutes behind the newest decision" in back.printed.read_text()


def test_a_full_disk_stops_no_answer(production: Production, traffic: Traffic) -> None:
    """Log rows are dropped and counted: none is missing that isn't counted."""
    server = production.server
    last = list(traffic.acknowledged.copy())[-1]
    production.wait_for_log(last)
    soft, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)

    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (16, hard))
    refused = traffic.refused.total()
    wait_until(lambda: server.ask("/status").json()["log"]["dropped"] > 20)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
    traffic.wait_for_more(60)
    ids = list(traffic.acknowledged.copy())
    production.wait_for_log(ids[-5])

    logged = production.logged()
    missing = [i for i in ids[ids.index(last) : -5] if i not in logged]
    assert traffic.refused.total() == refused
    assert len(missing) == server.ask("/status").json()["log"]["dropped"]
    assert ids[-5] in logged


def test_a_broken_version_is_not_served(
    production: Production, traffic: Traffic
) -> None:
    """The one before it answers all the time."""
    base = production.config.serving_directory
    live = production.live
    wait_until(lambda: production.server.ask("/readyz").json()["version"] == live)
    refused = traffic.refused.total()

    (base / str(live + 1)).mkdir()
    production.server.process.wait_for(f"version {live + 1} can't be loaded")
    traffic.wait_for_more(20)
    answered = set(list(traffic.versions.copy().values())[-20:])
    shown = production.server.ask("/status").json()["simulated"]
    (base / str(live + 1)).rmdir()

    assert answered == {str(live)}
    assert shown == f"{production.now:%Y-%m-%d %H:%M} UTC"
    assert traffic.refused.total() == refused


def test_labels_that_come_twice_are_used_once(
    production: Production, traffic: Traffic
) -> None:
    """The same file, under another name, and with a killed tick in between."""
    logged = production.logged()
    ids = [i for i in traffic.acknowledged.copy() if i in logged][:150]
    text = day.as_csv([outcome(production, i) for i in ids])
    for name in ("a.csv", "b.csv"):
        (production.inbox / name).write_bytes(text)
    production.pass_time(0.1)

    killed = production.tick(moment=2)
    settled(production)
    (production.inbox / "c.csv").write_bytes(text)
    settled(production)

    book = labels.ledger_of(production.config)
    joined = [
        row
        for batch in book.rows([Status.JOINED], ["request_id"])
        for row in batch.column("request_id").to_pylist()
    ]
    written = [e.about for e in book.entries() if e.about.joined]
    rows = [
        (Path(about.data) / about.path).read_text().count("\n") - 1 for about in written
    ]
    assert killed == -signal.SIGKILL
    assert sorted(joined) == sorted(ids)
    assert sum(rows) == len(ids)


def outcome(production: Production, request_id: str) -> dict[str, str]:
    """Returns what became of a trip that was asked about."""
    number = int(request_id.rpartition("-")[2])
    trip = production.trips[number % len(production.trips)]
    return {**trip.outcome(), "request_id": request_id}


def test_a_worse_model_is_rolled_back_in_time(
    production: Production, traffic: Traffic
) -> None:
    """Within the watch time, by the answers of both and the labels that have come."""
    before = production.live
    base = production.config.serving_directory
    bad = worse.save(base / str(before), production.root / "worse")
    production.pass_time(1)

    version = changes.push(bad, base, {}, changes.Author(by="a mistake"))
    production.tick()
    waiting = production.status()
    wait_until(lambda: len(production.compared(version)) > 200, 240)
    ids = production.compared(version)
    production.pass_time(2)
    text = day.as_csv([outcome(production, i) for i in ids])
    (production.inbox / "worse.csv").write_bytes(text)
    told = production.status()
    production.tick()

    registry = history.read(base)
    (rollback,) = [d for d in production.decisions if d.action is Action.ROLLBACK]
    (period,) = registry.periods[version]
    assert rollback.facts["version"] == version
    assert "has AUC" in rollback.because
    assert f"watched    version {version} until" in waiting
    assert "AUC: not decided: 0 predictions since the push have a label" in told
    lived = datetime.fromisoformat(period.until or "") - datetime.fromisoformat(
        period.since
    )
    assert lived < WATCH
    assert registry.added[production.live].restored == before
    wait_until(lambda: traffic.of(production.live))
