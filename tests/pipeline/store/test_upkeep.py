"""The metadata store and the artifact directories stay in step."""

from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.store import graph, upkeep
from pipeline.store.connection import connection_config

State = mlmd.Execution.State
RUN, NODE = "run-1", "taxi.Transform"


class Small:
    """A store with one node's execution and its output."""

    def __init__(self, root: Path) -> None:
        self.config = connection_config(f"sqlite:///{root}/metadata.db")
        self.store = MetadataStore(self.config)
        self.root = root / "artifacts"
        self._types = {
            "execution": self.store.put_execution_type(
                mlmd.ExecutionType(name="Transform")
            ),
            "artifact": self.store.put_artifact_type(mlmd.ArtifactType(name="Graph")),
        }
        self._contexts = [
            self._context("pipeline_run", RUN),
            self._context("node", NODE),
        ]

    def _context(self, kind: str, name: str) -> mlmd.Context:
        type_id = self.store.put_context_type(mlmd.ContextType(name=kind))
        context = mlmd.Context(type_id=type_id, name=name)
        (context.id,) = self.store.put_contexts([context])
        return context

    def execution(self, state: int, files: dict[str, str]) -> mlmd.Execution:
        """Stores an execution whose output directory holds some files."""
        execution = mlmd.Execution(
            type_id=self._types["execution"], last_known_state=state
        )
        (execution.id,) = self.store.put_executions([execution])
        directory = self.root / "Transform" / "graph" / str(execution.id)
        directory.mkdir(parents=True)
        for name, text in files.items():
            (directory / name).write_text(text)
        artifact = mlmd.Artifact(
            type_id=self._types["artifact"],
            uri=str(directory),
            state=mlmd.Artifact.LIVE,
        )
        event = mlmd.Event(type=mlmd.Event.OUTPUT)
        event.path.steps.add().key = "graph"
        pairs = [(artifact, event)] if state == State.COMPLETE else []
        self.store.put_execution(execution, pairs, self._contexts)
        return execution


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """A fresh store."""
    return Small(tmp_path)


@pytest.mark.parametrize(
    "damage", ["none", "file gone", "file cut", "all gone", "more"]
)
def test_changed_outputs_are_retired(damage: str, small: Small) -> None:
    """Outputs are kept as long as they are what their execution left, and only then."""
    execution = small.execution(State.COMPLETE, {"a": "12345", "b": "1"})
    upkeep.note_execution(small.store, execution, {"models.model": "abc"})
    directory = small.root / "Transform" / "graph" / str(execution.id)
    if damage == "file gone":
        (directory / "a").unlink()
    elif damage == "file cut":
        (directory / "a").write_text("12")
    elif damage == "all gone":
        (directory / "a").unlink()
        (directory / "b").unlink()
        directory.rmdir()
    elif damage == "more":
        (directory / "c").write_text("3")

    retired = upkeep.retire_incomplete_outputs(small.store, NODE)

    (artifact,) = small.store.get_artifacts()
    if damage == "none":
        assert retired == []
        assert artifact.state == mlmd.Artifact.LIVE
    else:
        assert retired == [str(directory)]
        assert artifact.state == mlmd.Artifact.DELETED


def test_key_is_noted_with_the_execution(small: Small) -> None:
    """What an execution ran can be read from the store afterwards."""
    execution = small.execution(State.COMPLETE, {})

    upkeep.note_execution(small.store, execution, {"models.model": "abc"})

    (stored,) = small.store.get_executions()
    assert graph.text_of(stored, upkeep.KEY_PROPERTY) == '{"models.model": "abc"}'


@pytest.mark.parametrize(("canceled", "state"), [(True, "CANCELED"), (False, "FAILED")])
def test_unfinished_execution_is_ended(
    canceled: bool,  # noqa: FBT001 - a parameter of the test
    state: str,
    small: Small,
) -> None:
    """A dead run's running execution gets an end, and what it wrote is removed."""
    kept = small.execution(State.COMPLETE, {"a": "1"})
    dead = small.execution(State.RUNNING, {"a": "1"})

    ended = upkeep.Store(small.config, small.root).end_unfinished(
        RUN, canceled=canceled
    )

    assert ended == ["Transform"]
    states = {
        e.id: State.Name(e.last_known_state) for e in small.store.get_executions()
    }
    assert states == {kept.id: "COMPLETE", dead.id: state}
    directories = {p.name for p in (small.root / "Transform" / "graph").iterdir()}
    assert directories == {str(kept.id)}


def test_missing_property_reads_as_nothing(small: Small) -> None:
    """Asking for a property that is not there leaves the execution storable."""
    execution = small.execution(State.COMPLETE, {})

    text = graph.text_of(execution, "absent")

    assert text == ""
    assert "absent" not in execution.custom_properties
    small.store.put_executions([execution])
