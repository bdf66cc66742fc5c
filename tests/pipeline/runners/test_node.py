"""One node of a compiled pipeline, run by itself."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.proto.orchestration import pipeline_pb2

from pipeline import cli, create_pipeline
from pipeline.columnar import progress
from pipeline.columnar.shards import ShardWriter
from pipeline.config import DATA_NODE, GATE_NODE, TRAINER_NODE, Config
from pipeline.errors import DataRefusedError, ThroughlineError, UsageError
from pipeline.runners import compiler
from pipeline.runners.node import (
    NodeResult,
    node_of,
    preparations,
    run_command,
    run_node,
)
from pipeline.store import locks, retention
from pipeline.store.connection import open_store
from pipeline.store.graph import Graph
from pipeline.store.windows import Window, of_run

# protobuf warns on behalf of TFX's caller, which is us.
pytestmark = pytest.mark.filterwarnings("ignore:label:DeprecationWarning")

SCHEMA = 'feature { name: "fare" type: FLOAT }\n'
NODES = (
    "Baseline, BestModel, ExampleGen, ImportSchemaGen, DataBaselines, StatisticsGen, "
    "ExampleValidator, SchemaGen, DataGate, Window, Transform, Trainer, Evaluator, "
    "ServingCheck, Pusher"
)


class _Project:
    """A compiled pipeline with a schema and a metadata store of its own."""

    def __init__(self, directory: Path) -> None:
        self.output = directory / "out put 100%25"
        self.schema = directory / "schema.pbtxt"
        self.data = directory / "data"
        self.settings: dict[str, Any] = {}
        self.schema.write_text(SCHEMA)
        self.data.mkdir()

    @property
    def config(self) -> Config:
        return Config(
            output=self.output,
            schema=self.schema,
            data=self.data,
            **self.settings,
        )

    @property
    def pipeline(self) -> pipeline_pb2.Pipeline:
        return compiler.compile_pipeline(create_pipeline(self.config))

    @property
    def connection(self) -> mlmd.ConnectionConfig:
        return open_store(self.config.metadata_url)

    @property
    def store(self) -> MetadataStore:
        return MetadataStore(self.connection)

    def run(self, node_id: str, run_id: str = "monday") -> NodeResult:
        return run_node(self.pipeline, node_id, run_id, self.connection)

    def states(self, run_id: str = "monday") -> list[str]:
        return [execution.state for execution in Graph(self.store).run(run_id)]

    def put(self, name: str, text: str) -> Path:
        path = self.data / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def ingest(self, run_id: str) -> bool:
        """Runs the node that ingests; returns whether it was cached."""
        return self.run("ExampleGen", run_id).cached

    def noted(self, run_id: str) -> dict[str, Any]:
        """What the store has of the examples of a run."""
        (examples,) = Graph(self.store).outputs_of_run(run_id)["ExampleGen"]["examples"]
        return dict(examples.properties)

    def schemas(self) -> Iterator[Path]:
        return (self.output / "artifacts").rglob("schema.pbtxt")


@pytest.fixture
def project(tmp_path: Path) -> _Project:
    """A project whose pipeline has not run."""
    return _Project(tmp_path)


def test_what_can_prepare_names_nodes_of_the_pipeline(project: _Project) -> None:
    """The executors know no configuration, so they spell the names of these nodes."""
    found = preparations(project.pipeline, "monday", project.connection)

    assert {name: each.after for name, each in found.items()} == {
        "Transform": DATA_NODE,
        "Trainer": GATE_NODE,
        "ServingCheck": TRAINER_NODE,
    }


def test_a_node_runs(project: _Project) -> None:
    """A node does its work, and the store has it and what it wrote."""
    result = project.run("ImportSchemaGen")

    (execution,) = Graph(project.store).run("monday")
    outputs = Graph(project.store).outputs_of_run("monday")
    (schema,) = outputs["ImportSchemaGen"]["schema"]
    assert result == NodeResult(execution.id, cached=False)
    assert project.states() == ["COMPLETE"]
    assert (Path(schema.uri) / "schema.pbtxt").read_text() == SCHEMA


def test_a_node_that_the_run_has_done_is_not_done_again(project: _Project) -> None:
    """A second call under the same run id adds nothing to the store or the disk."""
    first = project.run("ImportSchemaGen")

    second = project.run("ImportSchemaGen")

    assert second == first
    assert project.states() == ["COMPLETE"]
    assert len(list(project.schemas())) == 1


def test_another_run_takes_what_has_not_changed(project: _Project) -> None:
    """Another run takes the outputs of the first from the cache."""
    project.run("ImportSchemaGen", "monday")

    result = project.run("ImportSchemaGen", "tuesday")

    monday, tuesday = (
        Graph(project.store).outputs_of_run(run_id)["ImportSchemaGen"]["schema"][0].uri
        for run_id in ("monday", "tuesday")
    )
    assert result.cached
    assert project.states("tuesday") == ["CACHED"]
    assert tuesday == monday
    assert len(list(project.schemas())) == 1


def test_another_run_does_anew_what_has_changed(project: _Project) -> None:
    """A schema that was edited is imported anew by the next run."""
    project.run("ImportSchemaGen", "monday")
    project.schema.write_text(SCHEMA + "# edited\n")

    result = project.run("ImportSchemaGen", "tuesday")

    (schema,) = Graph(project.store).outputs_of_run("tuesday")["ImportSchemaGen"][
        "schema"
    ]
    assert not result.cached
    assert (Path(schema.uri) / "schema.pbtxt").read_text().endswith("# edited\n")


def test_an_output_that_is_gone_is_made_anew(project: _Project) -> None:
    """What somebody deleted from the artifacts doesn't come from the cache."""
    project.run("ImportSchemaGen", "monday")
    (schema,) = project.schemas()
    schema.unlink()

    result = project.run("ImportSchemaGen", "tuesday")

    assert not result.cached
    assert [path.read_text() for path in project.schemas()] == [SCHEMA]


