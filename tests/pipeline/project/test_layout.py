"""Where a project's files go."""

import subprocess
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.project import layout
from pipeline.project.settings_file import PROJECT

OWN = {"models/features.py": "MINE = 1\n", "throughline.toml": 'name = "p"\n'}


def test_a_project_has_the_code_and_its_own_files(tmp_path: Path) -> None:
    """The code as in this checkout, without what is the sample's."""
    (tmp_path / "p" / "rows").mkdir(parents=True)

    assert layout.write(tmp_path / "p", OWN) == []

    made = tmp_path / "p"
    assert (made / "models/features.py").read_text() == "MINE = 1\n"
    assert (made / "run_local.py").is_file()
    assert (made / "bootstrap").stat().st_mode & 0o100
    assert (made / "pipeline/cli.py").is_file()
    assert not {"data", "benchmarks"} & {p.name for p in made.iterdir()}
    assert (made / "tests/pipeline/columnar/test_lists.py").is_file()
    assert not (made / "tests/project").exists()
    assert "COPY data" not in (made / "Dockerfile").read_text()
    settings = (made / "pyproject.toml").read_text()
    assert '"data", ' not in settings
    assert '"demo", "tests"' not in settings
    makefile = (made / "Makefile").read_text()
    assert "benchmarks" not in makefile
    assert "run: env ##" in makefile
    assert "-m demo" not in makefile


def test_every_part_of_the_checkout_is_copied_or_the_samples() -> None:
    """A file at the root that is forgotten is missed at the first `make run`."""
    listed = subprocess.run(
        ["git", "-C", str(PROJECT), "ls-files"],
        capture_output=True,
        text=True,
        check=True,
    )
    there = {line.partition("/")[0] for line in listed.stdout.splitlines()}

    written = {"README.md", "throughline.toml"}
    of_this_checkout = {".ci"}
    known = {*layout._CODE, *layout._SAMPLE, *written, *of_this_checkout}
    assert there <= known
    assert {*layout._CODE} <= there


@pytest.mark.parametrize("name", ["pipeline", "throughline.toml", "README.md"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    """A project that is there stays, and the message names what is in the way."""
    (tmp_path / name).mkdir()

    with pytest.raises(UsageError, match=f"{name} exists already"):
        layout.write(tmp_path, OWN)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    """The name of a file is a mistake."""
    (tmp_path / "p").write_text("x")

    with pytest.raises(UsageError, match="is a file; name a directory"):
        layout.write(tmp_path / "p", OWN)


def test_a_checkout_becomes_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample's files go, if git has them."""
    code = ("models/features.py", "bootstrap", "tests/pipeline/test_y.py")
    for name in ("data/taxi.py", "tests/test_x.py", *code):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    monkeypatch.setattr(layout, "PROJECT", tmp_path)

    with pytest.raises(UsageError, match="changes that are not committed"):
        layout.write(tmp_path, OWN)

    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@h"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *arguments], check=True)
    assert layout.write(tmp_path, OWN) == ["data", "tests"]
    assert (tmp_path / "models/features.py").read_text() == "MINE = 1\n"
    left = [path for path in (tmp_path / "tests").rglob("*") if path.is_file()]
    assert left == [tmp_path / "tests/pipeline/test_y.py"]
