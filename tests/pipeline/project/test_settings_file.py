"""Settings in throughline.toml: what is read, and how mistakes are told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from pipeline.config import Config, Quality
from pipeline.errors import UsageError
from pipeline.project import settings_file


@dataclass(frozen=True)
class Group:
    """A group of settings."""

    share: float = 0.5
    columns: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Settings:
    """Settings of each type that there is."""

    name: str = "a"
    place: Path | None = None
    window: int | Literal["all"] = 1
    fast: bool = False
    group: Group = field(default_factory=Group)


ALL = """
name = "trips"
place = "data/in"
window = "all"
fast = true

[group]
share = 1
columns = ["a", "b"]
sizes = [3, 4]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings are."""
    return tmp_path / "throughline.toml"


def test_each_type_is_read(file: Path) -> None:
    """Values get the types of the settings; paths are from the file's directory."""
    file.write_text(ALL)

    found = settings_file.replaced(Settings(), settings_file.read(file, Settings()))

    assert found == Settings(
        "trips",
        file.parent / "data/in",
        "all",
        fast=True,
        group=Group(1.0, ("a", "b"), (3, 4)),
    )
    assert type(found.group.share) is float


def test_what_the_file_leaves_out_stays(file: Path) -> None:
    """Only what is given is replaced, and without a file nothing is."""
    assert settings_file.read(file, Settings()) == {}

    file.write_text("[group]\nshare = 0.25\n")
    found = settings_file.replaced(Settings(), settings_file.read(file, Settings()))

    assert found == Settings(group=Group(share=0.25))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nam = 'x'", "sets 'nam', which is no setting; did you mean name?"),
        ("[group]\nshar = 1", "'group.shar', which is no setting; .* group.share?"),
        ("group = 1", "sets 'group', which is no setting"),
        ("fast = 1", "fast is 1; it must be true or false"),
        ("window = 'some'", "window is 'some'; .* a whole number or 'all'"),
        ("window = true", "window is True; it must be a whole number"),
        ("name = 3", "name is 3; it must be a text in quotes"),
        ("[group]\nshare = 'x'", "group.share is 'x'; it must be a number"),
        ("[group]\ncolumns = 'x'", "it must be a list, of which each is a text"),
        ("[group]\nsizes = [1.5]", "of which each is a whole number"),
        ("name = ", "is no TOML: Invalid value"),
        ("name = 'a'\nname = 'b'", "is no TOML: "),
    ],
)
def test_mistakes_name_file_key_and_what_was_expected(
    file: Path, text: str, said: str
) -> None:
    """One sentence, before anything runs."""
    file.write_text(text)

    with pytest.raises(UsageError, match=said) as refused:
        settings_file.read(file, Settings())

    assert str(file) in str(refused.value)


def test_bounds_are_those_of_the_settings() -> None:
    """A value out of bounds is told by the name of its flag."""
    with pytest.raises(UsageError, match=r"quality\.min-auc is 2; it must be"):
        settings_file.replaced(Config(), {"quality.min_auc": 2})
    with pytest.raises(UsageError, match=r"model\.dropout is 1\.5; it must be"):
        settings_file.replaced(Config(), {"model.dropout": 1.5})


def test_every_setting_of_the_project_can_be_in_the_file() -> None:
    """The types of all settings are among those that are read."""
    for path, hint, value in settings_file.paths_of(Config()):
        text = list(value) if isinstance(value, tuple) else value
        text = str(text) if isinstance(text, Path) else text
        if text is not None:
            assert settings_file._converted(text, hint) == value, path


def test_paths_name_groups() -> None:
    """A setting of a group has the group's name in front."""
    found = {path: value for path, _, value in settings_file.paths_of(Quality(0.7))}

    assert found["min_auc"] == 0.7
    assert "quality.min_auc" in {
        path for path, _, _ in settings_file.paths_of(Config())
    }


GROUP = """\
name = "a"  # of the project

[group]
# Half of it.
share = 0.5 # for now
sizes = [1, 2]

[other]
share = 3
"""


def test_a_group_is_edited_line_by_line() -> None:
    """Only the lines of changed settings change; a new one goes to the group's end."""
    changes = {"share": 0.25, "sizes": (3,), "batch_size": 7}

    edited = settings_file.with_group(GROUP, "group", changes)

    assert edited == GROUP.replace("share = 0.5 #", "share = 0.25 #").replace(
        "sizes = [1, 2]\n", "sizes = [3]\nbatch-size = 7\n"
    )


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("", "[group]\nshare = 1e-06\n"),
        ("name = 'a'\n", "name = 'a'\n\n[group]\nshare = 1e-06\n"),
        ("[group]", "[group]\nshare = 1e-06\n"),
    ],
)
def test_a_group_is_added(text: str, edited: str) -> None:
    """To a file without it, or without anything."""
    assert settings_file.with_group(text, "group", {"share": 0.000001}) == edited


@pytest.mark.parametrize(
    "text",
    ["group = {share = 1}\n", "group.share = 1\n", "[group]\nsizes = [\n1,\n]\n"],
)
def test_what_has_no_line_of_its_own_is_left_to_the_user(text: str) -> None:
    """Other forms of TOML are not edited; the sentence says what to write."""
    with pytest.raises(UsageError, match=r"write into it: share = 2, sizes = \[3\]"):
        settings_file.with_group(text, "group", {"share": 2, "sizes": (3,)})
