"""Lineage on stores as stock TFX writes them."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.caching.fingerprint import digest
from pipeline.config import Config, local
from pipeline.errors import UsageError
from pipeline.lineage.answers import Change
from pipeline.lineage.query import Lineage, open_lineage
from pipeline.lineage.views import show
from pipeline.store import properties
from pipeline.store.properties import WINDOW
from pipeline.store.windows import EarlierSpan, Window
from tests.pipeline.tfx_store import StockStore, train


def ask(config: Config) -> Lineage:
    """Opens the store again, as a command does."""
    return open_lineage(config)


def test_a_warm_start_names_its_base(config: Config, store: StockStore) -> None:
    """Its own data are its lineage, and a file leads to both models."""
    first = train(store, "monday", version="101")
    second = train(store, "tuesday", version="102", base=first.model)

    model = ask(config).model("102")

    assert (model.base, ask(config).model("101").base) == ("version 101", "")
    assert [d.artifact for d in model.data] == [second.examples]
    assert {s.run for s in model.steps} == {"tuesday"}
    assert models_of(ask(config), second.examples) == {second.model}
    assert models_of(ask(config), first.examples) == {first.model, second.model}


def models_of(lineage: Lineage, examples: int) -> set[int]:
    """Ids of the models that descend from examples."""
    steps = lineage.graph.descendants([examples])
    found = lineage.graph.by_id({i for step in steps for i in step.wrote()})
    return {artifact.id for artifact in found if artifact.type == "Model"}


def test_model_knows_all_that_made_it(config: Config, store: StockStore) -> None:
    """`model` returns data, schema, run, parameters, code, verdicts and metrics."""
    made = train(store, "monday", version="101", auc=0.87, steps=10)

    model = ask(config).model("101")

    assert (model.artifact, model.run, model.versions) == (
        made.model,
        "monday",
        ("101",),
    )
    assert [(d.artifact, d.span, d.rows) for d in model.data] == [
        (made.examples, 0, {"train": 70, "eval": 30})
    ]
    assert model.schema
    assert (model.schema.artifact, model.schema.columns) == (made.schema, 1)
    assert model.metrics == {"candidate": {"auc": 0.87}}
    assert model.parameters["Trainer"]["train_args"] == {"num_steps": 10}
    assert model.code == {"Trainer": {"module_path": "trainer@10"}}
    assert model.packages == {"tfx": "1.21.0"}
    assert [(v.by, v.about, v.passed) for v in model.verdicts] == [
        ("Evaluator", "model", True),
        ("Pusher", "push", True),
    ]
    assert [s.node for s in model.steps] == [
        "CsvExampleGen",
        "StatisticsGen",
        "SchemaGen",
        "Trainer",
        "Evaluator",
        "Pusher",
    ]


def test_cached_data_is_that_of_the_run_that_read_it(
    config: Config, store: StockStore
) -> None:
    """For cached data, the run that ingested it is returned."""
    first = train(store, "monday", version="101")
    train(store, "tuesday", version="102", examples=first.examples)

    model = ask(config).model("102")

    assert model.run == "tuesday"
    assert [(d.artifact, d.run) for d in model.data] == [(first.examples, "monday")]
    assert "monday" in {s.run for s in model.steps if s.node == "CsvExampleGen"}


def test_being_a_baseline_is_no_verdict(config: Config, store: StockStore) -> None:
    """Evaluations with a model as the baseline are not verdicts on it."""
    first = train(store, "monday", version="101", auc=0.8)
    train(store, "tuesday", auc=0.7, baseline=first.model)

    model = ask(config).model("101")

    assert {v.run for v in model.verdicts} == {"monday"}
    assert model.metrics["candidate"]["auc"] == 0.8


def test_live_model_is_the_one_that_serves(config: Config, store: StockStore) -> None:
    """Without a version, `model` returns the live one."""
    train(store, "monday", version="101")
    train(store, "tuesday", version="102")
    (config.serving_directory / "101").mkdir(parents=True)

    model = ask(config).model()

    assert (model.versions, model.live) == (("101",), True)


def test_newest_pushed_model_stands_in_for_the_live_one(
    config: Config, store: StockStore
) -> None:
    """Without a serving directory, `model` returns the one pushed last."""
    train(store, "monday", version="101")
    train(store, "tuesday")

    model = ask(config).model()

    assert (model.versions, model.live) == (("101",), False)


def test_newest_model_when_none_was_pushed(config: Config, store: StockStore) -> None:
    """Without a pushed model, `model` returns the newest."""
    train(store, "monday")
    newest = train(store, "tuesday")

    model = ask(config).model()

    assert (model.artifact, model.versions) == (newest.model, ())


@pytest.mark.parametrize("name", ["run", "artifact"])
def test_model_by_other_names(config: Config, store: StockStore, name: str) -> None:
    """`model` accepts the name of a run and the id of a Model artifact."""
    made = train(store, "monday")
    train(store, "tuesday", version="102")

    model = ask(config).model(made.run if name == "run" else str(made.model))

    assert model.artifact == made.model


def test_our_pipeline_comes_first_in_a_shared_store(
    config: Config, store: StockStore
) -> None:
    """In a store of several pipelines, versions are of the configured one."""
    ours = StockStore(config.metadata_url, store.root / "ours", pipeline=config.name)
    mine = train(ours, "monday", version="101")
    train(store, "tuesday", version="102")

    model = ask(config).model()

    assert model.artifact == mine.model


def test_code_and_versions_that_our_runs_record(
    config: Config, store: StockStore
) -> None:
    """The recorded cache key is divided into versions and digests of code."""
    model = store.artifact("Model")
    key = {"models.trainer": "a" * 64, "tensorflow": "2.21.0", "tfx": "1.21.0"}
    store.ran(
        "monday",
        "Trainer",
        outputs={"model": model},
        properties={"throughline_key": json.dumps(key)},
    )

    found = ask(config).model()

    assert found.code == {"Trainer": {"models.trainer": "a" * 64}}
    assert found.packages == {"tensorflow": "2.21.0", "tfx": "1.21.0"}
    assert "throughline_key" not in json.dumps(found.parameters)


@pytest.fixture
def ingest(config: Config, store: StockStore) -> Callable[..., int]:
    """Registers an ingested file with the properties that our ingestion records."""

    def add(run: str, name: str, text: str, span: int = 0) -> int:
        path = config.output / "data" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        entry = {"path": str(path), "bytes": len(text), "sha256": digest(text)}
        examples = store.examples(source_files=json.dumps([entry]), span=span)
        store.ran(run, "ExampleGen", outputs={"examples": examples})
        return examples

    return add


@pytest.mark.parametrize("asked", ["a.csv", "data/a.csv", "copy.csv", "sha256", "3"])
def test_data_leads_to_its_models(
    config: Config,
    store: StockStore,
    ingest: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    *,
    asked: str,
) -> None:
    """`data` accepts a name, a path, a copy, a SHA-256 and a span."""
    examples = ingest("monday", "a.csv", "fare\n1\n", span=3)
    other = ingest("tuesday", "b.csv", "fare\n2\n", span=4)
    train(store, "monday", version="101", examples=examples, auc=0.8)
    train(store, "tuesday", version="102", examples=other)
    (config.output / "copy.csv").write_text("fare\n1\n")
    monkeypatch.chdir(config.output)

    found = ask(config).data(digest("fare\n1\n") if asked == "sha256" else asked)

    assert [(m.versions, m.run, m.metric) for m in found.models] == [
        (("101",), "monday", ("AUC", 0.8))
    ]
    assert [d.artifact for d in found.data] == [examples]


def test_model_of_several_spans(
    config: Config, store: StockStore, ingest: Callable[..., int]
) -> None:
    """A model trained on two spans lists both, and is found by each."""
    spans = [ingest("monday", f"{n}.csv", f"fare\n{n}\n", span=n) for n in (1, 2)]
    model = store.artifact("Model")
    store.ran("monday", "Trainer", inputs={"examples": spans}, outputs={"model": model})

    lineage = ask(config)

    assert [d.span for d in lineage.model().data] == [1, 2]
    assert [m.artifact for m in lineage.data("1").models] == [model]
    assert [m.artifact for m in lineage.data("2").models] == [model]


def test_what_a_window_lacks_is_said(
    config: Config, store: StockStore, ingest: Callable[..., int]
) -> None:
    """With the newest span of a model: skipped, missing and refused ones."""
    newest, oldest = (
        ingest("monday", f"{n}.csv", f"fare\n{n}\n", span=n) for n in (5, 1)
    )
    window = Window("5", (EarlierSpan(4, "4", refused="bad"),), "2 to 3", "0")
    store.ran("monday", "ExampleGen", properties={WINDOW: window.to_json()})
    model = store.artifact("Model")
    inputs = {"examples": [newest, oldest]}
    store.ran("monday", "Trainer", inputs=inputs, outputs={"model": model})

    data = ask(config).model().data

    assert [(d.span, d.notes) for d in data] == [
        (1, ()),
        (5, ("skipped: 0", "missing: 2 to 3", "span 4 stays out: bad")),
    ]


def test_spans_that_were_read_together(config: Config, store: StockStore) -> None:
    """Examples of a window are found by each span; each file has its own span."""
    files = [f"/data/span-{n}/{part:03}.csv" for n in (3, 4) for part in range(100)]
    entries = [{"path": path, "bytes": 1, "sha256": "a" * 64} for path in files]
    noted = [{"span": n, "version": None, "pattern": f"span-{n}/*"} for n in (3, 4)]
    examples = store.examples(
        span=4,
        spans=json.dumps(noted),
        # As ingestion notes 200 files: no store need take 20,000 bytes at once.
        **properties.divided(properties.FILES, json.dumps(entries)),
    )
    outputs = {"examples": examples}
    store.ran(
        "monday", "ExampleGen", outputs=outputs, properties={"input_base": "/data"}
    )

    lineage = ask(config)

    (data,) = lineage.data("3").data
    assert data == lineage.data("4").data[0]
    assert (data.span, data.spans) == (4, (3, 4))
    assert [file.span for file in data.files] == [3] * 100 + [4] * 100
    assert "span 3 to 4, examples" in show(config, ["data", "3"], "tree")
    with pytest.raises(UsageError, match=r"spans are 3, 4\."):
        lineage.data("2")


def test_labels_of_requests_are_noted(config: Config, store: StockStore) -> None:
    """A span that is labels leads to the ids of the requests; another one doesn't."""
    entries = [{"path": "span-3/labels-1.csv", "bytes": 1, "sha256": "a" * 64}]
    examples = store.examples(span=3, source_files=json.dumps(entries))
    store.ran("monday", "ExampleGen", outputs={"examples": examples})
    joined = store.artifact(
        "LabelledRequests", {"span": 3, "span_file": "labels-1.csv"}
    )
    store.artifact("LabelledRequests", {"span": 3, "span_file": "labels-2.csv"})
    store.artifact("LabelledRequests", {"span": 4, "span_file": "labels-1.csv"})

    (data,) = ask(config).data("3").data

    place = store.path(joined)
    assert data.notes == (f"span 3: labels of requests, each one's id in {place}",)


