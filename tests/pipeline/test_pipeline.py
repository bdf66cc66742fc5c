"""The graph: which components there are, what reads what, what a compiler makes of it.

What the nodes do is tested with each of them, and end to end.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2

from models import tuning
from models.hyperparameters import Hyperparameters
from models.search_space import Range
from pipeline import create_pipeline
from pipeline.beam.engines import IN_PROCESS, Beam
from pipeline.config import Config, Gate, Splits, Tune
from pipeline.errors import UsageError
from pipeline.runners import compiler
from pipeline.runners.compiler import compile_pipeline
from pipeline.trust.checks import Severity
from pipeline.trust.policy import Policy

ROOT = Path(__file__).parents[2]
TFX = "tfx.components"
# Node: type, executor, {input: (producer, output)}, nodes it waits for besides these.
GRAPH: dict[str, tuple[str, str, dict[str, tuple[str, str]], set[str]]] = {
    "ExampleGen": (
        f"{TFX}.example_gen.component.FileBasedExampleGen",
        "pipeline.components.ingestion.Executor",
        {},
        set(),
    ),
    "StatisticsGen": (
        f"{TFX}.statistics_gen.component.StatisticsGen",
        "pipeline.components.statistics_gen.Executor",
        {"examples": ("ExampleGen", "examples")},
        set(),
    ),
    "SchemaGen": (
        f"{TFX}.schema_gen.component.SchemaGen",
        "pipeline.components.schema_gen.Executor",
        {"statistics": ("StatisticsGen", "statistics")},
        set(),
    ),
    "ImportSchemaGen": (
        f"{TFX}.schema_gen.import_schema_gen.component.ImportSchemaGen",
        f"{TFX}.schema_gen.import_schema_gen.executor.Executor",
        {},
        set(),
    ),
    "ExampleValidator": (
        f"{TFX}.example_validator.component.ExampleValidator",
        "pipeline.components.example_validator.Executor",
        {
            "statistics": ("StatisticsGen", "statistics"),
            "schema": ("ImportSchemaGen", "schema"),
        },
        set(),
    ),
    "DataGate": (
        "pipeline.components.data_gate.DataGate",
        "pipeline.components.gate_executor.Executor",
        {
            "examples": ("ExampleGen", "examples"),
            "anomalies": ("ExampleValidator", "anomalies"),
            "schema": ("ImportSchemaGen", "schema"),
            "quarantine": ("ExampleGen", "quarantine"),
            "previous": ("DataBaselines", "previous"),
            "live": ("DataBaselines", "live"),
            "live_model": ("DataBaselines", "live_model"),
        },
        set(),
    ),
    "Transform": (
        f"{TFX}.transform.component.Transform",
        "pipeline.components.transform.Executor",
        {
            "examples": ("Window", "examples"),
            "schema": ("ImportSchemaGen", "schema"),
            "verdict": ("Window", "verdict"),
        },
        set(),
    ),
    "Trainer": (
        f"{TFX}.trainer.component.Trainer",
        "pipeline.components.trainer.Executor",
        {
            "examples": ("Transform", "transformed_examples"),
            "transform_graph": ("Transform", "transform_graph"),
            "schema": ("ImportSchemaGen", "schema"),
            "verdict": ("Window", "verdict"),
        },
        set(),
    ),
    "Evaluator": (
        f"{TFX}.evaluator.component.Evaluator",
        "pipeline.components.evaluator.Executor",
        {
            "examples": ("Window", "examples"),
            "model": ("Trainer", "model"),
            "baseline_model": ("Baseline", "model"),
            "best_model": ("BestModel", "model"),
            "verdict": ("Window", "verdict"),
        },
        set(),
    ),
    "ServingCheck": (
        f"{TFX}.infra_validator.component.InfraValidator",
        "pipeline.components.serving_check.Executor",
        {
            "model": ("Trainer", "model"),
            "examples": ("Window", "examples"),
        },
        set(),
    ),
    "Pusher": (
        f"{TFX}.pusher.component.Pusher",
        "pipeline.components.versioned_pusher.Executor",
        {
            "model": ("Trainer", "model"),
            "model_blessing": ("Evaluator", "blessing"),
            "infra_blessing": ("ServingCheck", "blessing"),
        },
        set(),
    ),
}
RESOLVER = "tfx.dsl.components.common.resolver.Resolver"


def _compiled(config: Config) -> pipeline_pb2.Pipeline:
    return compile_pipeline(create_pipeline(config))


def _nodes(pipeline: pipeline_pb2.Pipeline) -> dict[str, pipeline_pb2.PipelineNode]:
    return {n.pipeline_node.node_info.id: n.pipeline_node for n in pipeline.nodes}


def _executor(pipeline: pipeline_pb2.Pipeline, node_id: str) -> str:
    deployment = pipeline_pb2.IntermediateDeploymentConfig()
    pipeline.deployment_config.Unpack(deployment)
    packed = deployment.executor_specs[node_id]
    beam = executable_spec_pb2.BeamExecutableSpec()
    python = executable_spec_pb2.PythonClassExecutableSpec()
    if packed.Unpack(beam):
        return beam.python_executor_spec.class_path
    assert packed.Unpack(python)
    return python.class_path


def _parameter(node: pipeline_pb2.PipelineNode, name: str) -> str:
    return node.parameters.parameters[name].field_value.string_value


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> pipeline_pb2.Pipeline:
    """The default pipeline."""
    return _compiled(Config(output=tmp_path_factory.mktemp("output")))


def test_all_components_are_there(compiled: pipeline_pb2.Pipeline) -> None:
    """The pipeline has the components of the README's table and no other."""
    nodes = {"Baseline", "BestModel", "DataBaselines", "Window"}
    assert set(_nodes(compiled)) == {*GRAPH, *nodes}


