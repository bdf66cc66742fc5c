"""`throughline operate` with real runs: a span, a kill, and what comes of it."""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore

from operations import facts
from operations.decisions import Action, Decision
from operations.reconciler import Reconciler
from operations.settings import Operate
from pipeline.config import Config, Gate, Quality, smoke
from pipeline.lineage.query import open_lineage
from pipeline.registry import history
from pipeline.store.connection import open_store
from pipeline.store.graph import Graph
from tests.e2e.places import SMALL_ROWS, executions
from tests.e2e.runs import Rows, write_csv
from tests.e2e.warm import MOMENTS, PROJECT, WarmProcess

pytestmark = pytest.mark.e2e

# Runs in a fork of the warm process, and is killed where the file says, the first time.
CLIENT = """\
import os, sys
from pathlib import Path
sys.path.insert(0, {project!r})
from tests.e2e import warm
file = Path({kill!r})
kill = file.read_text() if file.exists() else ""
file.unlink(missing_ok=True)
forked = warm.call({address!r}, "pipeline_run", sys.argv[1:], [0, 1, 2], kill=kill)
code = forked.wait()
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class Operated:
    """A model that is operated, with runs of the real pipeline."""

    def __init__(self, root: Path, warm: WarmProcess) -> None:
        """Prepares an output directory without runs, and a data directory."""
        self.root = root
        self.config: Config = replace(
            smoke(),
            data=root / "data",
            pattern="span-{SPAN}/*.csv",
            output=root / "out",
            quality=Quality(min_auc=0.01, max_auc_loss=1),
            # Six hundred trips differ from the next six hundred.
            gate=Gate(warn=("DRIFT", "UNSEEN_VALUES", "LABEL_RATE", "LABEL_RELATION")),
        )
        self.kill = root / "kill"
        client = root / "client.py"
        address = str(warm.directory / "socket")
        client.write_text(
            CLIENT.format(project=str(PROJECT), address=address, kill=str(self.kill))
        )
        self._program = (sys.executable, str(client))
        self.said: list[str] = []

    def arrive(self, span: int, rows: Rows) -> None:
        """Delivers a span."""
        write_csv(self.root / "data" / f"span-{span}" / "trips.csv", rows)

    def tick(self) -> int:
        """Ticks; returns the exit code."""
        # Neither pauses nor looks at a request log, which there is none of.
        settings = Operate(backoff_minutes=0, stop_after=9, monitor_minutes=1e6)
        return Reconciler(
            self.config,
            settings,
            lambda: datetime.now(UTC),
            self.said.append,
            self._program,
        ).tick()

    @property
    def runs(self) -> list[Decision]:
        """The decisions to run, oldest first."""
        found = facts.decisions_of(self.config).all()
        return [decision for decision in found if decision.action is Action.RUN]


@pytest.fixture(scope="module")
def operated(
    tmp_path_factory: pytest.TempPathFactory, warm: WarmProcess, sample_rows: Rows
) -> Operated:
    """Two spans came, one after the other; the second run's Trainer was killed."""
    model = Operated(tmp_path_factory.mktemp("operate"), warm)
    model.arrive(1, sample_rows[:SMALL_ROWS])
    assert model.tick() == 0, model.said
    model.arrive(2, sample_rows[SMALL_ROWS : 2 * SMALL_ROWS])
    model.kill.write_text(f"Trainer {MOMENTS[1]}")
    model.tick()
    model.tick()
    return model


def test_each_span_is_one_run(operated: Operated) -> None:
    """Each pushed a version; both decisions are over, and nothing is left to do."""
    live = history.read(operated.config.serving_directory)

    assert [decision.facts["spans"] for decision in operated.runs] == [[1], [2]]
    assert [decision.is_open for decision in operated.runs] == [False, False]
    assert len(live.numbers) == 2
    assert operated.said[-1] == "nothing new"


def test_a_killed_run_was_resumed(operated: Operated) -> None:
    """Under its name, so that what was done isn't done again."""
    first, second = operated.runs[1].attempts
    store = MetadataStore(open_store(operated.config.metadata_url))
    steps = Graph(store).run(second.run_id)

    assert first.exit_code
    assert second.exit_code == 0
    assert first.run_id == second.run_id
    ingested = [s.state for s in steps if s.node == "ExampleGen"]
    trained = [s.state for s in steps if s.node == "Trainer"]
    assert ingested == ["COMPLETE"]
    # The same execution, which was unfinished, and ran again.
    assert trained == ["COMPLETE"]
    running = [
        name for _, name, state in executions(operated.config.output) if state < 3
    ]
    assert running == []


def test_decisions_are_in_lineage(operated: Operated) -> None:
    """The second one read the model that was live, and says why it was made."""
    graph = open_lineage(operated.config).graph
    noted = graph.of_type("OperateDecision")
    (maker,) = graph.makers([noted[-1].id])
    (model,) = graph.by_id(maker.inputs["live_model"])

    assert [a.properties["action"] for a in noted] == ["start", "run", "run"]
    assert maker.parameters["because"] == "new: span 2; reads spans 2"
    assert graph.makers([model.id])[0].run == operated.runs[0].attempts[0].run_id
    written = Path(noted[-1].uri).read_text()
    assert json.loads(written)["facts"]["spans"] == [2]
