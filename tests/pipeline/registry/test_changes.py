"""Changes of what is live: one version is live at every moment, and it loads."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf

from pipeline.config import Config
from pipeline.errors import ThroughlineError, UsageError
from pipeline.registry import history
from pipeline.registry.changes import (
    Author,
    delete,
    disposable,
    free,
    promote_model,
    promote_version,
    push,
    push_unless_live,
    rollback,
)
from pipeline.registry.history import Action
from pipeline.registry.versions import (
    identity,
    live,
    origin_of,
    version_of,
    versions,
)
from tests.pipeline.registry.saved_models import FILES, named, read, weights_of, write

ROOT = Path(__file__).parents[3]
ME = Author(by="me", because="a test")


def test_all_of_a_model_is_pushed(model: Path, base: Path) -> None:
    """A version holds the model's files and where it came from, and nothing else."""
    version = push(model, base, {"model_uri": "/m/1", "model_id": 7})

    files = read(base / str(version))
    assert files.pop("assets.extra/contents.json")
    assert json.loads(files.pop("assets.extra/event.json"))["action"] == "push"
    assert json.loads(files.pop("assets.extra/origin.json")) == {
        "model_uri": "/m/1",
        "model_id": 7,
    }
    assert files == FILES
    assert {path.name for path in base.iterdir()} == {str(version), "registry.json"}
    assert origin_of(base, version) == {"model_uri": "/m/1", "model_id": 7}
    assert read(model) == FILES


def test_a_models_own_extras_are_kept(model: Path, base: Path) -> None:
    """A model that brings assets.extra, such as warm-up requests, keeps them."""
    write(model, {"assets.extra/tf_serving_warmup_requests": "request"})

    version = push(model, base, {})

    extras = base / str(version) / "assets.extra"
    assert sorted(p.name for p in extras.iterdir()) == [
        "contents.json",
        "event.json",
        "origin.json",
        "tf_serving_warmup_requests",
    ]


def test_a_version_can_be_pushed_as_a_model(model: Path, base: Path) -> None:
    """What an earlier push added to it is replaced, and is no damage."""
    first = push(model, base, {"model_id": 1})

    second = push(base / str(first), base, {"model_id": 2})

    version = version_of(base, second)
    assert version.damage() == ""
    assert version.origin() == {"model_id": 2}
    assert version.content() == version_of(base, first).content()


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
    write(base / str(future), FILES)

    assert push(model, base, {}) == future + 1


def test_no_version_is_higher_than_servers_read(model: Path, base: Path) -> None:
    """After the highest 64-bit number nothing can be pushed, and that is said."""
    (base / str(2**63 - 1)).mkdir(parents=True)

    with pytest.raises(ThroughlineError, match="highest version number"):
        push(model, base, {})

    assert [p.name for p in base.iterdir()] == [str(2**63 - 1)]


def test_the_live_model_stays_as_it_is(model: Path, base: Path) -> None:
    """A model that is live and whole is not pushed again."""
    first = push_unless_live(model, base, identity(1, "/m/1", 7))

    second = push_unless_live(model, base, identity(1, "/m/1", 7))

    assert (first.made, second.made) == (True, False)
    assert second.version == first.version
    assert second.note == (
        f"it was live already as version {first.version}; nothing was pushed"
    )
    assert versions(base) == [first.version]


def test_a_model_with_the_contents_of_the_live_one_is_live(
    model: Path, base: Path
) -> None:
    """A run that trains the live model once more pushes nothing, and says so."""
    first = push_unless_live(model, base, identity(1, "/m/1", 7))
    write(model, {"fingerprint.pb": "of another export"})

    second = push_unless_live(model, base, identity(2, "/m/2", 8))

    assert (second.version, second.made) == (first.version, False)
    assert "was live already" in second.note
    assert versions(base) == [first.version]


def test_a_model_that_comes_back_is_a_new_version(tmp_path: Path, base: Path) -> None:
    """A model that was live before another is pushed again, which the note says."""
    first, _, third, _, fifth = (
        push_unless_live(named(tmp_path, name), base, identity(number, "/m", 7))
        for number, name in enumerate(["a", "b", "a", "b", "a"])
    )

    assert versions(base)[-1] == fifth.version
    assert third.note == (
        f"the model of version {first.version} is back; it was pushed again as "
        f"{third.version}"
    )
    assert f"the model of version {third.version} is back" in fifth.note


def test_a_damaged_live_model_is_pushed_again(model: Path, base: Path) -> None:
    """A live version that lost a file is replaced by a whole one of the same model."""
    first = push_unless_live(model, base, identity(1, "/m/1", 7))
    (base / str(first.version) / "saved_model.pb").unlink()

    second = push_unless_live(model, base, identity(1, "/m/1", 7))

    assert first.version
    assert second.version
    assert second.version > first.version
    assert (base / str(second.version) / "saved_model.pb").read_text() == "graph"
    assert f"version {first.version} is damaged (saved_model.pb is gone)" in second.note


