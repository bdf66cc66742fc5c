"""A node's cache key changes with the code and the files that it runs, and only then.

The keys are made in a process of its own from a copy of the code, which is edited; the
nodes' keys are compared before and after.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
Changed = tuple[list[str], list[str]]
PACKAGES = ("data", "models", "pipeline", "schema")
# Reads edits (file, old, new) and prints the nodes whose key each of them changed.
CHANGED_BY = """
import importlib, json, sys
from pathlib import Path
from pipeline import create_pipeline
from pipeline.caching import key as cache_key
from pipeline.config import Config, Tune
from pipeline.runners.compiler import compile_pipeline

config = Config(output=Path("out"), tune=Tune(enabled=True))

def keys():
    importlib.invalidate_caches()
    compiled = compile_pipeline(create_pipeline(config))
    nodes = [n.pipeline_node.node_info.id for n in compiled.nodes]
    return {n: cache_key.parts_of(compiled, n) for n in nodes}

before = keys()
compiled_before = compile_pipeline(create_pipeline(config))
answers = []
for name, old, new in json.load(sys.stdin):
    path = Path(name)
    text = path.read_text() if path.exists() else ""
    assert old in text, (name, old)
    path.write_text(text.replace(old, new, 1) if old else text + new)
    after = keys()
    told = {n: cache_key.changed_files(compiled_before, n) for n in before}
    nodes = sorted(n for n in before if before[n] != after[n])
    assert nodes == sorted(n for n in told if told[n]), told
    answers.append([nodes, sorted({f for files in told.values() for f in files})])
    path.write_text(text)
assert keys() == before
json.dump(answers, sys.stdout)
"""
# The schema's environments depend on which columns are features.
NODES_OF_DECLARATIONS = [
    "DataGate",
    "Evaluator",
    "ExampleValidator",
    "SchemaGen",
    "ServingCheck",
    "Trainer",
    "Transform",
    "Tuner",
]
EDITS: dict[str, tuple[tuple[str, str, str], list[str]]] = {
    "the model": (("models/model.py", "", "\nEDITED = 1\n"), ["Trainer", "Tuner"]),
    "preprocessing": (
        ("models/preprocessing.py", "", "\nEDITED = 1\n"),
        # The gate judges the label by its definition.
        ["DataGate", "Transform"],
    ),
    "what both import": (
        ("models/features.py", "", "\nEDITED = 1\n"),
        NODES_OF_DECLARATIONS,
    ),
    "what the trainer imports": (
        ("models/signatures.py", "", "\nEDITED = 1\n"),
        ["Evaluator", "Trainer", "Tuner"],
    ),
    "the package of modules imported by `from models import`": (
        ("models/__init__.py", "", "\nEDITED = 1\n"),
        NODES_OF_DECLARATIONS,
    ),
    "a docstring": (
        ("models/model.py", '"""', '"""Edited. '),
        ["Trainer", "Tuner"],
    ),
    "the search space": (("models/tuning.py", "", "\nEDITED = 1\n"), ["Tuner"]),
    "the search": (("models/tuner.py", "", "\nEDITED = 1\n"), ["Tuner"]),
    "the reviewed schema": (
        ("schema/schema.pbtxt", "", "# edited\n"),
        ["ExampleGen", "ImportSchemaGen"],
    ),
    "ingestion": (
        ("pipeline/components/ingestion.py", "", "\nEDITED = 1\n"),
        ["ExampleGen"],
    ),
    "what ingestion imports": (
        ("pipeline/ingestion/records.py", "", "\nEDITED = 1\n"),
        ["ExampleGen"],
    ),
    "what most of our executors import": (
        ("pipeline/errors.py", "", "\nEDITED = 1\n"),
        [
            "DataGate",
            "Evaluator",
            "ExampleGen",
            "ExampleValidator",
            "Pusher",
            "SchemaGen",
            "ServingCheck",
            "StatisticsGen",
            "Trainer",
            "Transform",
            "Tuner",
        ],
    ),
    "the gate": (
        ("pipeline/components/gate_executor.py", "", "\nEDITED = 1\n"),
        ["DataGate"],
    ),
    "the pusher": (
        ("pipeline/components/versioned_pusher.py", "", "\nEDITED = 1\n"),
        ["Pusher"],
    ),
    "what no node runs": (
        ("pipeline/runners/local/console.py", "", "\nEDITED = 1\n"),
        [],
    ),
}


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Changed]:
    """For each edit, the nodes whose keys it changed, and the files reported."""
    copy = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, copy / package, ignore=ignored)
    done = subprocess.run(
        [sys.executable, "-c", CHANGED_BY],
        input=json.dumps([edit for edit, _ in EDITS.values()]),
        capture_output=True,
        text=True,
        check=False,
        cwd=copy,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(copy)},
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(EDITS, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_the_nodes_that_use_it(
    changed: dict[str, Changed], edit: str
) -> None:
    """An edit of a file changes the keys of the nodes that run it, and no other."""
    _, expected = EDITS[edit]

    nodes, _ = changed[edit]

    assert nodes == expected


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_file_is_named(changed: dict[str, Changed], edit: str) -> None:
    """`changed_files` returns the edited file of an older compiled pipeline."""
    (file, _, _), nodes = EDITS[edit]

    _, files = changed[edit]

    # Modules are named as in the project, other files by where they are.
    assert [name for name in files if file.endswith(name) or name.endswith(file)] == (
        files
    )
    assert bool(files) == bool(nodes)
