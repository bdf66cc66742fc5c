"""Runs the real pipeline as a person does, and looks at what it left."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from models import declarations
from pipeline.quality import results
from pipeline.store.connection import connection_config
from pipeline.store.graph import Graph

PROJECT = Path(__file__).resolve().parents[2]

SECOND_RUN = "python run_local.py --seed 2 --workers 2"
"""The README's, which tests of two runs share."""

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Finished:
    """A run that is over.

    Attributes:
        exit_code: What the process ended with.
        text: All that it printed.
        output: Its output directory.
        run: The run's own directory, if it came to have one.
        versions: The model's versions in serving when it ended, oldest first.
    """

    exit_code: int
    text: str
    output: Path
    run: Path
    versions: tuple[Path, ...]

    @property
    def store(self) -> MetadataStore:
        """The metadata store that it wrote."""
        return MetadataStore(connection_config(f"sqlite:///{self.output}/metadata.db"))

    def states(self) -> dict[str, str]:
        """State of the newest of its executions of each component class."""
        store = self.store
        context = store.get_context_by_type_and_name("pipeline_run", self.run.name)
        executions = store.get_executions_by_context(context.id) if context else []
        types = {t.id: t.name for t in store.get_execution_types()}
        state = mlmd.Execution.State.Name
        return {
            types[e.type_id].rpartition(".")[2]: state(e.last_known_state)
            for e in sorted(executions, key=lambda execution: int(execution.id))
        }

    def output_of(self, node: str, key: str) -> Path:
        """Directory of an artifact that a node of this run wrote or reused."""
        return Path(Graph(self.store).outputs_of_run(self.run.name)[node][key][0].uri)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Overall metrics of each model that it evaluated."""
        models = results.read_metrics(self.output_of("Evaluator", "evaluation"))
        return {name: slices[results.OVERALL] for name, slices in models.items()}


def files_of_project() -> list[str]:
    """Paths of the files that a commit of the working tree would have."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = filter(None, listed.stdout.split("\0"))
    return [name for name in names if (PROJECT / name).is_file()]


def in_clone(clone: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Runs a shell command in the activated environment of a clone."""
    return subprocess.run(
        ["bash", "-ec", f". .venv/bin/activate; {command}"],
        cwd=clone,
        env={k: v for k, v in os.environ.items() if not k.startswith("COV")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def run_local(output: Path, *flags: Any) -> Finished:
    """Runs `run_local.py` to its end, in a process that nobody has warmed."""
    command = [sys.executable, "run_local.py", "--output", output, *flags]
    done = subprocess.run(
        [str(part) for part in command],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return finished(done.returncode, done.stdout, output)


def run_local_lightly(output: Path, *flags: Any) -> Finished:
    """Runs `run_local.py`; the exit code is 99 if that imported TensorFlow or TFX."""
    program = (
        "import sys, run_local\n"
        "code = run_local.main()\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam'}\n"
        "sys.exit(99 if heavy & set(sys.modules) else code)\n"
    )
    command = [sys.executable, "-c", program, "--output", output, *flags]
    done = subprocess.run(
        [str(part) for part in command],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return finished(done.returncode, done.stdout, output)


def lineage(output: Path, *asked: str) -> dict[str, Any]:
    """Asks the installed command for JSON."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pipeline.cli", "lineage", *asked),
            *("--json", "--output", output),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def finished(exit_code: int, text: str, output: Path) -> Finished:
    """Notes what a run that has just ended left in its output directory."""
    run = max((output / "runs").glob("*/"), default=output / "runs")
    versions = sorted((output / "serving" / "taxi").glob("[0-9]*"))
    return Finished(exit_code, text, output, run, tuple(versions))


def write_csv(path: Path, rows: Rows) -> Path:
    """Writes rows with their header; returns the directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path.parent


def raw_tensors(signature: Any, rows: Rows) -> dict[str, tf.Tensor]:
    """Turns rows of text into what a signature for JSON clients wants to be sent."""
    missing = {
        tf.float32: declarations.MISSING_FLOAT,
        tf.int64: declarations.MISSING_INTEGER,
    }
    tensors = {}
    for name, spec in signature.structured_input_signature[1].items():
        texts = [row[name] for row in rows]
        if spec.dtype == tf.string:
            tensors[name] = tf.constant(texts)
        else:
            number = float if spec.dtype == tf.float32 else int
            values = [number(t) if t else missing[spec.dtype] for t in texts]
            tensors[name] = tf.constant(values, spec.dtype)
    return tensors


def weights_of(model: Path) -> dict[str, Any]:
    """Reads every variable of a SavedModel, by name."""
    reader = tf.train.load_checkpoint(str(model / "variables" / "variables"))
    names = [n for n in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in n]
    return {name: reader.get_tensor(name) for name in names}
