"""kfp's own local runner runs our package for Kubeflow, in containers of the image."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.config import METADATA_VARIABLE
from pipeline.store.connection import connection_config
from pipeline.store.graph import Graph
from tests.containers.answers import answers_of
from tests.containers.conftest import OWNER, Started
from tests.containers.daemon import docker
from tests.e2e.runs import Finished, lineage


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
def contained(kubeflow: Started) -> Containers:
    """The pipeline, compiled for Kubeflow and run by kfp."""
    exit_code = kubeflow.process.wait()
    text = kubeflow.log.read_text()
    return Containers(exit_code, text, kubeflow.output, kubeflow.url)


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


def test_lineage_leads_from_the_model_to_the_run(
    contained: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine reads what the containers wrote, under the same paths."""
    monkeypatch.setenv(METADATA_VARIABLE, contained.url)

    model = lineage(contained.output, "model", contained.version.name)

    assert model["run"] == contained.run
    assert not (contained.output / "metadata.db").exists()


def test_files_belong_to_the_owner_of_the_directory(
    contained: Containers, image: str
) -> None:
    """The containers ran as the directory's owner, and none is left."""
    owners = {path.stat().st_uid for path in contained.output.rglob("*")}

    assert owners == {OWNER}
    assert docker("ps", "--all", "--quiet", f"--filter=ancestor={image}") == ""
