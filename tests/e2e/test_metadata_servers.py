"""The pipeline with its metadata on MariaDB and PostgreSQL, started for the tests."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.config import METADATA_VARIABLE
from pipeline.store.connection import connection_config
from pipeline.store.graph import Execution, Graph
from tests.e2e.orchestrated import same_weights
from tests.e2e.places import Place
from tests.e2e.runs import PROJECT, Finished, Rows, finished, lineage
from tests.e2e.warm import MOMENTS, WarmProcess

pytestmark = pytest.mark.e2e

_, WRITING, _ = MOMENTS
SERVERS = ("mariadb", "postgresql")


@dataclass(frozen=True)
class OnServer:
    """Runs in two output directories, whose metadata is in one database.

    Attributes:
        url: The database.
        output: The first of the directories.
        first: Runs that started at the same time, when the database had no tables.
        killed: A whole run in the first directory; its Trainer and it were killed.
        resumed: It was resumed.
        later: Runs that started at the same time afterwards.
        freed: What `gc` printed after those.
        kept: A run up to Transform after that, with what `gc` has left.
    """

    url: str
    output: Path
    first: tuple[Finished, ...]
    killed: Finished
    resumed: Finished
    later: tuple[Finished, ...]
    freed: str
    kept: Finished

    @property
    def graph(self) -> Graph:
        """What the server has now."""
        return Graph(MetadataStore(connection_config(self.url)))

    def executions(self, run: Finished) -> list[Execution]:
        """The executions of a run, as the server has them."""
        return self.graph.run(run.run.name)

    def states(self, run: Finished) -> dict[str, str]:
        """The state of each of its nodes, of the newest execution."""
        return {e.node: e.state for e in self.executions(run)}


def at_once(places: list[Place], *flags: str) -> tuple[Finished, ...]:
    """Runs in each of the places at the same time, up to StatisticsGen."""
    started = [place.start("--to", "StatisticsGen", *flags) for place in places]
    return tuple(
        finished(*process.communicate(), place.output)
        for place, process in zip(places, started, strict=True)
    )


@pytest.fixture(scope="module", params=SERVERS)
def on_server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    warm: WarmProcess,
    sample_rows: Rows,
) -> Iterator[OnServer]:
    """Runs with a server of each kind."""
    url = f"{request.getfixturevalue(request.param)}/taxi"
    root = tmp_path_factory.mktemp(request.param)
    one, two = (Place(root / name, warm, sample_rows) for name in ("one", "two"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(METADATA_VARIABLE, url)
        first = at_once([one, two])
        killed = one.run(kill=f"Trainer {WRITING}")
        resumed = one.resume()
        later = at_once([one, two], "--force")
        freed = gc(one.output)
        kept = one.run("--to", "Transform")
        yield OnServer(url, one.output, first, killed, resumed, later, freed, kept)


def gc(output: Path) -> str:
    """Frees what the newest run and the models don't need."""
    command = [sys.executable, "-m", "pipeline.cli", "gc", "--keep", "1"]
    return subprocess.run(
        [*command, "--output", str(output)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_first_runs_share_an_empty_database(on_server: OnServer) -> None:
    """Two runs that both create the tables reach their end, with an execution each."""
    for run in on_server.first:
        assert run.exit_code == 0, run.text
        states = {"ExampleGen": "COMPLETE", "StatisticsGen": "COMPLETE"}
        assert on_server.states(run) == states
    assert len({run.run.name for run in on_server.first}) == 2


def test_a_killed_run_is_resumed(on_server: OnServer, settled: Place) -> None:
    """Resumed, it pushes the weights of a run with its metadata in a file."""
    run = on_server.resumed

    assert on_server.killed.exit_code == -9
    assert run.exit_code == 0, run.text
    assert run.run == on_server.killed.run
    assert set(on_server.states(run).values()) == {"COMPLETE", "CACHED"}
    assert not [e for e in on_server.executions(run) if e.unfinished]
    (first, *_) = sorted((settled.output / "serving" / "taxi").glob("[0-9]*"))
    file_run = Finished(0, "", settled.output, settled.output, (first,))
    assert same_weights(run, file_run)


def test_nothing_is_written_to_a_file(on_server: OnServer) -> None:
    """There is no metadata.db, and no record, log or report holds the password."""
    secret = on_server.url.partition("://")[2].partition(":")[2].rpartition("@")[0]
    texts = [
        path.read_bytes()
        for path in on_server.output.rglob("*")
        if path.is_file() and "runs" in path.parts
    ]

    assert not (on_server.output / "metadata.db").exists()
    assert texts
    assert not [text for text in texts if secret.encode() in text]


def test_later_runs_share_it(on_server: OnServer) -> None:
    """Two runs at once reuse what is in their own directories, and end well."""
    for run in on_server.later:
        assert run.exit_code == 0, run.text
        states = on_server.states(run)
        assert states == {"ExampleGen": "CACHED", "StatisticsGen": "CACHED"}
        outputs = on_server.graph.outputs_of_run(run.run.name)
        (written,) = outputs["StatisticsGen"]["statistics"]
        assert Path(written.uri).is_relative_to(run.output)


def test_lineage_and_gc_read_it(
    on_server: OnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gc` spares what the model was made from, and the next run uses it."""
    monkeypatch.setenv(METADATA_VARIABLE, on_server.url)
    (version,) = on_server.resumed.versions

    model = lineage(on_server.output, "model", version.name)

    assert model["run"] == on_server.resumed.run.name
    assert "ModelEvaluation           1" in on_server.freed
    assert "TransformGraph" not in on_server.freed
    assert on_server.kept.exit_code == 0, on_server.kept.text
    assert on_server.states(on_server.kept)["Transform"] == "CACHED"
    # PostgreSQL has them in another order by now.
    outputs = on_server.graph.outputs_of_run(on_server.kept.run.name)["Transform"]
    types = {name: artifact.type for name, (artifact,) in outputs.items()}
    assert types["transform_graph"] == "TransformGraph"
    assert types["transformed_examples"] == "Examples"
