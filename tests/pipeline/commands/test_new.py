"""`throughline new` prints what it decided, and ends with the next command."""

import re
import shlex
from pathlib import Path

import pytest
import tyro

from pipeline.commands import new
from pipeline.errors import DataRefusedError, UsageError
from pipeline.project.settings_file import PROJECT
from tests.pipeline.project.test_survey import write


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Data in the directory of a project that is not there yet."""
    y = ["no", "yes", "no"] * 40
    return write(tmp_path / "trips/rows", x=list(range(60)) * 2, y=y)


def test_a_project_is_written(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of decisions, the files, and what to type next."""
    project = rows.parent

    assert new.new([str(project), "--data", str(rows), "--label", "y"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["column", "used", "as", "because"]
    assert lines[1].startswith("y       label    binary: 'yes' is yes, in 33.3% of")
    assert lines[2].startswith("x       Numeric  0 to 59")
    assert lines[-1] == f"next     cd {project} && make run"
    assert 'name = "trips"' in (project / "throughline.toml").read_text()
    assert 'data = "rows"' in (project / "throughline.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["--label", "z"], DataRefusedError, "label is 'z', which is no column of"),
        (["--label", "y", "--weight", "y"], UsageError, "weight is 'y', a column of"),
        (["--label", "x", "--task", "binary"], DataRefusedError, "has 60 values: "),
    ],
)
def test_mistakes_write_nothing(
    rows: Path, arguments: list[str], error: type[Exception], said: str
) -> None:
    """What is wrong is told before there is a project."""
    project = rows.parent

    with pytest.raises(error, match=said):
        new.new([str(project), "--data", str(rows), *arguments])

    assert [path.name for path in project.iterdir()] == ["rows"]


@pytest.mark.parametrize(
    "page", ["README.md", "docs/your-own-data.md", "examples/README.md"]
)
def test_the_commands_on_pages_are_understood(page: str) -> None:
    """What a page says to type has flags that exist."""
    text = (PROJECT / page).read_text()
    typed = re.findall(r"^throughline new (.*)$", text, re.MULTILINE)

    assert typed
    for words in typed:
        tyro.cli(new.NewFlags, args=shlex.split(words))


def test_a_directory_names_the_project(rows: Path) -> None:
    """A name that is none of a model is refused at once."""
    with pytest.raises(UsageError, match=r"name is '7trips'.*choose another directory"):
        new.new([str(rows / "7trips"), "--data", str(rows), "--label", "y"])
