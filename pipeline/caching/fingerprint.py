"""Fingerprints of project code: the modules behind a module, and their contents.

Imports between project modules are followed statically, so a new file needs no
registration. Importing this module imports neither TFX nor TensorFlow.
"""

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OWN_PACKAGES = ("models", "pipeline", "schema", "data")


def digest(content: bytes | str) -> str:
    """Returns the SHA-256 of bytes, or of a text in UTF-8, in hexadecimal."""
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()


def modules_behind(module: str) -> Iterator[tuple[str, Path]]:
    """Finds a project module and all project modules that it imports, transitively.

    Args:
        module: Dotted name, such as models.trainer.

    Yields:
        Name and file of each, sorted by name; nothing for a module of another package.
    """
    found: dict[str, Path] = {}
    read_whole: set[str] = set()
    waiting = [(module, True)]
    while waiting:
        name, whole = waiting.pop()
        is_known = name in read_whole or (name in found and not whole)
        if is_known or name.partition(".")[0] not in OWN_PACKAGES:
            continue
        # Found, not imported: importing a module of a component would import TFX.
        spec = importlib.util.find_spec(name)
        if spec and spec.origin:
            found[name] = Path(spec.origin)
            read_whole |= {name} if whole else set()
            waiting += _imports(name, found[name], whole=whole)
    yield from sorted(found.items())


class _Import(NamedTuple):
    """An import statement.

    Attributes:
        base: What follows `from`, without dots; `None` in a statement without `from`.
        level: Number of dots after `from`.
        names: The names after `import`.
    """

    base: str | None
    level: int
    names: tuple[str, ...]


def _imports(module: str, path: Path, *, whole: bool) -> Iterator[tuple[str, bool]]:
    """Yields what a module imports, and whether functions of that may be called.

    Args:
        module: Dotted name of the module.
        path: Its file.
        whole: Include imports within functions: imports that cost time are there, and
            such modules decide a result as much as others.
    """
    for statement in _statements(path.read_bytes(), whole=whole):
        if statement.base is None:
            yield from ((name, True) for name in statement.names)
            continue
        base = statement.base
        if statement.level:
            is_package = path.name == "__init__.py"
            # A package's relative imports start at itself, a module's at its package.
            up = module.split(".")[: None if is_package else -1]
            up = up[: len(up) - statement.level + 1]
            base = ".".join([*up, *filter(None, [base])])
        parts = [part for name in statement.names for part in _submodule(base, name)]
        yield from ((part, True) for part in parts)
        # `from package import module` runs the package's __init__, but none of its
        # functions: pipeline/__init__.py imports the whole pipeline in one.
        yield base, len(parts) < len(statement.names)


# By the file's content, so that an edit is always seen. Most modules are behind several
# nodes, and parsing them took half of the time to compile a pipeline.
@functools.cache
def _statements(source: bytes, *, whole: bool) -> tuple[_Import, ...]:
    """Returns a module's import statements; all, or those that importing it runs."""
    tree = ast.parse(source)
    found: list[_Import] = []
    for node in ast.walk(tree) if whole else _run_on_import(tree):
        if isinstance(node, ast.Import):
            found.append(_Import(None, 0, tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.append(_Import(node.module or "", node.level, names))
    return tuple(found)


def _run_on_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields the nodes of a module that an import of it runs."""
    for node in ast.iter_child_nodes(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(
            node.test
        )
        if not is_function and not is_for_types:
            yield node
            yield from _run_on_import(node)


def _submodule(package: str, name: str) -> Iterator[str]:
    """Yields `package.name` if that is a module rather than an attribute."""
    if package.partition(".")[0] not in OWN_PACKAGES:
        return
    parent = importlib.util.find_spec(package)
    if parent and parent.submodule_search_locations:
        dotted = f"{package}.{name}"
        if importlib.util.find_spec(dotted):
            yield dotted


def sources() -> list[Path]:
    """Returns all source files of the project's packages, sorted."""
    found: list[Path] = []
    for package in OWN_PACKAGES:
        spec = importlib.util.find_spec(package)
        for directory in (spec.submodule_search_locations or []) if spec else []:
            found += Path(directory).rglob("*.py")
    return sorted(found)