def test_old_versions_are_freed(model: Path, base: Path) -> None:
    """All but the newest versions can go, and none that somebody else put there."""
    write(base / "5", FILES)
    pushed = [push(model, base, {"model_id": i}) for i in range(4)]
    write(base / ".partial-of-a-kill", FILES)

    old = disposable(base, keep=2)
    free(base, old)

    assert [version.number for version in old] == pushed[:2]
    left = {p.name for p in base.iterdir()}
    assert left == {"5", "registry.json", *map(str, pushed[2:])}


def test_what_a_rollback_restores_is_never_freed(tmp_path: Path, base: Path) -> None:
    """Neither the live version nor the previous one goes, whatever was listed."""
    a, b, c = _pushed(tmp_path, base, "abc")
    kept_all = disposable(base, keep=1)
    shutil.rmtree(base / str(c))

    free(base, [version_of(base, n) for n in (a, b)])

    assert [version.number for version in kept_all] == [a]
    assert versions(base) == [a, b]


def test_a_rollback_needs_what_was_live_long_ago(tmp_path: Path, base: Path) -> None:
    """After rollbacks, what is to be restored next may be older than all others."""
    a, b, c = _pushed(tmp_path, base, "abc")
    restored = rollback(base, None, ME).version

    registry = history.read(base)

    assert restored
    assert registry.previous == a
    assert registry.needed(keep=1) == {a, restored}
    assert [v.number for v in disposable(base, keep=1)] == [b, c]


def test_a_rollback_is_a_new_highest_version(tmp_path: Path, base: Path) -> None:
    """The earlier model is live under a number that every server prefers, by links."""
    a, b = _pushed(tmp_path, base, "ab")

    change = rollback(base, None, ME)

    now = live(base)
    assert now
    assert change.version == now.number > b
    assert weights_of(now.path) == "weights of a"
    assert now.damage() == ""
    assert now.origin() == origin_of(base, a)
    for name in FILES:
        assert (now.path / name).samefile(base / str(a) / name)
    event = history.read(base).events[-1]
    assert (event.action, event.restored, event.replaced) == (Action.ROLLBACK, a, b)
    assert (event.by, event.because) == ("me", "a test")


def test_rolling_back_twice_goes_two_models_back(tmp_path: Path, base: Path) -> None:
    """The second rollback doesn't restore what the first one has removed."""
    _pushed(tmp_path, base, "abc")

    found = [rollback(base, None, ME).version for _ in range(2)]

    assert [_weights(base, n) for n in found] == ["weights of b", "weights of a"]
    with pytest.raises(UsageError, match="no other model was live before"):
        rollback(base, None, ME)


def test_a_refused_rollback_names_other_versions_only(
    tmp_path: Path, base: Path
) -> None:
    """What can be restored by its number is listed; the live version isn't."""
    a = _push(tmp_path, base, "a")
    with pytest.raises(UsageError) as alone:
        rollback(base, None, ME)
    b = _push(tmp_path, base, "b")
    rollback(base, None, ME)
    with pytest.raises(UsageError) as others:
        rollback(base, None, ME)

    assert str(alone.value).endswith(f"was live before {a}.")
    assert str(others.value).endswith(f"give its number: {a}, {b}.")


def test_a_rollback_skips_damaged_versions(tmp_path: Path, base: Path) -> None:
    """What doesn't load is not restored, and the answer names it."""
    _, b, _ = _pushed(tmp_path, base, "abc")
    (base / str(b) / "saved_model.pb").unlink()

    change = rollback(base, None, ME)

    assert _weights(base, change.version) == "weights of a"
    assert change.note == f"Version {b} was skipped: saved_model.pb is gone."


def test_a_damaged_version_is_refused(tmp_path: Path, base: Path) -> None:
    """A version that is asked for by its number is checked before it is live."""
    a, b = _pushed(tmp_path, base, "ab")
    (base / str(a) / "saved_model.pb").write_text("")

    for change in (rollback, promote_version):
        with pytest.raises(UsageError, match=r"be served: saved_model\.pb is empty"):
            change(base, a, ME)

    assert versions(base) == [a, b]


def test_repeating_a_rollback_changes_nothing(tmp_path: Path, base: Path) -> None:
    """A script that was killed may roll back to the same version again."""
    a, _ = _pushed(tmp_path, base, "ab")
    first = rollback(base, a, ME)

    second = rollback(base, a, ME)

    assert (second.version, second.made) == (first.version, False)
    assert (
        second.note == f"the model of version {a} is live already, as {first.version}"
    )
    assert not rollback(base, first.version, ME).made


def test_what_was_rolled_back_is_not_pushed_again(tmp_path: Path, base: Path) -> None:
    """Neither the same artifact nor an equal model of another run, until promoted."""
    _, b = _pushed(tmp_path, base, "ab")
    restored = rollback(base, None, ME).version
    model = tmp_path / "b"

    same = push_unless_live(model, base, identity(ord("b"), "/m/b", 7))
    write(model, {"fingerprint.pb": "of another export"})
    equal = push_unless_live(model, base, identity(9, "/m/9", 9))
    held = versions(base)
    promoted = promote_version(base, b, ME).version
    _push(tmp_path, base, "c")
    again = push_unless_live(model, base, identity(9, "/m/9", 9))

    for change in (same, equal):
        assert (change.version, change.made) == (None, False)
        assert f"was live as version {b} and was rolled back" in change.note
        assert f"by me: a test; version {restored} stays live" in change.note
    assert held[-1] == restored
    assert _weights(base, promoted) == "weights of b"
    assert again.made


