"""The compiled pipeline, run by Celery's workers, on files and on Redis."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.runners import celery
from tests.pipeline.runners.conftest import Stub
from tests.pipeline.runners.redis_server import redis_server

MODULE = [sys.executable, "-m", "pipeline.runners.celery"]


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Redis server that lives as long as the tests."""
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["files", "redis"])
def broker(request: pytest.FixtureRequest) -> list[str]:
    """The flags that choose the broker."""
    if request.param == "files":
        return []
    return ["--broker", request.getfixturevalue("redis")]


Worker = subprocess.Popen[bytes]


@pytest.fixture
def start_worker(stub: Stub, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers, each in a process group of its own, and ends them."""
    started: list[Worker] = []

    def start(*flags: str) -> Worker:
        name = f"w{len(started)}"
        command = [*MODULE, "worker", "--compiled", str(stub.directory)]
        with (tmp_path / f"{name}.log").open("wb") as log:
            worker = subprocess.Popen(
                [*command, "--name", f"{name}@here", *flags],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started.append(worker)
        return worker

    yield start
    for worker in started:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


def drive(stub: Stub, *flags: str) -> subprocess.Popen[str]:
    """Starts the driver of a run."""
    return subprocess.Popen(
        [*MODULE, "run", "--compiled", str(stub.directory), "--run", "monday", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_workers_share_a_run(
    stub: Stub, broker: list[str], start_worker: Callable[..., Worker]
) -> None:
    """Each node runs once, in order, and two of them at the same time."""
    stub.slow_down("Left", 3)
    stub.slow_down("Right", 3)
    for _ in range(2):
        start_worker(*broker)

    driver = drive(stub, *broker)

    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 0, errors
    assert stub.calls()[0] == "Gen"
    assert stub.calls()[-1] == "Push"
    assert sorted(stub.calls("start")) == sorted(stub.upstream)
    assert {event.split()[0] for event in stub.events()[2:4]} == {"start"}


def test_failing_node_fails_the_run_with_its_code(
    stub: Stub, broker: list[str], start_worker: Callable[..., Worker]
) -> None:
    """The driver ends with the node's code and names its log; nothing follows."""
    stub.fail("Left", 3)
    start_worker(*broker)

    driver = drive(stub, *broker)

    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 3, errors
    assert "Left.log" in errors
    assert "Push" not in stub.calls("start")


def test_killed_workers_node_is_retried_and_runs_once(
    stub: Stub, redis: str, start_worker: Callable[..., Worker]
) -> None:
    """When a worker is killed with its node, another worker runs the node."""
    stub.slow_down("Gen", 2)
    flags = ["--broker", redis, "--redeliver-seconds", "2"]
    first = start_worker(*flags)
    driver = drive(stub, *flags)
    wait_until(lambda: stub.calls("start") == ["Gen"])

    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    start_worker(*flags)

    _, errors = driver.communicate(timeout=90)
    assert driver.returncode == 0, errors
    assert stub.calls("start") == ["Gen", "Gen", *stub.calls("start")[2:]]
    assert sorted(stub.calls()) == sorted(stub.upstream)


def test_orphaned_node_is_waited_for(
    stub: Stub, redis: str, start_worker: Callable[..., Worker]
) -> None:
    """A node that outlives its worker is not run a second time beside itself."""
    stub.slow_down("Gen", 4)
    worker = start_worker("--broker", redis)
    driver = drive(stub, "--broker", redis)
    wait_until(lambda: stub.calls("start") == ["Gen"])

    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text()
    for child in children.split():
        os.kill(int(child), signal.SIGKILL)

    _, errors = driver.communicate(timeout=90)
    assert driver.returncode == 0, errors
    assert stub.events()[:2] == ["start Gen", "end Gen"]


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits up to a minute for something to become true."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("it did not become true within a minute")


def test_names_that_lead_elsewhere_are_refused(stub: Stub) -> None:
    """A run whose name could leave the directory ends with 2; nothing is written."""
    before = sorted(stub.directory.parent.rglob("*"))

    driver = drive(stub, "--run", "../../../evilrun")

    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 2
    assert "run is '../../../evilrun'; the name of a run must" in errors
    assert sorted(stub.directory.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: celery.WorkerFlags(workers=0), "workers is 0; it must be at least 1"),
        (
            lambda: celery.RunFlags(run="a", redeliver_seconds=0),
            "redeliver-seconds is 0; it must be at least 1",
        ),
    ],
)
def test_impossible_flags_are_refused(make: Callable[[], object], said: str) -> None:
    """A worker that takes nothing and a node that is delivered for ever are refused."""
    with pytest.raises(UsageError, match=said):
        make()