def test_transformed_examples_are_no_source(config: Config, store: StockStore) -> None:
    """Examples that were written from other Examples are not sources."""
    raw, transformed = store.examples(), store.artifact("Examples")
    model = store.artifact("Model")
    for node, read, wrote in (
        ("CsvExampleGen", [], raw),
        ("Transform", [raw], transformed),
        ("Trainer", [transformed], model),
    ):
        store.ran("monday", node, inputs={"in": read}, outputs={"out": wrote})

    lineage = ask(config)

    assert [d.artifact for d in lineage.model().data] == [raw]
    assert [m.artifact for m in lineage.data("0").models] == [model]


@pytest.mark.parametrize(
    ("change", "unchanged"),
    [(lambda p: None, True), (lambda p: p.write_text("x"), False), (Path.unlink, None)],
    ids=["as it was", "changed", "gone"],
)
def test_files_are_compared_with_today(
    config: Config,
    store: StockStore,
    ingest: Callable[..., int],
    *,
    change: Callable[[Path], object],
    unchanged: bool | None,
) -> None:
    """A recorded file is reported as unchanged, changed or unknown."""
    examples = ingest("monday", "a.csv", "fare\n1\n")
    train(store, "monday", examples=examples)
    change(config.output / "data" / "a.csv")

    (file,) = ask(config).model().data[0].files

    assert (file.bytes, file.sha256) == (7, digest("fare\n1\n"))
    assert file.unchanged is unchanged


