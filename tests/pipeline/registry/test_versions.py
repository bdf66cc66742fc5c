"""Versions in the serving directory: all of a model or nothing, rising numbers."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import ThroughlineError
from pipeline.registry.versions import (
    disposable,
    free,
    identity,
    is_same_model,
    live,
    origin_of,
    push,
    push_unless_live,
    versions,
)

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
    assert files.pop("assets.extra/contents.json")
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
        "contents.json",
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
    for name in ("9", "10", ".partial-1", "v11", "latest", "007", "9" * 23, "٣"):
        (base / name).mkdir(parents=True)
    (base / "11").write_text("no directory")

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


def test_what_is_live_is_the_highest_version(base: Path) -> None:
    """Of versions 9 and 10, 10 is live; without a version nothing is."""
    before = live(base)
    for name in ("9", "10"):
        (base / name).mkdir(parents=True)

    now = live(base)

    assert before is None
    assert now
    assert (now.number, now.path) == (10, base / "10")


def test_no_version_is_higher_than_servers_read(model: Path, base: Path) -> None:
    """After the highest 64-bit number nothing can be pushed, and that is said."""
    (base / str(2**63 - 1)).mkdir(parents=True)

    with pytest.raises(ThroughlineError, match="highest version number"):
        push(model, base, {})

    assert [p.name for p in base.iterdir()] == [str(2**63 - 1)]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "saved_model.pb is gone": lambda path: (path / "saved_model.pb").unlink(),
    "saved_model.pb is empty": lambda path: (path / "saved_model.pb").write_text(""),
    "variables/variables.index has 3 bytes instead of 5": lambda path: (
        path / "variables/variables.index"
    ).write_text("ind"),
    "assets/vocabulary has other contents": lambda path: (
        path / "assets/vocabulary"
    ).write_text("Cash\nCredit Cart\n"),
    "variables/variables.data-00000-of-00001 is gone": lambda path: shutil.rmtree(
        path / "variables"
    ),
    "assets.extra/contents.json can't be read": lambda path: (
        path / "assets.extra/contents.json"
    ).write_text(""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(damage: str, model: Path, base: Path) -> None:
    """Files that are not what was pushed are named, and a whole version has none."""
    push(model, base, {})
    version = live(base)
    assert version
    before = version.damage()

    DAMAGES[damage](version.path)

    assert before == ""
    assert version.damage() == damage


def test_a_version_of_others_needs_a_model(base: Path) -> None:
    """Of a version that somebody else put there, only the model's file is checked."""
    _write(base / "5", FILES)
    version = live(base)
    assert version
    before = version.damage()

    (version.path / "saved_model.pb").write_text("")

    assert before == ""
    assert version.damage() == "saved_model.pb is empty"


def test_the_live_model_stays_as_it_is(model: Path, base: Path) -> None:
    """A model that is live and whole is not pushed again."""
    first = push_unless_live(model, base, identity(1, "/m/1", 7))

    second = push_unless_live(model, base, identity(1, "/m/1", 7))

    assert first == second
    assert second.note == ""
    assert versions(base) == [first.version]


def test_a_model_that_comes_back_is_a_new_version(model: Path, base: Path) -> None:
    """A model that was live before another is pushed again, which the note says."""
    first, _, third = (
        push_unless_live(model, base, identity(i, f"/m/{i}", 7)) for i in (1, 2, 1)
    )

    assert versions(base)[-1] == third.version
    assert third.note == (
        f"the model of version {first.version} is back; it was pushed again as "
        f"{third.version}"
    )


def test_a_damaged_live_model_is_pushed_again(model: Path, base: Path) -> None:
    """A live version that lost a file is replaced by a whole one of the same model."""
    first = push_unless_live(model, base, identity(1, "/m/1", 7))
    (base / str(first.version) / "saved_model.pb").unlink()

    second = push_unless_live(model, base, identity(1, "/m/1", 7))

    assert second.version > first.version
    assert (base / str(second.version) / "saved_model.pb").read_text() == "graph"
    assert f"version {first.version} is damaged (saved_model.pb is gone)" in second.note


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (identity(1, "/m/1", 7), True),
        ({"model_uri": "/m/1", "model_id": 1}, True),
        (identity(2, "/m/1", 7), False),
        (identity(1, "/m/2", 7), False),
        # Ids and directories began anew with another store.
        (identity(1, "/m/1", 8), False),
        ({}, False),
    ],
)
def test_models_are_known_by_id_place_and_time(
    other: dict[str, str | int],
    same: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """An id alone doesn't make a model the same: stores may be replaced."""
    assert is_same_model(identity(1, "/m/1", 7), other) is same
    assert is_same_model(other, identity(1, "/m/1", 7)) is same


def test_old_versions_are_freed(model: Path, base: Path) -> None:
    """All but the newest versions can go, and none that somebody else put there."""
    _write(base / "5", FILES)
    pushed = [push(model, base, {"model_id": i}) for i in range(4)]
    _write(base / ".partial-of-a-kill", FILES)

    old = disposable(base, keep=2)
    free(base, old)

    assert [version.number for version in old] == pushed[:2]
    assert {p.name for p in base.iterdir()} == {"5", *map(str, pushed[2:])}


def test_the_live_version_is_never_freed(model: Path, base: Path) -> None:
    """A version that has become live since it was listed stays."""
    first, second = push(model, base, {"a": 1}), push(model, base, {"a": 2})
    old = disposable(base, keep=1)
    shutil.rmtree(base / str(second))

    free(base, old)

    assert versions(base) == [first]
