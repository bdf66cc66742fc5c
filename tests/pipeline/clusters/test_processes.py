"""Processes of a cluster: none outlives the one that started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.clusters.processes import Processes, listens
from pipeline.errors import ThroughlineError

SLEEP = ["sleep", "600"]


def is_running(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for doesn't."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_processes_end_with_the_block(tmp_path: Path) -> None:
    """All are stopped, also if the block fails."""
    processes = Processes(tmp_path)
    processes.start("sleeping", SLEEP, None)
    pid = processes.pid_of("sleeping")
    assert is_running(pid)

    with pytest.raises(RuntimeError, match="the block failed"), processes:
        raise RuntimeError("the block failed")

    assert not is_running(pid)


_STARTS = """
import sys, time
from pathlib import Path
from pipeline.clusters.processes import Processes

with Processes(Path(sys.argv[1])) as processes:
    processes.start("sleeping", ["sleep", "600"], None)
    print(processes.pid_of("sleeping"), flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux' kernel")
def test_processes_end_with_one_that_is_killed(tmp_path: Path) -> None:
    """Even `kill -9` leaves no process behind."""
    command = [sys.executable, "-c", _STARTS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starting:
        assert starting.stdout
        child = int(starting.stdout.readline())
        starting.kill()

    end = time.monotonic() + 20
    while is_running(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(child)


def test_a_process_that_ends_early_is_named_with_its_reason(tmp_path: Path) -> None:
    """Whoever waits for something learns which process failed, and why."""
    failing = ["sh", "-c", "echo 'java.net.BindException: Address in use'; exit 3"]
    with Processes(tmp_path) as processes:
        processes.start("job-server", failing, None)

        with pytest.raises(
            ThroughlineError, match=r"job-server has ended .* Address in use .*\.log"
        ):
            processes.wait_until(lambda: False, 60, "job server")


def test_waiting_has_an_end(tmp_path: Path) -> None:
    """What isn't there in time is named."""
    with (
        Processes(tmp_path) as processes,
        pytest.raises(ThroughlineError, match="no cluster after 0 seconds"),
    ):
        processes.wait_until(lambda: False, 0.1, "cluster")


def test_killed_processes_are_noticed_and_can_be_started_again(tmp_path: Path) -> None:
    """A lost process is listed until it is started again."""
    with Processes(tmp_path) as processes:
        processes.start("sleeping", SLEEP, None)
        os.kill(processes.pid_of("sleeping"), signal.SIGKILL)
        processes.wait_until(lambda: True, 1, "anything")
        while not processes.ended():
            time.sleep(0.01)

        processes.start("sleeping", SLEEP, None)

        assert processes.ended() == []


def test_a_port_without_a_listener() -> None:
    """Nothing listens at the port of TCP's multiplexer."""
    assert not listens(1)
