"""Fingerprints of project code: the modules behind a module, and their contents.

Imports between project modules are followed statically, so a new file needs no
registration. Importing this module imports neither TFX nor TensorFlow.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

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
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or name.partition(".")[0] not in OWN_PACKAGES:
            continue
        # Found, not imported: importing a module of a component would import TFX.
        spec = importlib.util.find_spec(name)
        if spec and spec.origin:
            found[name] = Path(spec.origin)
            waiting += _imports(name, found[name])
    yield from sorted(found.items())


def _imports(module: str, path: Path) -> Iterator[str]:
    # All imports, also those within functions: imports that cost time are there, and
    # such modules decide a result as much as others.
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                is_package = path.name == "__init__.py"
                # A package's relative imports start at itself, a module's at its
                # package.
                up = module.split(".")[: None if is_package else -1]
                up = up[: len(up) - node.level + 1]
                base = ".".join([*up, *filter(None, [base])])
            # `from package import name` runs the package's __init__, whatever name is.
            yield base
            for alias in node.names:
                yield from _submodule(base, alias.name)


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