@pytest.mark.parametrize("later", [0, 5], ids=["same time", "touched"])
def test_files_of_a_stock_ingestion(
    config: Config, store: StockStore, tmp_path: Path, later: int
) -> None:
    """For stock TFX, the current files are compared with the recorded totals."""
    path = tmp_path / "data" / "span-07" / "a.csv"
    path.parent.mkdir(parents=True)
    path.write_text("fare\n1\n")
    changed = int(path.stat().st_mtime) + later
    totals = f"split:x,num_files:1,total_bytes:7,xor_checksum:{changed},"
    examples = store.examples(
        span=7, input_fingerprint=f"{totals}sum_checksum:{changed}"
    )
    splits = {"splits": [{"name": "x", "pattern": "span-{SPAN:2}/*.csv"}]}
    properties = {"input_base": str(tmp_path / "data")}
    properties["input_config"] = json.dumps(splits)
    store.ran(
        "monday",
        "CsvExampleGen",
        outputs={"examples": examples},
        properties=properties,
    )
    train(store, "monday", examples=examples)

    (file,) = ask(config).model().data[0].files

    assert file.path == str(path)
    assert file.unchanged is (later == 0)


def test_diff_names_what_changed(
    config: Config, store: StockStore, ingest: Callable[..., int]
) -> None:
    """`diff` names the changed file, column, module, setting and metric."""
    old = ingest("monday", "a.csv", "fare\n1\n")
    new = ingest("tuesday", "b.csv", "fare\n2\n")
    train(store, "monday", version="101", examples=old, steps=10, auc=0.8)
    schema = 'feature { name: "fare" type: INT }'
    train(store, "tuesday", examples=new, schema=schema, steps=20, auc=0.85)

    found = ask(config).diff("101", "tuesday")

    path = str(config.output / "data")
    assert found.data == (
        Change(f"{path}/a.csv", digest("fare\n1\n"), ""),
        Change(f"{path}/b.csv", "", digest("fare\n2\n")),
    )
    assert found.schema == (Change("fare: type", "FLOAT", "INT"),)
    assert found.code == (Change("Trainer: module_path", "trainer@10", "trainer@20"),)
    assert Change("Trainer.train_args.num_steps", "10", "20") in found.parameters
    assert found.packages == ()
    assert found.verdicts == (Change("Evaluator on the model", "passed", "refused"),)
    assert found.metrics == (Change("auc", "0.8", "0.85"),)


