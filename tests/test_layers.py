"""The code's structure: rooms depend downwards only, and each module has a test.

The layers and the exceptions are written down here, and only here.
"""

import ast
import functools
import graphlib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

# Lowest first. Those in one line know nothing of each other; a module belongs to the
# longest name that it begins with.
LAYERS = (
    ("pipeline.errors", "pipeline.columnar.orphans", "pipeline.columnar.progress"),
    ("pipeline.store.clock",),
    (
        "pipeline.store.names",
        "schema",
        "pipeline.trust.checks",
        "pipeline.quality.rules",
        "pipeline.project.settings_file",
    ),
    ("pipeline.doctor", "pipeline.columnar"),
    ("pipeline.ingestion", "pipeline.beam", "data"),
    ("models",),
    ("pipeline.store",),
    ("pipeline.registry",),
    ("serving",),
    ("pipeline.config",),
    (
        "pipeline.caching",
        "pipeline.quality",
        "pipeline.trust",
        "pipeline.prediction",
    ),
    ("pipeline.project",),
    ("pipeline.components",),
    ("pipeline",),
    ("pipeline.lineage",),
    ("pipeline.artifacts",),
    ("pipeline.report",),
    ("pipeline.runners",),
    ("pipeline.runners.local",),
    ("pipeline.clusters",),
    ("operations",),
    ("pipeline.commands",),
    ("pipeline.cli",),
    ("demo",),
)
# They compute: what they are given is data, and the graph is the components' business.
WITHOUT_MLMD = ("pipeline.columnar", "pipeline.ingestion", "pipeline.quality", "models")
# A server's image has none of them, and they cost seconds at its start.
NOT_IN_SERVING = ("tfx", "apache_beam", "ml_metadata", "tensorflow_transform")

# Modules without a test file of their own, with what tests them instead.
NO_TWIN = {
    "pipeline.commands.flags": "commands are tested as commands: test_cli.py",
    "pipeline.commands.completion": "as above",
    "pipeline.commands.cluster": "as above, and tests/clusters",
    "pipeline.commands.lineage": "as above, and lineage/test_views.py",
    "pipeline.commands.run": "as above",
    "pipeline.commands.upkeep": "as above, and runners/local/test_gc.py",
    "pipeline.commands.serve": "tests/serving/test_server.py starts it",
    "serving.frames": "as above: what the processes of a server say to each other",
    "serving.live": "as above",
    "serving.metrics": "as above",
    "serving.nursery": "as above",
    "serving.predictor": "as above",
    "serving.rejections": "as above",
    "serving.rest": "as above",
    "serving.upkeep": "as above",
    "serving.version": "as above",
    "demo.__main__": "tests/e2e/test_demo.py starts it",
    "demo.client": "as above",
    "demo.conductor": "as above",
    "demo.places": "as above",
    "demo.processes": "as above",
    "data.__main__": "its two forms are in test_taxi.py and test_quarters.py",
}

FILES = {
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(
        ".__init__"
    ): path
    for package in (
        "pipeline",
        "models",
        "schema",
        "data",
        "serving",
        "operations",
        "demo",
    )
    for path in sorted((PROJECT / package).rglob("*.py"))
}


@functools.cache
def tree_of(module: str) -> ast.Module:
    """Parses a module, once for all tests."""
    return ast.parse(FILES[module].read_text())


@functools.cache
def imports_of(module: str, *, at_once: bool = False) -> list[str]:
    """Returns what a module imports, functions' and type checkers' imports too.

    Args:
        module: The module.
        at_once: Only what is imported with the module.
    """
    tree = tree_of(module)
    found: list[str] = []
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import, which isn't read"
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}"
                found.append(dotted if dotted in FILES else str(node.module))
    return found


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


def test_the_server_needs_neither_tfx_nor_beam() -> None:
    """Importing `serving/` imports none of them, nor do our modules that it imports."""
    imported: set[str] = set()
    waiting = {module for module in FILES if is_in(module, "serving")}
    while waiting:
        module = waiting.pop()
        imported.add(module)
        # Importing a.b imports a too.
        named = set(imports_of(module, at_once=True)) | {module.rpartition(".")[0]}
        waiting |= (named & FILES.keys()) - imported

    assert "pipeline.errors" in imported
    assert [
        (module, name)
        for module in sorted(imported)
        for name in imports_of(module, at_once=True)
        if any(is_in(name, package) for package in NOT_IN_SERVING)
    ] == []


def twin_of(module: str) -> Path:
    """Returns where the tests of a module belong; a package's are named after it."""
    path = FILES[module].relative_to(PROJECT)
    ours = path.parts[0] in {"pipeline", "serving", "operations"}
    directory = Path("tests") if ours else Path("tests/project")
    name = path.parent.name if path.name == "__init__.py" else path.stem
    return directory / path.parent / f"test_{name}.py"


def has_code(module: str) -> bool:
    """Whether a module defines a function or a class."""
    body = tree_of(module).body
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in body)


@pytest.mark.parametrize("module", sorted(FILES.keys() - NO_TWIN))
def test_each_module_has_tests_at_its_own_path(module: str) -> None:
    """A reader finds the tests of `a/b.py` in `tests/a/test_b.py`, without a search."""
    assert not has_code(module) or (PROJECT / twin_of(module)).is_file(), twin_of(
        module
    )


def test_exceptions_are_modules_without_tests_of_their_own() -> None:
    """The list names no module that is gone, and none that has got its tests."""
    assert NO_TWIN.keys() <= FILES.keys()
    assert [m for m in NO_TWIN if (PROJECT / twin_of(m)).is_file()] == []
