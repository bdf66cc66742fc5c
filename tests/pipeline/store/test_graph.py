"""Reading MLMD: results, and numbers of calls."""

import itertools

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.config import Config
from pipeline.store import upkeep
from pipeline.store.connection import open_store
from pipeline.store.graph import Graph
from tests.pipeline.tfx_store import StockStore, train


class _Counting(MetadataStore):
    """A real store that counts its calls."""

    calls = 0

    def _call(self, *arguments: object, **named: object) -> None:
        self.calls += 1
        super()._call(*arguments, **named)


@pytest.fixture
def counting(config: Config, store: StockStore) -> _Counting:
    """A store with twelve runs of six executions each."""
    for i in range(12):
        train(store, f"run-{i:02}")
    return _Counting(open_store(config.metadata_url))


def test_many_executions_take_fewer_calls_than_they_are(counting: _Counting) -> None:
    """Contexts of many executions are loaded in batches, with equal results."""
    ids = {execution.id for execution in counting.get_executions()}
    one_by_one = Graph(counting)
    single = {i: one_by_one._load({i})[0] for i in sorted(ids)[:13]}
    counting.calls = 0

    found = {execution.id: execution for execution in Graph(counting)._load(ids)}

    assert counting.calls < len(ids)
    assert {i: found[i] for i in single} == single
    assert {e.run for e in found.values()} == {f"run-{i:02}" for i in range(12)}
    assert {e.pipeline for e in found.values()} == {"stock"}


def test_outputs_of_a_run_take_two_calls_more_than_nodes(counting: _Counting) -> None:
    """`outputs_of_run` loads the artifacts of all nodes in one call."""
    counting.calls = 0
    outputs = Graph(counting).outputs_of_run("run-03")
    calls_for_all = counting.calls

    assert set(outputs) >= {"Trainer", "Pusher"}
    assert calls_for_all <= 5 + 3 * len(outputs)


def test_the_newest_executions_of_a_node_need_no_others(counting: _Counting) -> None:
    """The number of calls for a node's two newest executions is constant."""
    counting.calls = 0

    newest = [*itertools.islice(Graph(counting).node("stock", "Trainer"), 2)]

    assert [execution.run for execution in newest] == ["run-11", "run-10"]
    assert counting.calls < 12 * 2


def test_events_lead_back_to_the_data(config: Config, store: StockStore) -> None:
    """`behind` returns a model's own examples and schema only."""
    first, second = train(store, "monday"), train(store, "tuesday")
    raw = MetadataStore(open_store(config.metadata_url))
    events = Graph(raw).events([e.id for e in raw.get_executions()])

    behind = events.behind([first.model])

    assert behind == {first.model, first.examples, first.schema}
    assert second.model not in behind
    assert events.behind([]) == set()
    assert Graph(raw).events([]).wrote == {}


def test_outputs_of_an_execution_are_by_name(config: Config, store: StockStore) -> None:
    """`outputs_of` returns the artifacts of one execution by output name."""
    model = store.artifact("Model")
    execution = store.ran("monday", "Trainer", outputs={"model": model})
    graph = Graph(MetadataStore(open_store(config.metadata_url)))

    outputs = graph.outputs_of(execution)

    assert {name: [a.id for a in found] for name, found in outputs.items()} == {
        "model": [model]
    }


def test_parameters_of_all_executions_of_a_node_take_few_calls(
    counting: _Counting,
) -> None:
    """Parameters are loaded without contexts, for any number of executions."""
    counting.calls = 0
    graph = Graph(counting)

    parameters = graph.parameters_of(graph.ids_of_node("stock", "Trainer"))

    assert len(parameters) == 12
    assert counting.calls <= 4
    assert graph.ids_of_node("stock", "Tuner") == set()
    assert graph.parameters_of([]) == []


def test_artifacts_of_a_node_know_whether_they_are_deleted(
    config: Config, store: StockStore
) -> None:
    """`artifacts_of_node` returns the artifacts of all runs, deleted ones too."""
    first, second = train(store, "monday"), train(store, "tuesday")
    raw = MetadataStore(open_store(config.metadata_url))
    upkeep.mark_deleted(raw, [first.model])

    found = Graph(raw).artifacts_of_node("stock", "Trainer")

    live = {a.id: a.live for a in found if a.type == "Model"}
    assert live == {first.model: False, second.model: True}


def test_states_and_artifacts_of_the_whole_store(
    config: Config, store: StockStore
) -> None:
    """`states` and `all_artifacts` cover every execution and artifact."""
    running = store.ran("monday", "Trainer", state=mlmd.Execution.RUNNING)
    examples = store.examples()
    done = store.ran("monday", "ExampleGen", outputs={"examples": examples})
    graph = Graph(MetadataStore(open_store(config.metadata_url)))

    states, artifacts = graph.states(), graph.all_artifacts()

    assert states == {running: "RUNNING", done: "COMPLETE"}
    assert [artifact.id for artifact in artifacts] == [examples]
    assert [step.unfinished for step in graph.run("monday")] == [True, False]


def test_what_was_only_compared_with_is_not_upstream(
    config: Config, store: StockStore
) -> None:
    """Data that a gate compared with is neither upstream of a model nor kept for it."""
    before, data = store.examples(), store.examples()
    older, old, new = (store.artifact("DataVerdict") for _ in range(3))
    model = store.artifact("Model")
    store.ran("1", "DataGate", inputs={"examples": [before]}, outputs={"verdict": old})
    compared = {"examples": [data], "previous": [old], "live": [older]}
    gate = store.ran("2", "DataGate", inputs=compared, outputs={"verdict": new})
    trainer = store.ran("2", "Trainer", inputs={"v": [new]}, outputs={"model": model})
    raw = MetadataStore(open_store(config.metadata_url))

    upstream = Graph(raw).ancestors([model])
    downstream = Graph(raw).descendants([before])
    events = Graph(raw).events([e.id for e in raw.get_executions()])

    assert [step.id for step in upstream] == [gate, trainer]
    assert trainer not in {step.id for step in downstream}
    assert events.behind([model]) == {model, new, data}
    assert events.touched_by([gate]) == {data, older, old, new}


def test_parts_of_runs_are_no_runs(config: Config, store: StockStore) -> None:
    """The spans that a run has taken in are found by its name, and only there."""
    for run in ("monday", "monday/span-7", "monday/span-8", "monday2/span-9"):
        store.ran(run, "ExampleGen")
    graph = Graph(MetadataStore(open_store(config.metadata_url)))

    assert graph.runs() == ["monday"]
    assert graph.span_runs("monday") == ["monday/span-7", "monday/span-8"]


def test_a_property_is_found_on_executions(config: Config, store: StockStore) -> None:
    """By the ids of those that have it."""
    first = store.ran("monday", "ExampleGen", properties={"a": "1", "b": "2"})
    second = store.ran("monday", "StatisticsGen")
    graph = Graph(MetadataStore(open_store(config.metadata_url)))

    assert graph.noted([first, second], "b") == {first: "2"}
    assert graph.noted([], "b") == {}
