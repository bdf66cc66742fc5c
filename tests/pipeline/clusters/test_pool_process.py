"""The pool as a process of a cluster."""

import shlex
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
