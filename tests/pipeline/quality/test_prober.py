"""The processes that probe: forked or started, used, killed, and gone in the end."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.errors import ThroughlineError
from pipeline.quality import prober
from pipeline.quality.prober import Prober
from pipeline.quality.serving_check import requests_of
from pipeline.quality.serving_probe import ANSWERS_FILE, REQUESTS_FILE, STEP_FILE
from tests.pipeline.quality.served_models import save
from tests.pipeline.quality.test_serving_probe import ROWS
from tests.serving.conftest import wait_until

SECONDS = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound model."""
    return save(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with requests."""
    (tmp_path / REQUESTS_FILE).write_text(json.dumps(requests_of(ROWS)))
    return tmp_path


@pytest.fixture(scope="module")
def started() -> Iterator[Prober]:
    """The program, which several tests ask."""
    with Prober.started() as process:
        yield process


def answers(files: Path) -> dict[str, object]:
    """What a probe wrote."""
    found: dict[str, object] = json.loads((files / ANSWERS_FILE).read_text())
    return found


def test_each_probe_has_a_process_of_its_own(
    started: Prober, model: Path, files: Path
) -> None:
    """One that fails says why, and the next probe is answered."""
    failed = started.probe(files / "no model", files, SECONDS)
    done = started.probe(model, files, SECONDS)

    assert "no model" in failed
    assert done == ""
    assert answers(files)["failures"] == {}


def _children(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children")
    return [int(text) for text in listed.read_text().split()]


@contextmanager
def _sent_when_it_begins(number: int, process: Prober, files: Path) -> Iterator[None]:
    """Sends a signal to the process that probes, as soon as it does."""

    def send() -> None:
        wait_until((files / STEP_FILE).is_file)
        (probing,) = _children(process.process)
        os.kill(probing, number)

    sender = threading.Thread(target=send)
    sender.start()
    yield
    sender.join()


def test_a_crash_is_named(started: Prober, model: Path, files: Path) -> None:
    """A process that dies of a signal does not end the one that it was forked from."""
    with _sent_when_it_begins(signal.SIGSEGV, started, files):
        died = started.probe(model, files, SECONDS)
    (files / STEP_FILE).unlink()
    done = started.probe(model, files, SECONDS)

    assert died == "the process died of SIGSEGV"
    assert done == ""


def test_what_takes_too_long_is_killed(
    started: Prober, model: Path, files: Path
) -> None:
    """A process that hangs is ended after the time that it may take."""
    # Its imports are done once it has answered.
    assert started.probe(model, files, SECONDS) == ""
    (files / STEP_FILE).unlink()

    with _sent_when_it_begins(signal.SIGSTOP, started, files):
        late = started.probe(model, files, 2)

    assert late == "it did not end within 2 s"
    wait_until(lambda: not _children(started.process))


def test_a_prober_that_is_gone_is_no_verdict(model: Path, files: Path) -> None:
    """The node fails, and the model isn't judged."""
    with Prober.started() as process:
        os.kill(process.process, signal.SIGKILL)

        with pytest.raises(ThroughlineError, match=f"{process.process}, .* died"):
            process.probe(model, files, SECONDS)


def test_one_that_was_started_early_is_used(model: Path, files: Path) -> None:
    """The process of a node starts one, and only one, before it has a model."""
    prober.start_early()
    prober.start_early()
    (early,) = prober._at_hand

    with prober.for_one_probe() as process:
        assert process is early
        assert process.probe(model, files, SECONDS) == ""

    prober._at_hand.remove(early)
    early.__exit__()


# What the runner does: it forks before it imports the rest, and has nodes that it forks
# later ask that process.
_RUNNER = """
import json, os, signal, sys, time
from pathlib import Path
from pipeline.quality import prober

model, files = map(Path, sys.argv[1:])
signal.signal(signal.SIGINT, signal.SIG_IGN)
with prober.at_hand():
    (early,) = prober._at_hand
    absent = not {"keras", "tfx", "tensorflow_transform", "models.trainer"} & {
        *sys.modules
    }
    import tensorflow as tf
    import keras
    # What is ignored here, as in a shell's background, is ignored there.
    os.kill(early.process, signal.SIGINT)
    with prober.for_one_probe() as process:
        failed = process.probe(model, files, 120)
    # A node that outlives this process holds the channel, too.
    node = os.fork()
    if not node:
        os.close(1)
        time.sleep(300)
        os._exit(0)
    print(json.dumps([absent, process is early, failed, tf.add(1, 2).numpy().item(),
                      early.process, node]))
    sys.stdout.flush()
    if os.environ["END"] == "killed":
        os.kill(os.getpid(), 9)
"""


def run(model: Path, files: Path, end: str) -> tuple[int, list[object]]:
    """Runs the script; returns its exit code, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER, str(model), str(files)],
        env={**os.environ, "END": end},
        stdout=subprocess.PIPE,
        check=False,
        timeout=SECONDS,
    )
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(("end", "code"), [("", 0), ("killed", -9)])
def test_a_fork_from_before_keras_probes(
    end: str, code: int, model: Path, files: Path
) -> None:
    """It has TensorFlow's loader only, and ends with whoever forked it."""
    returned, said = run(model, files, end)

    *said, process, node = said
    assert returned == code
    assert said == [True, True, "", 3]
    assert answers(files)["failures"] == {}
    try:
        # The kernel ends it at once, but not before `run` returns.
        wait_until(lambda: not Path(f"/proc/{process}").exists())
    finally:
        os.kill(int(str(node)), signal.SIGKILL)


def test_nothing_is_forked_where_tensorflow_is_imported() -> None:
    """A process that has all of TensorFlow can't share the loader alone."""
    import tensorflow as tf

    with prober.at_hand():
        assert tf.__version__
        assert prober._at_hand == []
