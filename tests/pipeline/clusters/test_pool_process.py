"""The pool as a process of a cluster."""

import os
import shlex
import time
from pathlib import Path

import pytest

from pipeline.clusters import pool_process
from pipeline.clusters.processes import Processes


def test_it_is_started_at_the_port_that_commands_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command's port is the one in the flags."""
    started: list[str] = []
    monkeypatch.setattr(
        Processes, "start", lambda _, name, command, given: started.extend(command)
    )

    pool_process.start(Processes(tmp_path))

    assert "pipeline.clusters.pool" in started
    (port,) = (word.partition("=")[2] for word in started if "--port" in word)
    assert f"127.0.0.1:{port}" in shlex.join(pool_process.FLAGS)


def test_workers_have_the_processor_time_that_they_used(tmp_path: Path) -> None:
    """It is that of the log for workers that have ended, and so far for the others."""
    log = tmp_path / "pool.log"
    log.write_text(
        "listening at 127.0.0.1:50000\n"
        "worker 1-1 of 127.0.0.1:4001 started for job-a, pid 999999998\n"
        f"worker 1-1 of 127.0.0.1:4002 started for job-a, pid {os.getpid()}\n"
        "worker 2-1 of 127.0.0.1:4001 started for job-b, pid 999999999\n"
        "worker 1-1 of 127.0.0.1:4001 ended, pid 999999998: 12.5 CPU s, 300 MB\n"
    )

    ended, running, gone = pool_process.workers_in(log)

    assert (ended.job, ended.seconds) == ("job-a", 12.5)
    assert 0 < running.seconds <= time.process_time() + 1
    assert (gone.job, gone.seconds) == ("job-b", 0)