@pytest.mark.parametrize("node_id", GRAPH)
def test_components(compiled: pipeline_pb2.Pipeline, node_id: str) -> None:
    """Each component has its type, its executor, its inputs and what it waits for."""
    kind, executor, inputs, also = GRAPH[node_id]

    node = _nodes(compiled)[node_id]

    assert node.node_info.type.name == kind
    assert _executor(compiled, node_id) == executor
    channels = {
        name: (given.channels[0].producer_node_query.id, given.channels[0].output_key)
        for name, given in node.inputs.inputs.items()
    }
    assert channels == inputs
    producers = {producer for producer, _ in inputs.values()}
    assert set(node.upstream_nodes) == producers | also


def test_with_tune_the_trainer_reads_what_the_tuner_found(tmp_path: Path) -> None:
    """The standard component, on what the Trainer reads and with its settings."""
    tune = Tune(enabled=True, trials=7, train_steps=8, max_trial_seconds=9)
    config = Config(output=tmp_path, train_steps=11, batch_size=13, tune=tune)

    compiled = _compiled(config)

    nodes = _nodes(compiled)
    tuner, trainer = nodes["Tuner"], nodes["Trainer"]
    assert tuner.node_info.type.name == f"{TFX}.tuner.component.Tuner"
    assert _executor(compiled, "Tuner") == "pipeline.components.tuner.Executor"
    inputs = dict(trainer.inputs.inputs)
    found = inputs.pop("hyperparameters").channels[0]
    assert (found.producer_node_query.id, found.output_key) == (
        "Tuner",
        "best_hyperparameters",
    )
    assert {n: g.channels[0] for n, g in tuner.inputs.inputs.items()} == {
        n: g.channels[0] for n, g in inputs.items()
    }
    assert json.loads(_parameter(tuner, "train_args"))["num_steps"] == 8
    of_search = json.loads(_parameter(tuner, "custom_config"))
    of_training = json.loads(_parameter(trainer, "custom_config"))
    assert (of_search.pop("trials"), of_search.pop("max_trial_seconds")) == (7, 9)
    assert of_search.items() <= of_training.items()
    assert of_search["batch_size"] == 13