def test_a_candidate_is_promoted(tmp_path: Path, base: Path) -> None:
    """A model without a version is pushed for a reason, which the history keeps."""
    _push(tmp_path, base, "a")

    change = promote_model(
        named(tmp_path, "b"), base, identity(2, "/m/2", 7), Author("me", "I know")
    )

    event = history.read(base).events[-1]
    assert _weights(base, change.version) == "weights of b"
    assert (event.action, event.because) == (Action.PROMOTE, "I know")
    with pytest.raises(UsageError, match=r"has no saved_model\.pb"):
        promote_model(tmp_path, base, identity(3, "/m/3", 7), ME)


def test_after_a_promotion_the_model_before_is_restored(
    tmp_path: Path, base: Path
) -> None:
    """A promotion is no rollback: the model that it replaced is the previous one."""
    a, b = _pushed(tmp_path, base, "ab")
    promote_version(base, a, ME)

    assert history.read(base).previous == b
    assert push_unless_live(tmp_path / "b", base, identity(98, "/m/b", 7)).made


def test_a_version_is_deleted_unless_it_is_live(tmp_path: Path, base: Path) -> None:
    """A deleted version stays in the history, and its number is not used again."""
    a, b = _pushed(tmp_path, base, "ab")

    delete(base, a, ME)

    assert versions(base) == [b]
    assert history.read(base).events[-1].action is Action.DELETE
    with pytest.raises(UsageError, match=f"version {b} is live"):
        delete(base, b, ME)
    with pytest.raises(UsageError, match=f"no version {a}; give a version: {b}"):
        delete(base, a, ME)
    shutil.rmtree(base / str(b))
    assert push(tmp_path / "a", base, {}) > b


def test_without_a_directory_there_is_nothing_to_change(base: Path) -> None:
    """A mistyped --output or --name makes no directory."""
    for change in (rollback, promote_version, delete):
        with pytest.raises(UsageError, match="there is no model in"):
            change(base, 5, ME)

    assert not base.exists()


def _run(mode: str, base: Path, *models: Path) -> subprocess.Popen[str]:
    module = "tests.pipeline.registry.forked_changes"
    command = [sys.executable, "-m", module, mode, str(base), *map(str, models)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _answers(directory: Path, value: float) -> Path:
    """Saves a real model that answers with a value."""
    module = tf.Module()
    module.value = tf.Variable(value)
    module.answer = tf.function(lambda: module.value, input_signature=[])
    tf.saved_model.save(module, str(directory))
    return directory


def test_killed_at_any_moment_the_live_version_loads(config: Config) -> None:
    """A server that loads what is live after each kill finds a whole model."""
    base = config.serving_directory
    models = [_answers(config.output / f"model-{n}", float(n)) for n in range(2)]
    loaded: dict[str, list[float]] = {}

    with _run("kill", base, *models) as process:
        assert process.stdin
        assert process.stdout
        # The process waits after each kill: nothing here depends on who is faster.
        for line in process.stdout:
            if line.startswith("{"):
                moments = json.loads(line)
                break
            now = live(base)
            assert now
            server = tf.saved_model.load(str(now.path))
            loaded.setdefault(line.strip(), []).append(float(server.answer()))
            process.stdin.write("\n")
            process.stdin.flush()
        _, err = process.communicate()

    assert process.returncode == 0, err
    assert {name: len(each) - 1 for name, each in loaded.items()} == moments
    for name in ("push", "promote", "rollback"):
        assert moments[name] >= 10, moments
        # A kill after the change is made leaves the other model live.
        assert set(loaded[name]) == {0.0, 1.0}
    assert len(set(loaded["delete"])) == 1
    assert not list(base.glob(".*"))


@pytest.mark.parametrize(("mode", "least"), [("at_once", 20), ("full", 10)])
def test_changes_at_once_or_on_a_full_disk(
    mode: str, least: int, config: Config
) -> None:
    """Changes wait for each other, and one without room for it changes nothing."""
    base = config.serving_directory
    models = [named(config.output, name) for name in "ab"]

    with _run(mode, base, *models) as process:
        out, err = process.communicate()

    assert process.returncode == 0, err
    assert sum(json.loads(out).values()) >= least


def _push(tmp_path: Path, base: Path, name: str) -> int:
    return push(named(tmp_path, name), base, identity(ord(name), f"/m/{name}", 7))


def _pushed(tmp_path: Path, base: Path, names: str) -> list[int]:
    return [_push(tmp_path, base, name) for name in names]


def _weights(base: Path, number: int | None) -> str:
    return weights_of(base / str(number))