def test_diff_of_a_model_with_itself_is_empty(
    config: Config, store: StockStore
) -> None:
    """`diff` of a model with itself is empty."""
    train(store, "monday", version="101")

    found = ask(config).diff("101", "101")

    assert not any(found.subjects().values())


def test_files_that_are_gone_are_left_out(config: Config, store: StockStore) -> None:
    """Without the artifacts' files, `model` returns the facts of the store."""
    made = train(store, "monday", version="101")
    for kind in ("Schema", "ExampleStatistics", "ModelEvaluation"):
        for file in (store.root / kind).rglob("*.*"):
            file.unlink()

    model = ask(config).model()

    assert model.artifact == made.model
    assert model.schema
    assert (model.schema.revision, model.metrics) == ("", {})
    assert model.data[0].rows == {}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["model", "7777"], "versions are 101"),
        (["data", "c.csv"], "spans are 0"),
        (["data"], "lineage takes `model [VERSION]`"),
        ([], "lineage takes `model [VERSION]`"),
        (["diff", "101", "7777"], "no model '7777'"),
    ],
)
def test_wrong_question_is_told(
    config: Config, store: StockStore, asked: list[str], said: str
) -> None:
    """An unknown version, file or query is an error that lists the known ones."""
    train(store, "monday", version="101")

    with pytest.raises(UsageError) as refused:
        show(config, asked, "tree")

    assert said in str(refused.value)


def test_missing_store_is_not_made(config: Config) -> None:
    """A query without a store is an error that names the command, and creates none."""
    with pytest.raises(UsageError, match="run_local"):
        show(config, ["model"], "tree")

    assert not (config.output / "metadata.db").exists()


def test_empty_store_has_no_model(config: Config, store: StockStore) -> None:
    """A store without a model is an error that says how to train one."""
    with pytest.raises(UsageError, match="has no model yet"):
        show(config, ["model"], "tree")


def test_server_store_answers_alike(tmp_path: Path, postgresql: str) -> None:
    """Queries work on PostgreSQL."""
    url = f"{postgresql}/lineage"
    answers = []
    for where in (url, f"sqlite://{tmp_path}/metadata.db"):
        config = replace(local(), output=tmp_path, metadata=where)
        store = StockStore(where, tmp_path / digest(where)[:8])
        first = train(store, "monday", version="101", steps=10)
        train(store, "tuesday", version="102", examples=first.examples, steps=20)
        questions = (["diff", "101", "102"], ["data", "0"])
        answers.append(
            [
                show(config, question, "dot" if question[0] == "data" else "json")
                for question in questions
            ]
        )

    assert answers[0] == answers[1]
    assert "num_steps" in answers[0][0]


def test_command_loads_no_tensorflow(config: Config, store: StockStore) -> None:
    """`throughline lineage` imports neither TensorFlow nor TFX."""
    train(store, "monday", version="111")
    check = (
        "import sys; from pipeline import cli; code = cli.main(); "
        "sys.exit(code or 7 * bool({'tensorflow', 'tfx'} & set(sys.modules)))"
    )
    arguments = ["lineage", "model", "--output", str(config.output)]

    done = subprocess.run(
        [sys.executable, "-c", check, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "version 111" in done.stdout