def test_the_compiled_pipeline_stays_as_it_was(project: _Project) -> None:
    """Running a node doesn't fill its run into the pipeline of the next."""
    pipeline = project.pipeline
    before = pipeline.SerializeToString(deterministic=True)

    run_node(pipeline, "ImportSchemaGen", "monday", project.connection)
    run_node(pipeline, "ImportSchemaGen", "tuesday", project.connection)

    assert pipeline.SerializeToString(deterministic=True) == before
    assert project.states("tuesday") == ["CACHED"]


def test_a_resolver_runs(project: _Project) -> None:
    """The node that looks for the blessed model is fine without one."""
    result = project.run("Baseline")

    assert result.execution_id
    assert Graph(project.store).outputs_of_run("monday")["Baseline"] == {}


@pytest.mark.parametrize("node_id", ["StatisticsGen", "Trainer", "Evaluator", "Pusher"])
def test_a_node_without_its_inputs_fails(project: _Project, node_id: str) -> None:
    """A node that is run before those it needs fails with a sentence."""
    with pytest.raises(ThroughlineError) as failed:
        project.run(node_id)

    message = str(failed.value)
    assert failed.value.exit_code == 1
    assert re.match(
        r"the execution is FAILED in the metadata store|nothing was pushed: this run "
        "has no infra_blessing and no model and no model_blessing yet$",
        message,
    )
    assert "\n" not in message


def test_inputs_of_another_run_are_not_taken(project: _Project) -> None:
    """A node takes its inputs from its own run only."""
    (project.data / "1.csv").write_text("fare\n1.5\n2.5\n")
    project.run("ExampleGen", "monday")

    with pytest.raises(ThroughlineError):
        project.run("StatisticsGen", "tuesday")


def test_refused_data_is_told_as_it_is(project: _Project) -> None:
    """What an executor raises comes through, and the store has the failure."""
    (project.data / "1.csv").write_text("fare\nmuch\n")

    with pytest.raises(DataRefusedError, match=r"line 2, column 'fare': 'much'"):
        project.run("ExampleGen")

    assert project.states() == ["FAILED"]


