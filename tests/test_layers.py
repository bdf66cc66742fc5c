"""Rooms depend downwards only; the layers are written down here, and only here."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

# Lowest first. Those in one line know nothing of each other; a module belongs to the
# longest name that it begins with.
LAYERS = (
    ("pipeline.errors", "pipeline.progress"),
    ("pipeline.names", "schema", "pipeline.trust.checks"),
    ("pipeline.doctor", "pipeline.columnar"),
    ("pipeline.ingestion", "pipeline.beam", "data"),
    ("models",),
    ("pipeline.store",),
    ("pipeline.registry",),
    ("pipeline.config",),
    ("pipeline.caching", "pipeline.quality", "pipeline.trust"),
    ("pipeline.components",),
    ("pipeline",),
    ("pipeline.lineage",),
    ("pipeline.artifacts",),
    ("pipeline.report",),
    ("pipeline.runners",),
    ("pipeline.runners.local",),
    ("pipeline.commands",),
    ("pipeline.cli",),
)
# They compute: what they are given is data, and the graph is the components' business.
WITHOUT_MLMD = ("pipeline.columnar", "pipeline.ingestion", "pipeline.quality", "models")

FILES = {
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(
        ".__init__"
    ): path
    for package in ("pipeline", "models", "schema", "data")
    for path in sorted((PROJECT / package).rglob("*.py"))
}


def imports_of(module: str) -> Iterator[str]:
    """Yields what a module imports, functions' and type checkers' imports too."""
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import, which isn't read"
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}"
                yield dotted if dotted in FILES else str(node.module)


def is_in(module: str, room: str) -> bool:
    """Whether a module is a room, or in it."""
    return f"{module}.".startswith(f"{room}.")


def room_of(module: str) -> str:
    """Returns the room of a module, the innermost one."""
    return max((r for rooms in LAYERS for r in rooms if is_in(module, r)), key=len)


def layer_of(module: str) -> int:
    """Returns how many layers are below a module's room."""
    room = room_of(module)
    return next(i for i, rooms in enumerate(LAYERS) if room in rooms)


@pytest.mark.parametrize("module", FILES)
def test_imports_run_downwards(module: str) -> None:
    """A module imports from its own room and from lower layers, wherever it does."""
    ours = [name for name in imports_of(module) if name in FILES]

    assert [
        name
        for name in ours
        if room_of(name) != room_of(module) and layer_of(name) >= layer_of(module)
    ] == []


def test_no_modules_import_each_other() -> None:
    """Within a room, too, there is an order."""
    graph = {module: set(imports_of(module)) & FILES.keys() for module in FILES}

    assert set(graphlib.TopologicalSorter(graph).static_order()) == FILES.keys()


def test_only_the_engine_starts_threads() -> None:
    """So there is one place where `--workers` bounds them."""
    starts = ("concurrent.futures", "multiprocessing.pool")

    assert {
        module
        for module in FILES
        for name in imports_of(module)
        if name.startswith(starts)
    } == {"pipeline.columnar.engine"}


@pytest.mark.parametrize("room", WITHOUT_MLMD)
def test_what_computes_knows_no_metadata_store(room: str) -> None:
    """Rooms that compute import neither MLMD nor what reads the metadata store."""
    modules = [module for module in FILES if is_in(module, room)]

    assert [
        (module, name)
        for module in modules
        for name in imports_of(module)
        if is_in(name, "pipeline.store") or is_in(name, "ml_metadata")
    ] == []
