"""`throughline gc`: versions and run directories, and runs that go on."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.config import Config, smoke
from pipeline.errors import UsageError
from pipeline.registry import changes, versions
from pipeline.runners.local import gc, run_record
from pipeline.store import locks, properties, upkeep
from pipeline.store.connection import open_store
from pipeline.store.run_files import Outcome, Run
from tests.pipeline.tfx_store import StockStore

PROJECT = Path(__file__).resolve().parents[4]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration with a data directory of its own, and an empty store."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x\n1\n")
    made = replace(smoke(), data=tmp_path / "data", output=tmp_path / "out")
    open_store(made.metadata_url)
    return made


def _push(config: Config) -> str:
    model = config.output / "model"
    model.mkdir(parents=True, exist_ok=True)
    (model / "saved_model.pb").write_text("graph")
    number = changes.push(model, config.serving_directory, {"model_id": 1})
    return str(config.serving_directory / str(number))


def _run(config: Config, model: str | None = None) -> Run:
    """Records a run that has ended, with a log."""
    run = run_record.new_run(config)
    run.outcome, run.model = Outcome.DONE, model
    run.save()
    run.log_of("Trainer").write_text("ten bytes.")
    return run


def test_old_versions_and_runs_are_freed(config: Config) -> None:
    """Old runs go with their logs and versions, and what is live stays with its run."""
    pushed = [_push(config) for _ in range(3)]
    old = _run(config, pushed[0])
    behind = _run(config, pushed[1])
    newest = _run(config, pushed[2])
    other = _run(replace(config, name="bikes"))

    plan = gc.find(config, keep=1, keep_versions=2)
    said = gc.lines(plan, dry_run=False)
    problems = gc.free(config, plan)

    assert problems == []
    assert not old.directory.exists()
    assert all(run.directory.is_dir() for run in (behind, newest, other))
    left = {path.name for path in config.serving_directory.iterdir()}
    assert left == {"registry.json", *(Path(path).name for path in pushed[1:])}
    assert [line.split()[:3] for line in said[:2]] == [
        ["serving", "versions", "1"],
        ["run", "directories", "1"],
    ]
    assert said[-1].startswith("0 artifacts, ")


def test_what_refused_runs_left_is_freed(config: Config) -> None:
    """The verdict of an old run that its gate stopped goes, and is counted."""
    store = StockStore(config.metadata_url, config.output / "artifacts", config.name)
    for run in ("monday", "tuesday"):
        values = {properties.DIRECTORY: run}
        failed = mlmd.Execution.FAILED
        store.ran(run, "DataGate", properties=values, state=failed)
        above = upkeep.working_directories(config.artifact_root, "DataGate")
        Path(above, run).mkdir(parents=True)
        Path(above, run, "verdict.json").write_text("x" * 600_000)

    plan = gc.find(config, keep=1, keep_versions=1)
    said = gc.lines(plan, dry_run=False)
    problems = gc.free(config, plan)

    assert problems == []
    assert [path.name for path in Path(above).iterdir()] == ["tuesday"]
    assert [line.split() for line in said[:1]] == [
        ["working", "directories", "1", "0.6", "MB"]
    ]


def test_asking_removes_nothing(config: Config) -> None:
    """What would be freed is still there after it was listed."""
    _push(config)
    _push(config)
    runs = [_run(config) for _ in range(2)]

    plan = gc.find(config, keep=1, keep_versions=1)
    said = gc.lines(plan, dry_run=True)

    assert [run.run_id for run in plan.runs] == [runs[0].run_id]
    assert said[-1].endswith("in all would be freed")
    assert all(run.directory.is_dir() for run in runs)
    assert len(versions.versions(config.serving_directory)) == 2


def test_a_run_that_lives_keeps_its_directory(config: Config) -> None:
    """A run whose process holds its lock stays, however old it is."""
    alive = _run(config)
    alive.outcome = Outcome.RUNNING
    alive.save()
    _run(config)

    with run_record.held(alive):
        plan = gc.find(config, keep=1, keep_versions=1)

    assert plan.runs == []


def test_a_linked_run_directory_is_left_alone(config: Config, tmp_path: Path) -> None:
    """A directory that is a link to another place is not followed."""
    run = _run(config)
    _run(config)
    run.directory.rename(tmp_path / "elsewhere")
    run.directory.symlink_to(tmp_path / "elsewhere")

    plan = gc.find(config, keep=1, keep_versions=1)

    assert plan.runs == []


def test_artifacts_in_a_bucket_are_said_to_stay(config: Config) -> None:
    """Someone who pays for them must not believe that they are gone."""
    store = StockStore(config.metadata_url, config.output / "artifacts", config.name)
    examples = store.examples(span=1)
    store.ran("monday", "ExampleGen", outputs={"examples": examples})
    database = MetadataStore(open_store(config.metadata_url))
    before = gc.find(config, keep=1, keep_versions=1)
    (artifact,) = database.get_artifacts_by_id([examples])
    artifact.uri = "s3://bucket/taxi/ExampleGen/examples/1"
    database.put_artifacts([artifact])

    plan = gc.find(config, keep=1, keep_versions=1)

    said = gc.lines(plan, dry_run=False)
    assert before.buckets == ()
    assert said[-1].startswith("artifacts in s3://bucket are not deleted")


def test_the_live_version_must_stay(config: Config) -> None:
    """Keeping no version is refused with what is possible."""
    with pytest.raises(UsageError, match="keep-versions is 0; the live version"):
        gc.find(config, keep=1, keep_versions=0)


def test_the_command_refuses_while_a_run_goes_on(config: Config) -> None:
    """With a run in another process, the command removes nothing and ends with 2."""
    for _ in range(2):
        _push(config)
    command = [sys.executable, "-m", "pipeline.cli", "gc", "--keep-versions", "1"]

    with locks.in_use(config.artifact_root):
        done = subprocess.run(
            [*command, "--output", str(config.output)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 2
    assert "is in use by a run, so nothing is removed" in done.stderr
    assert len(versions.versions(config.serving_directory)) == 2
