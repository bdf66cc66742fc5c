"""The images, as they are built here."""

import subprocess

from pipeline.runners.containers import IMAGE_USER
from tests.containers.conftest import CLIENT

_LOCKED_DOWN = ("--read-only", "--cap-drop=ALL", "--network=host", "--tmpfs=/tmp")


def call(*words: str) -> str:
    """Calls Docker's client; returns what it printed."""
    done = subprocess.run([CLIENT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_image_is_small(image: str) -> None:
    """The image has 3.0 GB at most, 1.2 of them TensorFlow and 0.35 the base."""
    size = call("image", "inspect", "--format", "{{.Size}}", image)

    assert int(size) <= 3.0e9


def test_a_node_needs_no_rights(image: str) -> None:
    """It runs as another user than root, reads only, and finds no problem."""
    run = ("run", "--rm", *_LOCKED_DOWN, image)

    assert call(*run, "id", "--user").strip() == str(IMAGE_USER)
    assert "2.21" in call(*run, "throughline", "doctor")


def test_a_worker_starts(worker: str) -> None:
    """Beam's boot program is what runs, and finds Beam in the environment."""
    assert "Version: 2.77" in call("run", "--rm", *_LOCKED_DOWN, worker)
