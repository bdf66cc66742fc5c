"""Finds the tests that hold for any project: those that can't see what is replaced.

A test that imports a project's own features, groups or schema, however indirectly, is
about the sample, or about a module that reads the sample's declarations when it is
imported. The others test the machinery, and are copied into a project of its own.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

_PACKAGES = ("pipeline", "models", "schema", "serving", "operations", "tests")
_OWN = {"models.features", "models.groups", "schema"}
"""What each project has its own of."""
_NOT_COPIED = ("data", "demo", "benchmarks", "examples")
# Tests of the project's own parts, and such as need clones, clusters and images.
_OTHERS = ("project", "demo", "e2e", "clusters", "containers")
# They look at the checkout by other processes, whose imports can't be seen here.
_EXCEPTIONS = {"tests.pipeline.caching.test_key", "tests.pipeline.project.test_layout"}


def generic_tests(root: Path) -> list[str]:
    """Returns the tests of a checkout that hold for any project.

    Args:
        root: The checkout.

    Returns:
        Paths of test files, of the `conftest.py` above them, and of the modules that
        these import, relative to the checkout.
    """
    modules = _Modules(root)
    kept: set[str] = set()
    for path in sorted((root / "tests").rglob("test_*.py")):
        inside = path.relative_to(root / "tests")
        # Those at the top are about the checkout as a whole.
        if len(inside.parts) == 1 or inside.parts[0] in _OTHERS:
            continue
        above = [
            modules.name_of(file)
            for directory in path.relative_to(root).parents[:-1]
            for file in [root / directory / "conftest.py"]
            if file.is_file()
        ]
        name = modules.name_of(path)
        if name in _EXCEPTIONS:
            continue
        shared = {needed for each in above for needed in modules.reached(each)}
        if modules.is_generic(name) and not any(map(_is_not_copied, shared)):
            kept |= {name, *above, *modules.reached(name), *shared}
    return sorted(
        modules.files[name].relative_to(root).as_posix()
        for name in kept
        if name.startswith("tests.") and name in modules.files
    )


def _is_not_copied(module: str) -> bool:
    return module.partition(".")[0] in _NOT_COPIED


class _Modules:
    """The modules of a checkout, and what they import."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.files = {
            self.name_of(path): path
            for package in _PACKAGES
            for path in (root / package).rglob("*.py")
        }

    def name_of(self, path: Path) -> str:
        """Returns the name of a module's file."""
        parts = path.relative_to(self._root).with_suffix("").parts
        return ".".join(parts).removesuffix(".__init__")

    def is_generic(self, module: str) -> bool:
        """Whether a module reaches nothing that a project replaces."""
        reached = self.reached(module)
        return not reached & _OWN and not any(map(_is_not_copied, reached))

    @functools.cache  # noqa: B019 - lives as long as the command
    def reached(self, module: str) -> frozenset[str]:
        """Returns all that a module imports, and what that imports."""
        found: set[str] = set()
        waiting = [module]
        while waiting:
            new = self._imported(waiting.pop()) - found
            found |= new
            waiting += new
        return frozenset(found)

    @functools.cache  # noqa: B019 - as above
    def _imported(self, module: str) -> frozenset[str]:
        file = self.files.get(module)
        tree = ast.parse(file.read_text("utf-8")) if file else ast.Module([], [])
        return frozenset(name for node in ast.walk(tree) for name in self._names(node))

    def _names(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in self.files else node.module
