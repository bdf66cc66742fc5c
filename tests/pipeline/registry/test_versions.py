"""Versions in the serving directory: all of a model or nothing, rising numbers."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.registry.versions import origin_of, push, versions

ROOT = Path(__file__).parents[3]
FILES = {
    "saved_model.pb": "graph",
    "fingerprint.pb": "print",
    "variables/variables.index": "index",
    "variables/variables.data-00000-of-00001": "weights",
    "assets/vocabulary": "Cash\nCredit Card\n",
}


def _write(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def _read(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory that is shaped like a SavedModel."""
    return _write(tmp_path / "model", FILES)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model's serving directory, which isn't there yet."""
    return tmp_path / "serving" / "taxi"


def test_all_of_a_model_is_pushed(model: Path, base: Path) -> None:
    """A version holds the model's files and where it came from, and nothing else."""
    version = push(model, base, {"model_uri": "/m/1", "model_id": 7})

    files = _read(base / str(version))
    assert json.loads(files.pop("assets.extra/origin.json")) == {
        "model_uri": "/m/1",
        "model_id": 7,
    }
    assert files == FILES
    assert [path.name for path in base.iterdir()] == [str(version)]
    assert origin_of(base, version) == {"model_uri": "/m/1", "model_id": 7}
    assert _read(model) == FILES


def test_a_models_own_extras_are_kept(model: Path, base: Path) -> None:
    """A model that brings assets.extra, such as warm-up requests, keeps them."""
    _write(model, {"assets.extra/tf_serving_warmup_requests": "request"})

    version = push(model, base, {})

    extras = base / str(version) / "assets.extra"
    assert sorted(p.name for p in extras.iterdir()) == [
        "origin.json",
        "tf_serving_warmup_requests",
    ]


def test_versions_are_seconds(model: Path, base: Path) -> None:
    """A version is when it was pushed, in seconds since 1970."""
    before = int(time.time())

    version = push(model, base, {})

    assert before <= version <= int(time.time())


def test_versions_rise_within_a_second(model: Path, base: Path) -> None:
    """Pushes in quick succession all get a version of their own, each higher."""
    pushed = [push(model, base, {}) for _ in range(5)]

    assert pushed == sorted(set(pushed))
    assert versions(base) == pushed


def test_versions_rise_after_a_clock_that_went_wrong(model: Path, base: Path) -> None:
    """A version from the future is still followed by a higher one."""
    future = int(time.time()) + 86_400
    _write(base / str(future), FILES)

    assert push(model, base, {}) == future + 1


def test_versions_are_ordered_as_numbers(base: Path) -> None:
    """Versions are compared as numbers; what is no version is no version."""
    for name in ("9", "10", ".partial-1", "v11", "latest"):
        (base / name).mkdir(parents=True)

    assert versions(base) == [9, 10]


def test_without_a_directory_there_are_no_versions(base: Path) -> None:
    """A model that was never pushed has no versions, and none is made by asking."""
    assert versions(base) == []
    assert not base.exists()


def test_a_version_of_unknown_origin(model: Path, base: Path) -> None:
    """A version that somebody else put there has no origin."""
    _write(base / "5", FILES)

    assert origin_of(base, 5) == {}


# Stands still before the third of the model's files is copied.
HELD_PUSH = """
import shutil, sys, time
from pathlib import Path
from pipeline.registry.versions import push
copies = []
real = shutil.copy2
def held(source, target, **kwargs):
    copies.append(source)
    if len(copies) == 3:
        print("half-way", flush=True)
        time.sleep(600)
    return real(source, target, **kwargs)
shutil.copytree.__defaults__ = tuple(
    held if default is real else default for default in shutil.copytree.__defaults__
)
push(Path(sys.argv[1]), Path(sys.argv[2]), {})
"""


def test_a_killed_push_leaves_no_version(model: Path, base: Path) -> None:
    """A push killed while it copies leaves no version, and the next one cleans up."""
    first = push(model, base, {})

    process = subprocess.Popen(
        [sys.executable, "-c", HELD_PUSH, model, base],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half-way\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    left = [path for path in base.iterdir() if path.name != str(first)]

    assert process.returncode == -signal.SIGKILL
    assert len(left) == 1
    assert not left[0].name.isdecimal()
    assert 0 < len(_read(left[0])) < len(FILES)
    assert versions(base) == [first]

    second = push(model, base, {})

    assert sorted(p.name for p in base.iterdir()) == [str(first), str(second)]