def test_a_wrong_search_space_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is to be searched; who doesn't tune needs no search space."""
    monkeypatch.setattr(tuning, "SPACE", {"learn_rate": Range(0.1, 0.2)})

    with pytest.raises(UsageError, match=r"models/tuning\.py: 'learn_rate' is no"):
        create_pipeline(Config(output=tmp_path, tune=Tune(enabled=True)))

    assert create_pipeline(Config(output=tmp_path))


def test_a_trial_has_the_steps_of_the_training(tmp_path: Path) -> None:
    """Unless it is given others."""
    config = Config(output=tmp_path, train_steps=11, tune=Tune(enabled=True))

    tuner = _nodes(_compiled(config))["Tuner"]

    assert json.loads(_parameter(tuner, "train_args"))["num_steps"] == 11


def test_with_a_warm_start_the_trainer_reads_the_live_model(tmp_path: Path) -> None:
    """If there is one; the first model begins with random weights."""
    nodes = _nodes(_compiled(Config(output=tmp_path, warm_start=True)))

    base = nodes["Trainer"].inputs.inputs["base_model"]
    (channel,) = base.channels
    assert (channel.producer_node_query.id, channel.output_key) == ("Baseline", "model")
    assert base.min_count == 0
    assert json.loads(_parameter(nodes["Trainer"], "custom_config"))["warm_start"]


def test_baseline_is_the_live_model(compiled: pipeline_pb2.Pipeline) -> None:
    """The model to beat is resolved from all earlier runs, and waits for nothing."""
    node = _nodes(compiled)["Baseline"]

    (graph,) = node.inputs.input_graphs.values()
    strategies = [n.op_node.op_type for n in graph.nodes.values() if n.op_node.op_type]
    channels = [c for given in node.inputs.inputs.values() for c in given.channels]
    assert node.node_info.type.name == RESOLVER
    assert [name.rpartition(".")[2] for name in strategies] == ["LiveModelStrategy"]
    assert {c.artifact_query.type.name for c in channels} == {"Model", "ModelBlessing"}
    # Not also a run's: that would be the model that was just trained.
    assert [[q.type.name for q in c.context_queries] for c in channels] == [
        ["pipeline"],
        ["pipeline"],
    ]
    assert list(node.upstream_nodes) == []


def test_data_is_compared_with_what_was_accepted(
    compiled: pipeline_pb2.Pipeline,
) -> None:
    """The verdicts come from all earlier runs; only the gate may lack them."""
    node, nodes = _nodes(compiled)["DataBaselines"], _nodes(compiled)

    least = {
        (name, key): given.min_count
        for name in ("DataGate", "Transform", "Trainer")
        for key, given in nodes[name].inputs.inputs.items()
        if key in {"previous", "live", "verdict"}
    }
    (graph,) = node.inputs.input_graphs.values()
    strategies = [n.op_node.op_type for n in graph.nodes.values() if n.op_node.op_type]
    assert node.node_info.type.name == RESOLVER
    assert [name.rpartition(".")[2] for name in strategies] == ["AcceptedDataStrategy"]
    assert least == {
        ("DataGate", "previous"): 0,
        ("DataGate", "live"): 0,
        ("Transform", "verdict"): 1,
        ("Trainer", "verdict"): 1,
    }


def test_the_window_comes_after_the_gate(compiled: pipeline_pb2.Pipeline) -> None:
    """What is learned from is resolved from this run's own, and accepted, data."""
    node = _nodes(compiled)["Window"]

    (graph,) = node.inputs.input_graphs.values()
    strategies = [n.op_node.op_type for n in graph.nodes.values() if n.op_node.op_type]
    assert [name.rpartition(".")[2] for name in strategies] == ["SpanWindowStrategy"]
    assert set(node.upstream_nodes) == {"ExampleGen", "DataGate"}


