"""`make notebooks` and `make tensorboard`: servers that show what runs left."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.runs import Finished

pytestmark = pytest.mark.e2e

DEADLINE_SECONDS = 120


@contextmanager
def served(clone: Path, target: str, flags: str) -> Iterator[str]:
    """Starts a make target on a free loopback port; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["make", target, f"ARGS={flags.format(port=port)}"],
        cwd=clone,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def fetch(url: str) -> str:
    """Reads an address as soon as the server answers there."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - ours
                text: str = answer.read().decode()
                return text
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert time.monotonic() < deadline, f"nobody answers at {url}"
            time.sleep(0.5)


def test_tensorboard_shows_all_runs(clone: Path, second_run: Finished) -> None:
    """The logs of every training are there, of each run with train and validation."""
    directory = second_run.output / "artifacts" / "Trainer" / "model_run"
    trainings = {path.name for path in directory.iterdir()}

    with served(clone, "tensorboard", "--port {port}") as url:
        deadline = time.monotonic() + DEADLINE_SECONDS
        runs: set[str] = set()
        # It answers before it has read the logs.
        while len(runs) < 2 * len(trainings) and time.monotonic() < deadline:
            runs = set(json.loads(fetch(f"{url}/data/runs")))
            time.sleep(0.5)

    assert len(trainings) >= 2
    assert {f"{t}/{split}" for t in trainings for split in ("train", "validation")} <= {
        run.removeprefix("./") for run in runs
    }


def test_jupyterlab_offers_the_notebooks(clone: Path, second_run: Finished) -> None:
    """JupyterLab starts in the environment and has the three notebooks."""
    flags = (
        "--no-browser --allow-root --ServerApp.port={port} --IdentityProvider.token="
    )

    with served(clone, "notebooks", flags) as url:
        lab = fetch(f"{url}/lab")
        names = [
            entry["name"]
            for entry in json.loads(fetch(f"{url}/api/contents"))["content"]
        ]

    assert "JupyterLab" in lab
    assert {"01_data.ipynb", "02_model.ipynb", "03_lineage.ipynb"} <= set(names)
