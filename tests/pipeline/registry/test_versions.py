"""Versions in the serving directory: complete ones, the live one, damage."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.registry.changes import push
from pipeline.registry.versions import (
    Version,
    content_of,
    contents_of,
    identity,
    is_same_model,
    live,
    origin_of,
    saved_model_in,
    versions,
)
from tests.pipeline.registry.saved_models import FILES, named, write


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
    write(base / "5", FILES)

    assert origin_of(base, 5) == {}


def test_what_is_live_is_the_highest_version(base: Path) -> None:
    """Of versions 9 and 10, 10 is live; without a version nothing is."""
    before = live(base)
    for name in ("9", "10"):
        (base / name).mkdir(parents=True)

    now = live(base)

    assert before is None
    assert now
    assert (now.number, now.path) == (10, base / "10")


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
    write(base / "5", FILES)
    version = live(base)
    assert version
    before = version.damage()

    (version.path / "saved_model.pb").write_text("")

    assert before == ""
    assert version.damage() == "saved_model.pb is empty"


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


def test_equal_models_have_equal_content(model: Path, base: Path) -> None:
    """The digest is of weights, graph and assets: not of origin or export."""
    one = push(model, base, identity(1, "/m/1", 7))
    write(model, {"fingerprint.pb": "another export"})
    same = push(model, base, identity(2, "/m/2", 8))
    write(model, {"assets/vocabulary": "Cash\n"})
    other = push(model, base, identity(2, "/m/2", 8))

    contents = [Version(n, base / str(n)).content() for n in (one, same, other)]

    assert contents[0] == contents[1] != contents[2]
    assert contents[2] == content_of(contents_of(model))
    assert Version(5, base / "5").content() == ""


def test_a_graph_is_known_by_its_digest(model: Path) -> None:
    """If the model has one: the same graph may be saved in other bytes."""
    write(model, {"assets.extra/graph.json": "one"})
    one = content_of(contents_of(model))
    write(model, {"saved_model.pb": "the same with other numbers"})
    same = content_of(contents_of(model))
    write(model, {"assets.extra/graph.json": "another"})
    other = content_of(contents_of(model))

    assert one == same != other


def test_saved_model_is_found_in_an_artifact(tmp_path: Path) -> None:
    """A Model artifact of TFX has it in a directory, an imported one may be it."""
    nested = named(tmp_path / "artifact", "Format-Serving")

    assert saved_model_in(tmp_path / "artifact") == nested
    assert saved_model_in(nested) == nested
