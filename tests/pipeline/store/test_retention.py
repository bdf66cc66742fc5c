"""Which artifacts are deleted and kept, also after a killed call."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.store import locks, properties, retention, upkeep
from pipeline.store.connection import open_store
from pipeline.store.properties import WINDOW
from pipeline.store.retention import Pipeline
from pipeline.store.windows import EarlierSpan, Window
from tests.pipeline.tfx_store import StockStore, train

State = mlmd.Artifact.State


@pytest.fixture
def config(config: Config) -> Config:
    """The configuration of the pipeline whose runs the store has."""
    return replace(config, name="taxi")


class _Taxi(StockStore):
    """A store whose outputs are in TFX's layout: node, output, execution."""

    def artifact(self, kind: str, properties: object = None) -> int:
        """Registers an artifact with one file of ten bytes."""
        artifact_id = super().artifact(kind, properties)  # type: ignore[arg-type]
        (self.path(artifact_id) / "file").write_text("ten bytes.")
        return artifact_id


@pytest.fixture
def store(config: Config) -> _Taxi:
    """A store of the pipeline `taxi`."""
    return _taxi(config, "taxi")


def _taxi(config: Config, pipeline: str) -> _Taxi:
    root = Path(config.artifact_root) / pipeline
    return _Taxi(config.metadata_url, root, pipeline)


def _ours(config: Config) -> Pipeline:
    return Pipeline(config.name, config.metadata_url, Path(config.artifact_root))


def _found(config: Config, keep: int = 1) -> set[int]:
    return {unused.artifact.id for unused in retention.find(_ours(config), keep)}


def test_unblessed_models_of_old_runs_can_go(config: Config, store: _Taxi) -> None:
    """Artifacts of an old unblessed model are unused; the newest run is kept."""
    refused = train(store, "monday")
    newest = train(store, "tuesday")

    found = _found(config)

    assert {refused.model, refused.examples} <= found
    assert not {newest.model, newest.examples} & found


def test_pushed_models_keep_what_they_came_from(config: Config, store: _Taxi) -> None:
    """Data, schema and model of a pushed version are kept."""
    pushed = train(store, "monday", version="7")
    train(store, "tuesday")

    found = _found(config)

    assert not {pushed.model, pushed.examples, pushed.schema} & found


def test_a_model_in_serving_stays(config: Config, store: _Taxi) -> None:
    """The origin of a version in serving is kept."""
    served = train(store, "monday")
    train(store, "tuesday")
    named = {(str(store.path(served.model)), served.model)}

    found = {g.artifact.id for g in retention.find(_ours(config), 1, named)}

    assert not {served.model, served.examples} & found


def test_the_spans_of_a_window_stay(config: Config, store: _Taxi) -> None:
    """Also if the newest run stopped at the gate, before it has read its window."""
    spans = {n: (store.examples(span=n), store.artifact("DataVerdict")) for n in (1, 2)}
    for number, (examples, verdict) in spans.items():
        part = f"monday/span-{number}"
        store.ran(part, "ExampleGen", outputs={"examples": examples})
        store.ran(part, "DataGate", outputs={"verdict": verdict})
    train(store, "monday")
    window = Window("3", (EarlierSpan(2, "2", *spans[2]),))
    store.ran("tuesday", "ExampleGen", properties={WINDOW: window.to_json()})
    failed = mlmd.Execution.FAILED
    store.ran("tuesday", "DataGate", state=failed)

    assert _found(config) >= set(spans[1])
    assert not _found(config) & set(spans[2])


def test_the_parts_of_a_run_stay_with_it(config: Config, store: _Taxi) -> None:
    """What a kept run has taken in is kept, and counts as no run of its own."""
    old = train(store, "sunday")
    examples = store.examples(span=1)
    newest = train(store, "monday")
    store.ran("monday/span-1", "ExampleGen", outputs={"examples": examples})

    found = _found(config)

    assert old.examples in found
    assert not {examples, newest.examples, newest.model} & found