@pytest.mark.parametrize(
    ("settings", "cached"),
    [
        ({}, False),
        ({"pattern": "{SPAN}/*"}, False),
        ({"pattern": "{SPAN}/*", "window": 2}, True),
        ({"pattern": "{SPAN}/*", "window": "all"}, True),
        ({"pattern": "{SPAN}/*", "span": "3"}, False),
        ({"pattern": "{SPAN}/*", "span": "3..4"}, True),
    ],
)
def test_the_analysis_of_several_spans_is_cached(
    tmp_path: Path, settings: dict[str, Any], *, cached: bool
) -> None:
    """Transform reads the cache of an earlier run, if there is one, and writes its own.

    Of data without spans, or of a single one, nobody could read it.
    """
    nodes = _nodes(_compiled(Config(output=tmp_path, **settings)))

    transform = nodes["Transform"]
    assert ("updated_analyzer_cache" in transform.outputs.outputs) == cached
    assert ("analyzer_cache" in transform.inputs.inputs) == cached
    if cached:
        given = transform.inputs.inputs["analyzer_cache"]
        assert given.channels[0].producer_node_query.id == "Window"
        assert given.min_count == 0
        assert set(nodes["Window"].upstream_nodes) == {"ExampleGen", "DataGate"}


def test_spans_to_test_on_reach_the_evaluator(tmp_path: Path) -> None:
    """It reads all rows of these spans, which Transform doesn't get."""
    splits = Splits(test_spans=1)
    config = Config(output=tmp_path, pattern="{SPAN}/*", window=2, splits=splits)

    nodes = _nodes(_compiled(config))

    keys = {
        name: nodes[name].inputs.inputs["examples"].channels[0].output_key
        for name in ("Evaluator", "Transform")
    }
    assert keys == {"Evaluator": "test", "Transform": "examples"}
    given = json.loads(_parameter(nodes["Evaluator"], "example_splits"))
    assert given == ["train", "eval"]


def test_an_exception_that_ended_changes_the_gate(tmp_path: Path) -> None:
    """The gate's parameters, and so its cache key, differ from its last day on."""
    config = Config(output=tmp_path / "out", schema=tmp_path / "schema.pbtxt")
    (tmp_path / "exceptions.toml").write_text(
        '[[accepted]]\nanomaly = "DRIFT"\nuntil = 2001-01-01\nbecause = "x"\n'
        '[[accepted]]\nanomaly = "LEAKAGE"\nuntil = 9999-12-31\nbecause = "y"\n'
    )

    policy = Policy.from_json(
        _parameter(_nodes(_compiled(config))["DataGate"], "policy")
    )

    assert [each.anomaly for each in policy.ended] == ["DRIFT"]
    assert [each.anomaly for each in policy.exceptions] == ["LEAKAGE"]


def test_nodes_come_after_those_they_wait_for(compiled: pipeline_pb2.Pipeline) -> None:
    """Whoever runs the nodes as they are listed runs none too early."""
    seen: set[str] = set()
    for node_id, node in _nodes(compiled).items():
        assert set(node.upstream_nodes) <= seen, node_id
        seen.add(node_id)


def test_settings_arrive(tmp_path: Path) -> None:
    """Settings reach the component that acts on them."""
    config = Config(
        name="trips",
        data=tmp_path / "in",
        output=tmp_path / "out",
        label_policy="card-trips",
        train_steps=11,
        eval_steps=12,
        batch_size=13,
        seed=14,
        splits=Splits(5, 3, 2),
        gate=Gate(warn=("DRIFT:fare",), max_duplicates=0.5),
        model=Hyperparameters(hidden_layers=(7,)),
    )

    pipeline = _compiled(config)

    nodes = _nodes(pipeline)
    splits = json.loads(_parameter(nodes["ExampleGen"], "output_config"))
    trainer = json.loads(_parameter(nodes["Trainer"], "custom_config"))
    pusher = json.loads(_parameter(nodes["Pusher"], "push_destination"))
    assert pipeline.pipeline_info.id == "trips"
    assert _parameter(nodes["ExampleGen"], "input_base") == str(tmp_path / "in")
    assert splits == {
        "split_config": {
            "splits": [
                {"name": "train", "hash_buckets": 5},
                {"name": "eval", "hash_buckets": 3},
                {"name": "test", "hash_buckets": 2},
            ]
        }
    }
    policy = Policy.from_json(_parameter(nodes["DataGate"], "policy"))
    assert policy.severity("DRIFT", "fare") == Severity.WARN
    assert policy.max_duplicates == 0.5
    assert _parameter(nodes["DataGate"], "label_policy") == "card-trips"
    assert json.loads(_parameter(nodes["Transform"], "custom_config")) == {
        "label_policy": "card-trips"
    }
    assert json.loads(_parameter(nodes["Trainer"], "train_args")) == {
        "splits": ["train"],
        "num_steps": 11,
    }
    assert json.loads(_parameter(nodes["Trainer"], "eval_args")) == {
        "splits": ["eval"],
        "num_steps": 12,
    }
    assert (trainer["batch_size"], trainer["seed"]) == (13, 14)
    assert trainer["hyperparameters"]["hidden_layers"] == [7]
    assert pusher == {
        "filesystem": {"base_directory": str(tmp_path / "out" / "serving" / "trips")}
    }


