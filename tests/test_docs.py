"""The commands that docs/ gives have flags that exist and values that are accepted."""

import ast
import importlib
import importlib.util
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tyro

from benchmarks import results
from models import declared
from pipeline import cli
from pipeline.runners import argo, celery, job, kubeflow, luigi

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
# Those that say where things are; paths on them are the project's.
GUIDES = (PROJECT / "CONTRIBUTING.md", DOCS / "architecture.md")
PAGES = ("airflow", "argo", "beam", "celery", "kubeflow", "luigi", "vertex")

Read = Callable[[list[str]], Any]


def commands() -> list[str]:
    """Every command in the indented blocks of the pages, continued lines joined."""
    program = r"^ {4,}((?:throughline compile|python (?:run_|-m pipeline)).*)$"
    texts = ((DOCS / f"{page}.md").read_text() for page in PAGES)
    joined = [text.replace("\\\n", "") for text in texts]
    return [c for text in joined for c in re.findall(program, text, re.MULTILINE)]


def parse_with(options: Any, preset: str) -> Read:
    """Reads flags as a command for containers does."""
    return lambda flags: cli.parse("x", flags, options, preset)


READERS: dict[str, Read] = {
    "throughline compile --target argo": parse_with(argo.Options(), "kubeflow"),
    "throughline compile --target airflow": parse_with(job.Options(), "local"),
    "throughline compile --target celery": parse_with(job.Options(), "local"),
    "throughline compile --target luigi": parse_with(job.Options(), "local"),
    "throughline compile --target vertex": parse_with(
        kubeflow.Options("vertex"), "kubeflow"
    ),
    "python run_kubeflow.py": parse_with(kubeflow.Options(), "kubeflow"),
    "python run_local.py": lambda flags: cli.parse_run("x", flags),
    "python -m pipeline.runners.luigi": lambda f: tyro.cli(luigi.Flags, args=f),
    "python -m pipeline.runners.celery run": lambda f: tyro.cli(
        celery.RunFlags, args=f
    ),
    "python -m pipeline.runners.celery worker": lambda f: tyro.cli(
        celery.WorkerFlags, args=f
    ),
}


@pytest.mark.parametrize("command", commands())
def test_command_is_understood(command: str) -> None:
    """The command's flags are those that its program reads."""
    (program,) = [known for known in READERS if command.startswith(known)]

    assert READERS[program](shlex.split(command[len(program) :]))


def test_every_page_has_the_same_parts() -> None:
    """Each page tells prerequisites, storage, logs, retrying and what differs."""
    for page in PAGES:
        text = (DOCS / f"{page}.md").read_text()
        for part in ("you need", "Storage", "Logs", "Retrying", "What differs"):
            assert re.search(rf"^## .*{part}", text, re.MULTILINE), (page, part)


def test_index_names_every_page() -> None:
    """docs/README.md links to every page there is."""
    linked = set(re.findall(r"\]\(([\w.-]+\.md)\)", (DOCS / "README.md").read_text()))

    assert linked >= {page.name for page in DOCS.glob("*.md")} - {"README.md"}


@pytest.mark.parametrize("page", [*PROJECT.glob("*.md"), *DOCS.glob("*.md")], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file leads to one, from the page that it is on."""
    links = re.findall(r"\]\((?!\w+://|#)([^)#]+)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_named_paths_exist(page: Path) -> None:
    """Every path of the project that a guide names is there, after a move too."""
    rooms = "pipeline|models|tests|schema|environments|docs|data|benchmarks"
    named = re.findall(rf"(?:^|[\s`])((?:{rooms})/[\w./-]*)", page.read_text())

    assert len(named) > 10
    assert [path for path in named if not (PROJECT / path.rstrip(".")).exists()] == []


def test_readme_has_room_for_the_benchmarks() -> None:
    """`python -m benchmarks readme` finds its marks, and replaces an older table."""
    turn = {"rows": 15_002, "peak_megabytes": 1_000, "candidate": "ours"}
    older, newer = ([{**turn, "seconds": seconds}] for seconds in (21, 14))

    text = results.with_table((PROJECT / "README.md").read_text(), older)
    text = results.with_table(text, newer)

    assert "| 15,002 | 1 |  | 14 s, 1,000 MB |" in text
    assert "21 s, 1,000 MB" not in text


def test_names_in_guides_exist() -> None:
    """The names that CONTRIBUTING.md tells people to extend are in those files."""
    text = (PROJECT / "CONTRIBUTING.md").read_text()
    pairs = re.findall(r"`([A-Za-z_]+)`\s+in\s+`([\w/]+\.py)`", text)

    assert len(pairs) >= 4
    assert [p for p in pairs if p[0] not in (PROJECT / p[1]).read_text()] == []


def test_readme_gives_the_model_every_input() -> None:
    """The README's TensorFlow example sends `serving_raw` the columns it requires."""
    text = (PROJECT / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    rows = [
        [str(key.value) for key in node.keys if isinstance(key, ast.Constant)]
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Dict)
    ]

    # The first example uses `ServingModel.predict`, which fills in what is missing.
    short, full = rows
    assert set(short) < set(declared.RAW_COLUMNS)
    assert sorted(full) == sorted(declared.RAW_COLUMNS)


@pytest.mark.parametrize(
    "path", sorted((PROJECT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem
)
def test_notebook_imports_exist(path: Path) -> None:
    """What a notebook imports from the project is there, after a move too."""
    cells = json.loads(path.read_text())["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]

    imported = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse("\n".join(code)))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if node.module.partition(".")[0] in {"models", "pipeline", "schema"}
    ]

    assert imported
    for module, name in imported:
        found = hasattr(importlib.import_module(module), name)
        assert found or importlib.util.find_spec(f"{module}.{name}"), (module, name)
