"""The commands that docs/ gives have flags that exist and values that are accepted."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tyro

from pipeline import cli
from pipeline.runners import argo, celery, job, kubeflow, luigi

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("airflow", "argo", "beam", "celery", "kubeflow", "luigi")

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
    """docs/README.md links to each page, and each link leads to a page."""
    linked = set(re.findall(r"\]\(([\w.]+\.md)\)", (DOCS / "README.md").read_text()))

    assert linked >= {f"{page}.md" for page in PAGES}
    assert all((DOCS / name).is_file() for name in linked)