def test_other_pipelines_of_the_store_are_left_alone(
    config: Config, store: _Taxi
) -> None:
    """Artifacts that other pipelines wrote or read are kept."""
    other = _taxi(config, "bikes")
    bikes = train(other, "sunday")
    train(other, "monday")
    lent = store.examples()
    store.ran("sunday 2", "ExampleGen", outputs={"examples": lent})
    other._made[lent] = store._made[lent]
    other.ran("monday", "Trainer", inputs={"examples": [lent]})
    own = train(store, "monday 2")
    train(store, "tuesday")

    found = _found(config)

    assert own.model in found
    assert lent not in found
    assert bikes.model not in found
    assert bikes.model in _found(replace(config, name="bikes"))


def test_runs_that_go_on_keep_their_artifacts(config: Config, store: _Taxi) -> None:
    """A run with an unfinished execution is kept."""
    running = train(store, "monday")
    store.ran("monday", "Late", state=mlmd.Execution.RUNNING)
    ended = train(store, "tuesday")
    train(store, "wednesday")

    found = _found(config)

    assert running.model not in found
    assert ended.model in found


@pytest.mark.parametrize("how", ["dots", "link", "shallow", "bucket"])
def test_only_what_is_really_below_the_output_goes(
    config: Config, store: _Taxi, tmp_path: Path, how: str
) -> None:
    """A URI that leads outside the directory is never deleted."""
    precious = tmp_path / "precious"
    (precious / "a" / "b").mkdir(parents=True)
    Path(config.artifact_root).mkdir(parents=True)
    (Path(config.artifact_root) / "link").symlink_to(precious)
    root = Path(config.artifact_root)
    uri = {
        "dots": f"{root}/x/y/../../../../../../../../../..{precious}/a/b",
        "link": f"{root}/link/a/b",
        "shallow": f"{root}/x",
        "bucket": "gs://bucket/x/y/1",
    }[how]
    artifact = store.examples()
    store.ran("monday", "ExampleGen", outputs={"examples": artifact})
    train(store, "tuesday")
    raw = MetadataStore(open_store(config.metadata_url))
    (kept,) = raw.get_artifacts_by_id([artifact])
    kept.uri = uri
    raw.put_artifacts([kept])

    found = retention.find(_ours(config), 1)
    retention.free(_ours(config), found)

    assert artifact not in {unused.artifact.id for unused in found}
    assert (precious / "a" / "b").is_dir()


def test_a_directory_that_another_artifact_has_stays(
    config: Config, store: _Taxi
) -> None:
    """A directory is kept as long as another artifact uses it."""
    old = train(store, "monday")
    new = train(store, "tuesday")
    raw = MetadataStore(open_store(config.metadata_url))
    (shared,) = raw.get_artifacts_by_id([old.model])
    shared.uri = str(store.path(new.model))
    raw.put_artifacts([shared])

    retention.free(_ours(config), retention.find(_ours(config), 1))

    assert (store.path(new.model) / "file").is_file()


def test_freed_artifacts_are_marked_and_gone(config: Config, store: _Taxi) -> None:
    """Deleted artifacts have no files, are marked, and aren't found again."""
    refused = train(store, "monday")
    train(store, "tuesday")

    problems = retention.free(_ours(config), retention.find(_ours(config), 1))

    raw = MetadataStore(open_store(config.metadata_url))
    (model,) = raw.get_artifacts_by_id([refused.model])
    assert problems == []
    assert model.state == State.DELETED
    assert not store.path(refused.model).exists()
    assert _found(config) == set()