def test_a_node_that_failed_can_be_tried_again(project: _Project) -> None:
    """After a failure the same run can do the node, once its reason is gone."""
    (project.data / "1.csv").write_text("fare\nmuch\n")
    with pytest.raises(DataRefusedError):
        project.run("ExampleGen")
    (project.data / "1.csv").write_text("fare\n1.5\n")

    result = project.run("ExampleGen")

    assert not result.cached
    assert project.states()[-1] == "COMPLETE"


def test_a_retried_node_is_running(project: _Project) -> None:
    """While a node that has failed runs again, the store has its execution RUNNING."""
    project.put("1.csv", "fare\nmuch\n")
    with pytest.raises(DataRefusedError):
        project.ingest("monday")
    project.put("1.csv", "fare\n1.5\n")
    seen: list[str] = []
    progress.listen(lambda _: seen.extend(project.states()))

    try:
        project.ingest("monday")
    finally:
        progress.listen(None)

    assert set(seen) == {"RUNNING"}


def test_a_schema_file_that_is_gone(project: _Project) -> None:
    """An error that isn't ours comes through too, and the store has the failure."""
    pipeline = project.pipeline
    project.schema.unlink()

    with pytest.raises(Exception, match=r"schema\.pbtxt"):
        run_node(pipeline, "ImportSchemaGen", "monday", project.connection)

    assert project.states() == ["FAILED"]


def test_touched_data_is_cached(project: _Project) -> None:
    """Files with another time of change and the same content are not read again."""
    file = project.put("1.csv", "fare\n1.5\n")
    project.ingest("monday")

    os.utime(file, (0, 0))

    assert project.ingest("tuesday")


def test_edited_data_is_ingested(project: _Project) -> None:
    """An edit shows though size and time of modification stay as they were."""
    file = project.put("1.csv", "fare\n1.5\n")
    os.utime(file, (0, 0))
    project.ingest("monday")

    file.write_text("fare\n2.5\n")
    os.utime(file, (0, 0))

    assert not project.ingest("tuesday")


def test_spans_are_ingested_as_they_come(project: _Project) -> None:
    """A new span is ingested; an older one that is not in the window is not."""
    project.settings = {"pattern": "span-{SPAN}/*.csv"}
    project.put("span-2/a.csv", "fare\n2.5\n")

    first = project.ingest("monday")
    project.put("span-0/a.csv", "fare\n0.5\n")
    older = project.ingest("tuesday")
    project.put("span-3/a.csv", "fare\n3.5\n")
    newer = project.ingest("wednesday")

    assert (first, older, newer) == (False, True, False)
    assert project.noted("monday")["span"] == 2
    assert project.noted("wednesday")["span"] == 3
    windows = [of_run(Graph(project.store).run(run)) for run in ("monday", "wednesday")]
    assert windows == [Window("2"), Window("3", skipped="0, 2")]


def test_a_node_called_again_keeps_its_window(project: _Project) -> None:
    """What a run learns from doesn't change while it runs."""
    project.settings = {"pattern": "span-{SPAN}/*.csv"}
    project.put("span-1/a.csv", "fare\n1.5\n")
    project.ingest("monday")
    project.put("span-0/a.csv", "fare\n0.5\n")

    project.ingest("monday")

    assert of_run(Graph(project.store).run("monday")) == Window("1")


@pytest.mark.parametrize("how", ["deleted", "switched"])
def test_a_new_store_over_an_old_output_mixes_nothing_in(
    project: _Project, how: str
) -> None:
    """Files of an earlier store are not part of what is ingested now, and stay."""
    project.put("1.csv", "fare\n" + "1.5\n" * 50)
    project.ingest("monday")
    (old,) = Graph(project.store).outputs_of_run("monday")["ExampleGen"]["examples"]
    before = {p: p.read_bytes() for p in Path(old.uri).rglob("*") if p.is_file()}
    project.put("1.csv", "fare\n" + "2.5\n" * 20)

    if how == "deleted":
        (project.output / "metadata.db").unlink()
    else:
        project.settings = {"metadata": f"sqlite://{project.data.parent}/other.db"}
    project.ingest("monday")

    (new,) = Graph(project.store).outputs_of_run("monday")["ExampleGen"]["examples"]
    assert new.id == old.id
    assert new.uri != old.uri
    assert before == {p: p.read_bytes() for p in before}
    assert sum(1 for p in Path(new.uri).rglob("*") if p.is_file()) == len(before)


