"""Finding the project modules behind a module."""

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.caching import fingerprint
from pipeline.caching.fingerprint import digest, modules_behind, sources

Package = Callable[[dict[str, str]], Path]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Writes a package `ours`, and makes it the only project package."""

    def make(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "ours" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        return tmp_path / "ours"

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(fingerprint, "OWN_PACKAGES", ("ours",))
    yield make
    for name in [m for m in sys.modules if m.partition(".")[0] == "ours"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "content", ["", "taxi", b"taxi", "größer\n", b"\x00\xff"], ids=repr
)
def test_digest_is_sha256(content: str | bytes) -> None:
    """`digest` encodes text as UTF-8."""
    data = content.encode() if isinstance(content, str) else content

    assert digest(content) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("import ours.a", ["ours.a", "ours.main"]),
        ("import ours.a as b", ["ours.a", "ours.main"]),
        ("import os, ours.a", ["ours.a", "ours.main"]),
        ("import ours.sub.deep", ["ours.main", "ours.sub.deep"]),
        ("from ours.a import X", ["ours.a", "ours.main"]),
        ("from ours.a import *", ["ours.a", "ours.main"]),
        ("from .a import X", ["ours.a", "ours.main"]),
        ("from . import a", ["ours", "ours.a", "ours.main"]),
        ("from . import a as b", ["ours", "ours.a", "ours.main"]),
        ("from ours import a", ["ours", "ours.a", "ours.main"]),
        ("from ours import NAME", ["ours", "ours.main"]),
        ("from ours.sub import deep", ["ours.main", "ours.sub", "ours.sub.deep"]),
        ("from .sub import deep", ["ours.main", "ours.sub", "ours.sub.deep"]),
        ("from .sub.deep import X", ["ours.main", "ours.sub.deep"]),
        ("from .sub import up", ["ours.a", "ours.main", "ours.sub", "ours.sub.up"]),
        ("import ours.chain", ["ours.a", "ours.chain", "ours.main"]),
        ("import ours.ring", ["ours.main", "ours.ring"]),
        ("def f():\n    import ours.a", ["ours.a", "ours.main"]),
        ("import os\nimport os.path\nfrom json import loads", ["ours.main"]),
        ("import ours.gone", ["ours.main"]),
        ("", ["ours.main"]),
    ],
)
def test_imports_are_followed(package: Package, line: str, expected: list[str]) -> None:
    """All forms of import are followed, for project modules only."""
    package(
        {
            "__init__.py": "NAME = 1",
            "main.py": line,
            "a.py": "X = 1",
            "unused.py": "",
            "chain.py": "from ours.a import X",
            "ring.py": "import ours.main",
            "sub/__init__.py": "",
            "sub/deep.py": "X = 1",
            "sub/up.py": "from ..a import X",
        }
    )

    assert [name for name, _ in modules_behind("ours.main")] == expected


def test_relative_imports_of_a_package_itself(package: Package) -> None:
    """A relative import in a package's __init__ is relative to the package."""
    package({"sub/__init__.py": "from .deep import X", "sub/deep.py": "X = 1"})

    assert [name for name, _ in modules_behind("ours.sub")] == [
        "ours.sub",
        "ours.sub.deep",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from ours import a", ["ours", "ours.a", "ours.b", "ours.main"]),
        ("from ours import a, make", ["ours", "ours.a", "ours.b", "ours.c"]),
    ],
)
def test_functions_of_a_package_count_if_they_may_be_called(
    package: Package, line: str, expected: list[str]
) -> None:
    """A submodule's import takes what its package imports at module level only."""
    package(
        {
            "__init__.py": (
                "from typing import TYPE_CHECKING\n"
                "import ours.b\n"
                "if TYPE_CHECKING:\n    import ours.d\n"
                "def make():\n    import ours.c\n"
            ),
            "main.py": line,
            **dict.fromkeys(["a.py", "b.py", "c.py", "d.py"], ""),
        }
    )

    found = [name for name, _ in modules_behind("ours.main")]

    assert found[: len(expected)] == expected


def test_modules_come_with_their_files(package: Package) -> None:
    """Modules are returned with their files."""
    directory = package({"__init__.py": "", "main.py": "from ours.sub import deep"})
    package({"sub/deep.py": ""})  # without __init__.py: a namespace package

    assert dict(modules_behind("ours.main")) == {
        "ours.main": directory / "main.py",
        "ours.sub.deep": directory / "sub" / "deep.py",
    }


@pytest.mark.parametrize("module", ["json", "tfx.components", "ourselves.x", ""])
def test_other_peoples_modules_have_nothing_behind(module: str) -> None:
    """A module of another package gives nothing, and isn't imported."""
    assert list(modules_behind(module)) == []


def test_code_is_read_and_not_run(package: Package) -> None:
    """Modules are not executed."""
    package({"main.py": "import ours.a\nraise SystemExit", "a.py": "raise SystemExit"})

    assert [name for name, _ in modules_behind("ours.main")] == ["ours.a", "ours.main"]


def test_sources_are_all_files_of_ours(package: Package) -> None:
    """All source files of our packages are listed, sorted, and nothing else."""
    directory = package({"b.py": "", "__init__.py": "", "sub/a.py": "", "data.csv": ""})

    assert sources() == [
        directory / "__init__.py",
        directory / "b.py",
        directory / "sub" / "a.py",
    ]


def test_the_trainer_runs_the_model() -> None:
    """The modules behind the trainer: the model's, the shard reader's, the engine."""
    names = [name for name, _ in modules_behind("models.trainer")]

    assert {"models.trainer", "models.model", "models.features"} <= set(names)
    assert [name for name in names if name.startswith("pipeline")] == [
        "pipeline.columnar",
        "pipeline.columnar.engine",
        "pipeline.columnar.files",
        "pipeline.columnar.lists",
        "pipeline.columnar.progress",
        "pipeline.columnar.shards",
        "pipeline.errors",
    ]
