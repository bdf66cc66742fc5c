"""kfp's own local runner runs our package for Kubeflow, in containers of the image."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import tensorflow as tf
from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.config import METADATA_VARIABLE
from pipeline.store.connection import connection_config
from pipeline.store.graph import Graph
from tests.containers.conftest import CLIENT
from tests.e2e.orchestrated import SMOKE
from tests.e2e.runs import PROJECT, Finished, lineage, run_local

OWNER = 12_345
"""A user that neither the machine nor the image knows."""


@dataclass(frozen=True)
class Containers:
    """A run in containers.

    Attributes:
        exit_code: Of the command that compiled and ran the package.
        text: All that it printed.
        output: The output directory, which was the volume.
        url: The metadata store, on PostgreSQL.
    """

    exit_code: int
    text: str
    output: Path
    url: str

    @property
    def run(self) -> str:
        """The name of the only run."""
        (name,) = (path.name for path in (self.output / "compiled").iterdir())
        return name

    @property
    def version(self) -> Path:
        """The only version that it pushed."""
        (version,) = (self.output / "serving" / "taxi").glob("[0-9]*")
        return version


@pytest.fixture(scope="module")
def contained(
    image: str, postgresql: str, tmp_path_factory: pytest.TempPathFactory
) -> Containers:
    """The pipeline, compiled for Kubeflow and run by kfp."""
    output = tmp_path_factory.mktemp("volume")
    os.chown(output, OWNER, OWNER)
    url = f"{postgresql}/kubeflow"
    command = [sys.executable, "-m", "pipeline.cli", "compile", "--target", "kubeflow"]
    package = tmp_path_factory.mktemp("package")
    places = ["--output", str(output), "--out", str(package)]
    done = subprocess.run(
        [*command, "--run-local", "--image", image, *places, *SMOKE],
        cwd=PROJECT,
        env={**os.environ, METADATA_VARIABLE: url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Containers(done.returncode, done.stdout, output, url)


@pytest.fixture(scope="module")
def on_host(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The same pipeline without containers."""
    done = run_local(tmp_path_factory.mktemp("host") / "out", *SMOKE)
    assert done.exit_code == 0, done.text
    return done


def test_every_node_completes(contained: Containers, on_host: Finished) -> None:
    """In the metadata store are the nodes of a run without containers, all complete."""
    assert contained.exit_code == 0, contained.text
    graph = Graph(MetadataStore(connection_config(contained.url)))
    executions = graph.run(contained.run)

    assert {e.state for e in executions} == {"COMPLETE"}
    nodes = {e.node for e in Graph(on_host.store).run(on_host.run.name)}
    assert {e.node for e in executions} == nodes
    assert len(nodes) > 10


def test_the_served_model_is_that_of_the_host(
    contained: Containers, on_host: Finished
) -> None:
    """The pushed model has the same weights to the last bit, and the same answers."""
    (expected,) = on_host.versions
    name = "variables/variables.data-00000-of-00001"
    digests = [
        hashlib.sha256((version / name).read_bytes()).hexdigest()
        for version in (contained.version, expected)
    ]

    assert digests[0] == digests[1]
    ours, theirs = (answers_of(version) for version in (contained.version, expected))
    assert ours == theirs
    assert all(0 < answer < 1 for answer in ours)


def answers_of(version: Path) -> list[float]:
    """What a version answers to rows without values, as serialized examples."""
    signature = tf.saved_model.load(str(version)).signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    rows = tf.constant([tf.train.Example().SerializeToString()] * 2)
    answer = signature(**{name: rows})["probability"]
    return [float(value) for value in tf.reshape(answer, [-1])]


def test_lineage_leads_from_the_model_to_the_run(
    contained: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine reads what the containers wrote, under the same paths."""
    monkeypatch.setenv(METADATA_VARIABLE, contained.url)

    model = lineage(contained.output, "model", contained.version.name)

    assert model["run"] == contained.run
    assert not (contained.output / "metadata.db").exists()


def test_files_belong_to_the_owner_of_the_directory(contained: Containers) -> None:
    """The containers ran as the directory's owner, and none is left."""
    owners = {path.stat().st_uid for path in contained.output.rglob("*")}

    assert owners == {OWNER}
    left = subprocess.run(
        [CLIENT, "ps", "--all", "--quiet"], capture_output=True, text=True, check=True
    )
    assert left.stdout == ""