def test_ingestion_has_our_driver(compiled: pipeline_pb2.Pipeline) -> None:
    """The compiled pipeline names the driver, so that every orchestrator has it."""
    deployment = pipeline_pb2.IntermediateDeploymentConfig()
    compiled.deployment_config.Unpack(deployment)

    spec = executable_spec_pb2.PythonClassExecutableSpec()
    assert deployment.custom_driver_specs["ExampleGen"].Unpack(spec)
    assert spec.class_path == "pipeline.components.span_driver.SpanDriver"
    assert list(deployment.custom_driver_specs) == ["ExampleGen"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"window": 4}, {"rolling_range": {"num_spans": 4}}),
        ({"window": "all"}, {"rolling_range": {"num_spans": 2**31 - 1}}),
        (
            {"span": "5..8"},
            {"static_range": {"start_span_number": 5, "end_span_number": 8}},
        ),
    ],
)
def test_wanted_spans_arrive(
    tmp_path: Path, settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Pattern and spans reach the driver in TFX's own words."""
    pattern = "span-{SPAN}/*.csv"

    pipeline = _compiled(Config(output=tmp_path, pattern=pattern, **settings))

    node = _nodes(pipeline)["ExampleGen"]
    (split,) = json.loads(_parameter(node, "input_config"))["splits"]
    assert split["pattern"] == pattern
    assert json.loads(_parameter(node, "range_config")) == expected


def test_dataflow_ingests_on_this_machine(config: Config) -> None:
    """Its workers don't see local data; the other nodes run on it, in Cloud Storage."""
    beam = Beam(
        "dataflow",
        project="p",
        region="r",
        temp_location="gs://b/temp",
        worker_image="r/worker:1",
    )

    pipeline = create_pipeline(replace(config, beam=beam, artifacts="gs://bucket/taxi"))

    engines = {}
    for component in pipeline.components:
        arguments = getattr(component.executor_spec, "beam_pipeline_args", [])
        # The last one counts.
        for runner in (a for a in arguments if a.startswith("--runner=")):
            engines[component.id] = runner.removeprefix("--runner=")
    assert engines.pop("ExampleGen") == IN_PROCESS.removeprefix("--runner=")
    assert engines.keys() == {"StatisticsGen", "DataGate", "Transform", "Evaluator"}
    assert set(engines.values()) == {"DataflowRunner"}
    assert pipeline.pipeline_info.pipeline_root == "gs://bucket/taxi"


def test_only_the_train_split_is_analyzed(compiled: pipeline_pb2.Pipeline) -> None:
    """Vocabularies and means never see a row that the model is measured on."""
    nodes = _nodes(compiled)

    assert json.loads(_parameter(nodes["Transform"], "splits_config")) == {
        "analyze": ["train"],
        "transform": ["train", "eval"],
    }
    assert json.loads(_parameter(nodes["Evaluator"], "example_splits")) == ["test"]


def test_a_missing_schema_is_no_setting_of_ingestion(tmp_path: Path) -> None:
    """Before there is a reviewed schema, ingestion is not told of one."""
    missing = tmp_path / "schema.pbtxt"

    without = _compiled(Config(output=tmp_path, schema=missing))
    missing.write_text("")
    with_schema = _compiled(Config(output=tmp_path, schema=missing))

    told = [
        _parameter(_nodes(pipeline)["ExampleGen"], "custom_config")
        for pipeline in (without, with_schema)
    ]
    assert [str(missing) in text for text in told] == [False, True]


def test_compiling_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """Equal configurations compile to the same bytes, different ones don't."""
    config = Config(output=tmp_path)

    first, second = _bytes(_compiled(config)), _bytes(_compiled(replace(config)))
    other = _bytes(_compiled(replace(config, seed=2)))

    assert first == second
    assert first != other


def test_another_process_compiles_the_same(tmp_path: Path) -> None:
    """A process whose hashes are salted otherwise compiles to the same text."""
    code = (
        # Half of what the imports cost would be garbage collection.
        "import gc; gc.disable(); import sys; from pathlib import Path; "
        "from pipeline import create_pipeline; from pipeline.config import Config; "
        "from pipeline.runners import compiler; "
        "pipeline = create_pipeline(Config(output=Path(sys.argv[1]))); "
        "compiler.write(compiler.compile_pipeline(pipeline), Path(sys.argv[2]))"
    )

    subprocess.run(
        [sys.executable, "-c", code, tmp_path, tmp_path / "compiled"],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "12345"},
    )

    expected = compiler.to_json(_compiled(Config(output=tmp_path)))
    assert (tmp_path / "compiled" / "ir.json").read_text() == expected