def test_a_running_node_keeps_its_artifacts(project: _Project) -> None:
    """While a node runs, also in another process, nothing is removed."""
    project.put("1.csv", "fare\n1.5\n")
    root = Path(project.config.artifact_root)

    with locks.in_use(root):
        project.ingest("monday")
        with pytest.raises(UsageError, match="in use by a run"), locks.unused(root):
            pass

    with locks.unused(root):
        pass


def test_the_pusher_is_never_cached(project: _Project) -> None:
    """What it pushed before says nothing about what is live: it runs in each run."""
    cached = {
        n.pipeline_node.node_info.id: (
            n.pipeline_node.execution_options.caching_options.enable_cache
        )
        for n in project.pipeline.nodes
    }

    assert not cached["Pusher"]
    assert cached["Trainer"]


def test_compiled_files_are_private(project: _Project) -> None:
    """What is compiled holds settings, which only its owner reads."""
    compiler.write(project.pipeline, project.output)

    for name in ("ir.json", "dag.json"):
        assert (project.output / name).stat().st_mode & 0o777 == 0o600


def test_freed_examples_are_ingested_anew(project: _Project) -> None:
    """After their artifact was freed, the same data is read again."""
    project.put("1.csv", "fare\n1.5\n")
    project.ingest("monday")
    project.run("ImportSchemaGen", "tuesday")
    config = project.config
    ours = retention.Pipeline(
        config.name, config.metadata_url, Path(config.artifact_root)
    )
    retention.free(ours, retention.find(ours, keep=1))

    assert not project.ingest("wednesday")


def test_a_driver_that_refuses_ends_its_execution(project: _Project) -> None:
    """Data that isn't there fails the node, and the store has the failure."""
    with pytest.raises(DataRefusedError, match=r"No file in .* it holds no file"):
        project.ingest("monday")

    assert project.states() == ["FAILED"]


def test_unknown_nodes_are_refused(project: _Project) -> None:
    """A node that isn't there is refused with those there are, in running order."""
    with pytest.raises(UsageError) as refused:
        node_of(project.pipeline, "Trainor")

    assert str(refused.value) == f"There is no node 'Trainor'; the nodes are {NODES}"


