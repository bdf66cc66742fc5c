"""Nothing but data/, schema/, models/ and throughline.toml knows the sample."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.declared import LABEL
from pipeline.trust import schema_review
from schema import SCHEMA_PATH

PROJECT = Path(__file__).parents[1]
GENERIC = ("pipeline", "serving", "operations")
FILES = [
    *(path for name in GENERIC for path in sorted((PROJECT / name).rglob("*.py"))),
    PROJECT / "run_local.py",
    PROJECT / "run_kubeflow.py",
]
WORDS = [
    *(feature.name for feature in schema_review.read(SCHEMA_PATH).feature),
    LABEL.name,
    "taxi",
]


def texts_of(path: Path) -> Iterator[str]:
    """Yields names and texts of a module's code, without its documentation."""
    for node in ast.walk(ast.parse(path.read_text())):
        # A text by itself says something to a reader, and nothing to Python.
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, ast.Constant) and not isinstance(node, ast.Expr):
                yield str(inner.value)
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name


@pytest.mark.parametrize(
    "path", FILES, ids=lambda path: path.relative_to(PROJECT).as_posix()
)
def test_the_code_does_not_know_the_samples_columns(path: Path) -> None:
    """A column's name in the code would be one that other data doesn't have."""
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, WORDS))})\b")

    assert [text for text in texts_of(path) if pattern.search(text)] == []
