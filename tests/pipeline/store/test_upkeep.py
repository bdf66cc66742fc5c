"""Consistency of the metadata store and the artifact directories."""

from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.columnar import files
from pipeline.store import properties, upkeep
from pipeline.store.connection import connection_config
from pipeline.store.graph import Graph

State = mlmd.Execution.State
RUN, PIPELINE, NODE = "run-1", "taxi", "Transform"


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
            self._context("pipeline", PIPELINE),
            self._context("node", f"{PIPELINE}.{NODE}"),
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
        note = execution.custom_properties[properties.DIRECTORY]
        note.string_value = str(execution.id)
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
    """An empty store."""
    return Small(tmp_path)


@pytest.mark.parametrize(
    "damage", ["none", "file gone", "file cut", "all gone", "more"]
)
def test_changed_outputs_are_retired(damage: str, small: Small) -> None:
    """Outputs with missing, truncated or additional files are marked as deleted."""
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

    retired = upkeep.retire_incomplete_outputs(small.store, PIPELINE, NODE)

    (artifact,) = small.store.get_artifacts()
    if damage == "none":
        assert retired == []
        assert artifact.state == mlmd.Artifact.LIVE
    else:
        assert retired == [str(directory)]
        assert artifact.state == mlmd.Artifact.DELETED


def test_key_is_noted_with_the_execution(small: Small) -> None:
    """`note_execution` records the fingerprints as a property."""
    execution = small.execution(State.COMPLETE, {})

    upkeep.note_execution(small.store, execution, {"models.model": "abc"})

    (stored,) = small.store.get_executions()
    key = stored.custom_properties[properties.KEY].string_value
    assert key == '{"models.model": "abc"}'


def test_a_long_key_is_noted_in_properties_that_postgresql_takes(small: Small) -> None:
    """No text is longer than PostgreSQL indexes, and it is read as it was."""
    execution = small.execution(State.COMPLETE, {})
    key = {f"pipeline.module_{n}": "0123456789abcdef" for n in range(200)}

    upkeep.note_execution(small.store, execution, key)

    (stored,) = small.store.get_executions()
    texts = [value.string_value for value in stored.custom_properties.values()]
    assert max(map(len, texts)) < 2_704
    (parameters,) = Graph(small.store).parameters_of([stored.id])
    assert parameters[properties.KEY] == key
    assert [name for name in parameters if properties.KEY in name] == [properties.KEY]


def test_notes_and_marks_keep_the_other_properties(small: Small) -> None:
    """A new property or a deletion leaves the artifact's properties as they are."""
    small.execution(State.COMPLETE, {})
    (artifact,) = small.store.get_artifacts()

    upkeep.note_artifact(small.store, artifact.id, "first", "1")
    upkeep.note_artifact(small.store, artifact.id, "second", "2")
    upkeep.mark_deleted(small.store, [artifact.id])

    (stored,) = small.store.get_artifacts()
    values = {n: v.string_value for n, v in stored.custom_properties.items()}
    assert values == {"first": "1", "second": "2"}
    assert stored.state == mlmd.Artifact.DELETED
    assert stored.uri == artifact.uri


@pytest.mark.parametrize(("canceled", "state"), [(True, "CANCELED"), (False, "FAILED")])
def test_unfinished_execution_is_ended(
    canceled: bool,  # noqa: FBT001 - a parameter of the test
    state: str,
    small: Small,
) -> None:
    """`end_unfinished` ends running executions and deletes their outputs."""
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


def claim(small: Small, execution: mlmd.Execution) -> str:
    """Claims directories for an execution, as a node does before it runs."""
    return upkeep.claim_directories(small.store, execution, small.root / "Transform")


def started(small: Small) -> mlmd.Execution:
    """Stores an execution that has no directories yet."""
    type_id = small.store.get_execution_type("Transform").id
    execution = mlmd.Execution(type_id=type_id, last_known_state=State.RUNNING)
    (execution.id,) = small.store.put_executions([execution])
    return execution


def test_an_executions_directories_are_named_by_its_id(small: Small) -> None:
    """Directories are named by the execution's id, and the name is recorded."""
    execution = started(small)

    name = claim(small, execution)

    (stored,) = small.store.get_executions_by_id([execution.id])
    assert name == str(execution.id)
    assert stored.custom_properties[properties.DIRECTORY].string_value == name


@pytest.mark.parametrize(
    "place", ["graph", ".system/executor_execution", ".system/stateful_working_dir"]
)
def test_files_of_an_earlier_store_are_left_alone(place: str, small: Small) -> None:
    """Existing directories of the same id get no files, and are kept."""
    execution = started(small)
    foreign = small.root / "Transform" / place / str(execution.id) / "old"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("of another store")

    name = claim(small, execution)
    upkeep.clear_outputs(name, small.root / "Transform")

    assert name.startswith(f"{execution.id}-")
    assert foreign.read_text() == "of another store"


def test_a_second_try_starts_with_empty_directories(small: Small) -> None:
    """A retry keeps the name, and deletes the partial outputs."""
    execution = started(small)
    name = claim(small, execution)
    left = [
        small.root / "Transform" / place / name
        for place in ("graph", ".system/stateful_working_dir")
    ]
    for directory in left:
        directory.mkdir(parents=True)
        (directory / "half").write_text("")

    again = claim(small, execution)

    assert again == name
    assert not any(directory.exists() for directory in left)


def test_outputs_in_a_bucket_are_measured_too(small: Small, bucket: str) -> None:
    """What is there only in part is retired, as in a directory."""
    execution = small.execution(State.COMPLETE, {})
    (artifact,) = small.store.get_artifacts()
    artifact.uri = f"{bucket}/Transform/graph/1"
    small.store.put_artifacts([artifact])
    files.write_text(f"{artifact.uri}/a", "12345")
    upkeep.note_execution(small.store, execution, {})
    whole = upkeep.is_whole(small.store, artifact.id)
    files.write_text(f"{artifact.uri}/a", "123")

    retired = upkeep.retire_incomplete_outputs(small.store, PIPELINE, NODE)

    assert whole
    assert retired == [artifact.uri]


def test_directories_in_a_bucket_are_nobody_else_s(small: Small, bucket: str) -> None:
    """No two executions get the same name, and a failed one's files are removed."""
    node = f"{bucket}/claims/Transform"
    execution, other = started(small), started(small)
    other.id = execution.id

    name = upkeep.claim_directories(small.store, execution, node)
    files.write_text(f"{node}/graph/{name}/half", "")
    files.write_text(f"{node}/.system/stateful_working_dir/{name}/half", "")
    files.write_text(f"{node}/graph/{execution.id}/whole", "")
    upkeep.clear_outputs(name, node)

    assert name.startswith(f"{execution.id}-")
    assert upkeep.claim_directories(small.store, other, node) != name
    assert set(files.tree(node)) == {f"graph/{execution.id}/whole"}


@pytest.mark.parametrize("damage", ["none", "file gone", "all gone"])
def test_wholeness_of_one_artifact(damage: str, small: Small) -> None:
    """`is_whole` is false if files are missing."""
    execution = small.execution(State.COMPLETE, {"a": "12345"})
    upkeep.note_execution(small.store, execution, {})
    directory = small.root / "Transform" / "graph" / str(execution.id)
    if damage != "none":
        (directory / "a").unlink()
    if damage == "all gone":
        directory.rmdir()

    (artifact,) = small.store.get_artifacts()

    assert upkeep.is_whole(small.store, artifact.id) == (damage == "none")