def test_no_password_is_compiled_in(tmp_path: Path) -> None:
    """Nothing of the metadata store's URL gets into a compiled pipeline."""
    config = Config(output=tmp_path, metadata="postgresql://me:top-secret@db.host/mlmd")

    pipeline = _compiled(config)

    text = json_format.MessageToJson(pipeline)
    for part in ("top-secret", "db.host"):
        assert part not in text
        assert part.encode() not in _bytes(pipeline)
    assert _bytes(pipeline) == _bytes(_compiled(replace(config, metadata=None)))


def test_a_compiled_pipeline_is_read_as_it_was_written(
    compiled: pipeline_pb2.Pipeline, tmp_path: Path
) -> None:
    """A pipeline that is written as JSON and read again is the same pipeline."""
    compiler.write(compiled, tmp_path / "compiled")

    read = compiler.from_json((tmp_path / "compiled" / "ir.json").read_text())

    assert compiler.to_json(read) == compiler.to_json(compiled)
    assert [n.pipeline_node for n in read.nodes] == [
        n.pipeline_node for n in compiled.nodes
    ]


def test_the_graph_is_written_for_orchestrators(
    compiled: pipeline_pb2.Pipeline, tmp_path: Path
) -> None:
    """dag.json has each node with those it waits for, after them."""
    compiler.write(compiled, tmp_path)

    dag = json.loads((tmp_path / "dag.json").read_text())

    waits = {node["id"]: set(node["upstream"]) for node in dag}
    assert waits == {
        node_id: {producer for producer, _ in inputs.values()} | also
        for node_id, (_, _, inputs, also) in GRAPH.items()
    } | {
        "Baseline": set(),
        "BestModel": set(),
        "DataBaselines": {"ExampleGen"},
        "Window": {"ExampleGen", "DataGate"},
    }
    seen: set[str] = set()
    for node in dag:
        assert set(node["upstream"]) <= seen
        seen.add(node["id"])


def test_every_node_but_the_pusher_may_use_the_cache(
    compiled: pipeline_pb2.Pipeline,
) -> None:
    """What was done with the same inputs and code isn't done again, but for pushes."""
    cached = {
        node_id: node.execution_options.caching_options.enable_cache
        for node_id, node in _nodes(compiled).items()
    }

    assert {node_id for node_id in GRAPH if not cached[node_id]} == {"Pusher"}


def _bytes(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)