def test_a_killed_call_is_finished_by_the_next(config: Config, store: _Taxi) -> None:
    """Marked artifacts whose files remain are deleted by the next call."""
    refused = train(store, "monday")
    train(store, "tuesday")
    raw = MetadataStore(open_store(config.metadata_url))
    marked = [unused.artifact.id for unused in retention.find(_ours(config), 1)]
    upkeep.mark_deleted(raw, marked)

    again = retention.find(_ours(config), 1)
    retention.free(_ours(config), again)

    assert {g.artifact.id for g in again} == set(marked)
    assert not store.path(refused.model).exists()


def _left_behind(
    config: Config, store: StockStore, run: str, state: mlmd.Execution.State
) -> Path:
    """Registers a gate's execution, and what it wrote into its working directory."""
    kept = {properties.DIRECTORY: f"{store.pipeline}-{run}"}
    store.ran(run, "DataGate", properties=kept, state=state)
    above = upkeep.working_directories(config.artifact_root, "DataGate")
    directory = Path(above, kept[properties.DIRECTORY])
    directory.mkdir(parents=True)
    (directory / "verdict.json").write_text("{}")
    return directory


def test_verdicts_of_old_refused_runs_can_go(config: Config, store: _Taxi) -> None:
    """What failed nodes of old runs left is found; newer and other runs' is not."""
    failed, running = mlmd.Execution.FAILED, mlmd.Execution.RUNNING
    old = _left_behind(config, store, "monday", failed)
    _left_behind(config, _taxi(config, "bikes"), "tuesday", failed)
    _left_behind(config, store, "wednesday", running)
    _left_behind(config, store, "thursday", failed)
    (old.parent / "nobody's").mkdir()

    found = retention.working_directories(_ours(config), 1)

    assert found == [old]


def test_working_directories_elsewhere_are_not_followed(
    config: Config, store: _Taxi
) -> None:
    """Nothing is found behind a link that leads out of the artifacts' directory."""
    old = _left_behind(config, store, "monday", mlmd.Execution.FAILED)
    train(store, "tuesday")
    elsewhere = config.output / "elsewhere"
    old.parent.rename(elsewhere)
    old.parent.symlink_to(elsewhere)

    assert retention.working_directories(_ours(config), 1) == []


def test_what_cannot_be_removed_is_said(config: Config, store: _Taxi) -> None:
    """A path that can't be deleted is reported; the others are deleted."""
    refused = train(store, "monday")
    train(store, "tuesday")
    found = retention.find(_ours(config), 1)
    stubborn = next(g for g in found if g.artifact.id == refused.model)
    # A file in the place of a directory's parent: nobody's rights matter.
    blocked = replace(stubborn, path=stubborn.path / "file" / "below")

    problems = retention.free(
        _ours(config), [blocked, *(g for g in found if g != stubborn)]
    )

    assert problems == [f"{blocked.path} can't be removed: Not a directory"]
    assert not store.path(refused.examples).exists()


def test_without_a_store_none_is_made(config: Config) -> None:
    """Without a store there is an error, and none is created."""
    with pytest.raises(UsageError, match="There is no metadata store at"):
        retention.find(_ours(config), 1)

    assert not (config.output / "metadata.db").exists()


def test_one_run_must_stay(config: Config) -> None:
    """`keep` below 1 is rejected."""
    with pytest.raises(UsageError, match="keep is 0; at least the newest"):
        retention.find(_ours(config), 0)


HOLD = """
import sys
from pathlib import Path
from pipeline.store import locks
with locks.in_use(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_nothing_is_removed_while_a_node_runs(config: Config) -> None:
    """Deletion is rejected while another process uses the artifacts."""
    directory = Path(config.artifact_root)
    with (
        locks.in_use(directory),
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(directory)],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        # Two nodes at once are no trouble.
        assert process.stdout
        held = process.stdout.readline()
        with pytest.raises(UsageError) as refused, locks.unused(directory):
            pass
        process.kill()
        process.wait()

    with locks.unused(directory):
        pass
    assert held == "held\n"
    assert str(refused.value).startswith(f"{directory} is in use by a run")