def test_the_command_runs_a_node(
    project: _Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command takes the store beside the artifacts, and says what it did."""
    compiler.write(project.pipeline, project.output)
    ir = project.output / "ir.json"

    codes = [run_command(ir, "ImportSchemaGen", run, None) for run in ("a", "b", "b")]

    assert codes == [0, 0, 0]
    assert capsys.readouterr().out == (
        "ImportSchemaGen done, execution 1\n"
        "ImportSchemaGen cached, execution 2\n"
        "ImportSchemaGen cached, execution 2\n"
    )
    assert (project.output / "metadata.db").is_file()


@pytest.mark.parametrize(
    ("node_id", "code", "said"),
    [
        ("ExampleGen", 3, "1 of 1 rows don't fit, and at most 0.01 of them may:"),
        ("StatisticsGen", 1, "the execution is FAILED in the metadata store"),
    ],
)
def test_the_command_ends_with_why(
    project: _Project,
    capsys: pytest.CaptureFixture[str],
    node_id: str,
    code: int,
    said: str,
) -> None:
    """A node that fails ends with its exit code, and its reason on standard error."""
    (project.data / "1.csv").write_text("fare\nmuch\n")
    compiler.write(project.pipeline, project.output)

    ended = run_command(project.output / "ir.json", node_id, "a", None)

    printed = capsys.readouterr()
    assert ended == code
    assert printed.out == ""
    (line,) = (x for x in printed.err.splitlines() if x.startswith("throughline: "))
    assert line.startswith(f"throughline: {node_id}: ")
    assert said in line


def _truncate(shard: Path) -> Path:
    shard.write_bytes(shard.read_bytes()[:-20])
    return shard


def _put_other_columns(shard: Path) -> Path:
    other = shard.with_name("other.parquet")
    with ShardWriter(other, pa.schema([("tips", pa.float32())])):
        pass
    return other


@pytest.mark.parametrize("damage", [_truncate, _put_other_columns])
def test_the_command_names_a_damaged_shard(
    project: _Project,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], Path],
) -> None:
    """A truncated shard, or one unlike its neighbours, is one sentence and exit 1."""
    project.put("1.csv", "fare\n" + "1.5\n" * 50)
    project.ingest("monday")
    (examples,) = Graph(project.store).outputs_of_run("monday")["ExampleGen"][
        "examples"
    ]
    (shard,) = Path(examples.uri).glob("Split-train/*.parquet")
    damaged = damage(shard)
    compiler.write(project.pipeline, project.output)

    ended = run_command(project.output / "ir.json", "StatisticsGen", "monday", None)

    (line,) = (
        x for x in capsys.readouterr().err.splitlines() if x.startswith("throughline: ")
    )
    assert ended == 1
    assert line.startswith(f"throughline: StatisticsGen: {damaged} is damaged: ")


def test_the_command_wants_a_compiled_pipeline(tmp_path: Path) -> None:
    """A file that isn't there is named, with what makes it."""
    with pytest.raises(UsageError) as refused:
        run_command(tmp_path / "ir.json", "Trainer", "a", None)

    assert str(refused.value) == (
        f"{tmp_path / 'ir.json'} is not there; `throughline compile` makes it"
    )


def test_the_command_wants_the_store_of_a_bucket(project: _Project) -> None:
    """Beside artifacts in a bucket there is no metadata.db, so it must be given."""
    config = replace(project.config, artifacts="s3://bucket/taxi")
    pipeline = compiler.compile_pipeline(create_pipeline(config))
    compiler.write(pipeline, project.output)

    with pytest.raises(UsageError, match="s3://bucket/taxi, beside which there is no"):
        run_command(project.output / "ir.json", "Trainer", "a", None)


@pytest.mark.parametrize("text", ['{"name": "taxi"}', "no JSON", "{}", "[1]", ""])
def test_the_command_refuses_other_files(text: str, tmp_path: Path) -> None:
    """A file that is no compiled pipeline, such as job.json, is named, and what is."""
    file = tmp_path / "job.json"
    file.write_text(text)

    with pytest.raises(UsageError) as refused:
        run_command(file, "Trainer", "monday", None)

    assert str(refused.value).startswith(f"{file} is ")
    assert "give the ir.json that `throughline compile` writes" in str(refused.value)


def test_the_command_refuses_an_unknown_node_first(project: _Project) -> None:
    """A misspelled node is told before anything is opened or written."""
    compiler.write(project.pipeline, project.output)

    with pytest.raises(UsageError, match=r"There is no node 'Trainor'"):
        run_command(project.output / "ir.json", "Trainor", "a", None)

    assert not (project.output / "metadata.db").exists()


def test_the_command_refuses_what_changed_since_it_was_compiled(
    project: _Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of the cache's key that was edited is named, and the node ends with 2."""
    compiler.write(project.pipeline, project.output)
    ir = project.output / "ir.json"
    project.schema.write_text(SCHEMA + "# edited\n")

    code = cli.exit_code(lambda: run_command(ir, "ImportSchemaGen", "a", None))
    other = cli.exit_code(lambda: run_command(ir, "Baseline", "a", None))
    compiler.write(project.pipeline, project.output)
    again = cli.exit_code(lambda: run_command(ir, "ImportSchemaGen", "a", None))

    assert (code, other, again) == (2, 0, 0)
    assert capsys.readouterr().err.splitlines()[0] == (
        f"throughline: ImportSchemaGen is not what {ir} was compiled from: "
        f"{project.schema} differ; compile again, or restore them"
    )


@pytest.mark.parametrize("run_id", ["../../../../x", "javascript:alert(1)", ""])
def test_the_command_refuses_names_that_lead_elsewhere(
    project: _Project, run_id: str
) -> None:
    """A run's name that is no directory's is told before anything is opened."""
    compiler.write(project.pipeline, project.output)

    with pytest.raises(UsageError, match=r"run-id is .*; the name of a run must"):
        run_command(project.output / "ir.json", "Baseline", run_id, None)

    assert not (project.output / "metadata.db").exists()
