"""Writes metadata stores and artifacts as stock TFX does, without running it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from pipeline.ingestion.tfrecord import checksum, head
from pipeline.quality.results import tfma_proto
from pipeline.store.connection import open_store

_FEATURES = """
num_examples: {rows}
features {{
  path {{ step: "fare" }} type: FLOAT
  num_stats {{
    common_stats {{ num_non_missing: {rows} }}
    mean: 5 std_dev: 2.9 min: 0 median: 5 max: 10
    histograms {{
      type: QUANTILES
      buckets {{ low_value: 0 high_value: 5 sample_count: {half} }}
      buckets {{ low_value: 5 high_value: 10 sample_count: {half} }}
    }}
  }}
}}
features {{
  path {{ step: "payment_type" }} type: STRING
  string_stats {{
    common_stats {{ num_non_missing: {known} num_missing: {missing} }}
    unique: 2
    rank_histogram {{
      buckets {{ label: "Cash" sample_count: {cash} }}
      buckets {{ label: "Card" sample_count: {card} }}
    }}
  }}
}}
"""

Properties = Mapping[str, str | int | float]


@dataclass
class StockStore:
    """A metadata store that is filled an execution at a time.

    Attributes:
        url: Of the store.
        root: Where artifacts' files go.
        pipeline: Name of the pipeline.
    """

    url: str
    root: Path
    pipeline: str = "stock"
    _store: MetadataStore = field(init=False)
    _types: dict[tuple[str, str], int] = field(default_factory=dict)
    _made: dict[int, mlmd.Artifact] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        """Opens the store."""
        self._store = MetadataStore(open_store(self.url))

    def ran(
        self,
        run: str,
        node: str,
        *,
        inputs: Mapping[str, Sequence[int]] | None = None,
        outputs: Mapping[str, int] | None = None,
        properties: Properties | None = None,
        state: mlmd.Execution.State = mlmd.Execution.COMPLETE,
    ) -> int:
        """Registers an execution of a node; returns its id."""
        execution = mlmd.Execution(
            type_id=self._type("execution", f"tfx.components.{node}"),
            last_known_state=state,
        )
        _fill(execution.custom_properties, properties or {})
        used = [
            (self._made[i], _event(mlmd.Event.INPUT, name))
            for name, ids in (inputs or {}).items()
            for i in ids
        ] + [
            (self._made[i], _event(mlmd.Event.OUTPUT, name))
            for name, i in (outputs or {}).items()
        ]
        names = {
            "pipeline": self.pipeline,
            "pipeline_run": run,
            "node": f"{self.pipeline}.{node}",
        }
        # One call is one transaction, and it is their number that takes time.
        execution_id, *_ = self._store.put_execution(
            execution,
            used,
            [
                mlmd.Context(type_id=self._type("context", kind), name=name)
                for kind, name in names.items()
            ],
            reuse_context_if_already_exist=True,
        )
        return int(execution_id)

    def artifact(self, kind: str, properties: Properties | None = None) -> int:
        """Registers an artifact with an empty directory; returns its id."""
        self._count += 1
        uri = self.root / kind / str(self._count)
        artifact = mlmd.Artifact(
            type_id=self._type("artifact", kind),
            state=mlmd.Artifact.LIVE,
            uri=str(uri),
        )
        _fill(artifact.custom_properties, properties or {})
        (artifact.id,) = self._store.put_artifacts([artifact])
        self._made[artifact.id] = artifact
        uri.mkdir(parents=True)
        return int(artifact.id)

    def path(self, artifact_id: int) -> Path:
        """Directory of an artifact."""
        return Path(self._made[artifact_id].uri)

    def examples(self, **properties: Any) -> int:
        """Registers ingested examples."""
        return self.artifact("Examples", {"span": 0, **properties})

    def schema(self, text: str) -> int:
        """Registers a schema and writes its file."""
        schema = text_format.Parse(text, schema_pb2.Schema())
        artifact_id = self.artifact("Schema")
        path = self.path(artifact_id) / "schema.pbtxt"
        path.write_text(text_format.MessageToString(schema))
        return artifact_id

    def statistics(self, **rows: int) -> int:
        """Registers statistics of two features, for the number of rows of each split.

        `fare` is spread evenly over 0 to 10 and never missing; `payment_type` is Cash
        for three rows in four and missing for one in ten.
        """
        artifact_id = self.artifact("ExampleStatistics")
        for split, count in rows.items():
            path = self.path(artifact_id) / f"Split-{split}"
            path.mkdir()
            dataset = text_format.Parse(
                _FEATURES.format(
                    rows=count,
                    half=count / 2,
                    missing=count // 10,
                    known=count - count // 10,
                    cash=count * 0.75,
                    card=count * 0.25,
                ),
                statistics_pb2.DatasetFeatureStatistics(),
            )
            whole = statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])
            (path / "FeatureStats.pb").write_bytes(whole.SerializeToString())
        return artifact_id

    def evaluation(
        self,
        slices: Mapping[str, float] | None = None,
        buckets: Sequence[tuple[float, float, float, float]] = (),
        intervals: Mapping[str, tuple[float, float]] | None = None,
        **metrics: float,
    ) -> int:
        """Registers an evaluation of a candidate.

        Args:
            slices: AUC by payment type.
            buckets: Of the calibration plot: lower, upper, rows, positives.
            intervals: Lower and upper bound of overall metrics.
            metrics: Overall metrics.
        """
        artifact_id = self.artifact("ModelEvaluation")
        protos = tfma_proto("metrics_for_slice_pb2")
        record = protos.MetricsForSlice()
        for name, value in metrics.items():
            entry = record.metric_keys_and_values.add()
            entry.key.name = name
            entry.value.double_value.value = value
            if intervals and name in intervals:
                low, high = intervals[name]
                bounds = entry.confidence_interval
                bounds.lower_bound.double_value.value = low
                bounds.upper_bound.double_value.value = high
        records = [record.SerializeToString()]
        for payment_type, area in (slices or {}).items():
            part = protos.MetricsForSlice()
            part.slice_key.single_slice_keys.add(
                column="payment_type", bytes_value=payment_type.encode()
            )
            for name, number in (("auc", area), ("example_count", 10.0)):
                entry = part.metric_keys_and_values.add()
                entry.key.name = name
                entry.value.double_value.value = number
            records.append(part.SerializeToString())
        path = self.path(artifact_id)
        write_records(path / "metrics-00000-of-00001.tfrecord", records)
        plots = protos.PlotsForSlice()
        plot = plots.plot_keys_and_values.add()
        for lower, upper, rows, positives in buckets:
            bucket = plot.value.calibration_histogram_buckets.buckets.add(
                lower_threshold_inclusive=lower, upper_threshold_exclusive=upper
            )
            bucket.num_weighted_examples.value = rows
            bucket.total_weighted_label.value = positives
            bucket.total_weighted_refined_prediction.value = rows * (lower + upper) / 2
        write_records(
            path / "plots-00000-of-00001.tfrecord", [plots.SerializeToString()]
        )
        return artifact_id

    def _type(self, of: str, name: str) -> int:
        if (of, name) not in self._types:
            made = {
                "artifact": mlmd.ArtifactType,
                "execution": mlmd.ExecutionType,
                "context": mlmd.ContextType,
            }[of](name=name)
            put = getattr(self._store, f"put_{of}_type")
            self._types[of, name] = put(made)
        return self._types[of, name]


@dataclass(frozen=True)
class Trained:
    """What a run of the stock pipeline registered, by artifact id."""

    run: str
    version: str
    examples: int
    schema: int
    model: int


def train(
    store: StockStore,
    run: str,
    *,
    version: str = "",
    examples: int | None = None,
    schema: str = 'feature { name: "fare" type: FLOAT }',
    steps: int = 10,
    auc: float = 0.9,
    baseline: int | None = None,
    base: int | None = None,
) -> Trained:
    """Registers a whole run: ingestion, statistics, training, evaluation, push."""
    if examples is None:
        examples = store.examples()
        store.ran(run, "CsvExampleGen", outputs={"examples": examples})
        statistics = store.statistics(train=70, eval=30)
        store.ran(
            run,
            "StatisticsGen",
            inputs={"examples": [examples]},
            outputs={"statistics": statistics},
        )
    else:
        store.ran(
            run,
            "CsvExampleGen",
            outputs={"examples": examples},
            state=mlmd.Execution.CACHED,
        )
    schema_id = store.schema(schema)
    store.ran(run, "SchemaGen", outputs={"schema": schema_id})
    model = store.artifact("Model", {"tfx_version": "1.21.0"})
    store.ran(
        run,
        "Trainer",
        inputs={
            "examples": [examples],
            "schema": [schema_id],
            **({"base_model": [base]} if base else {}),
        },
        outputs={"model": model},
        properties={
            "train_args": f'{{"num_steps": {steps}}}',
            "module_path": f"trainer@{steps}",
        },
    )
    blessing = store.artifact("ModelBlessing", {"blessed": int(bool(version))})
    evaluated = {"examples": [examples], "model": [model]}
    if baseline is not None:
        evaluated["baseline_model"] = [baseline]
    outputs = {"evaluation": store.evaluation(auc=auc), "blessing": blessing}
    store.ran(run, "Evaluator", inputs=evaluated, outputs=outputs)
    pushed: dict[str, str | int] = {"pushed": int(bool(version))}
    if version:
        pushed |= {"pushed_version": version, "pushed_destination": f"/s/{version}"}
    store.ran(
        run,
        "Pusher",
        inputs={"model": [model], "model_blessing": [blessing]},
        outputs={"pushed_model": store.artifact("PushedModel", pushed)},
    )
    return Trained(run, version, examples, schema_id, model)


def write_records(path: Path, records: Sequence[bytes]) -> None:
    """Writes a TFRecord file."""
    framed = [head(len(record)) + record + checksum(record) for record in records]
    path.write_bytes(b"".join(framed))


def _event(kind: mlmd.Event.Type, name: str) -> mlmd.Event:
    steps = [mlmd.Event.Path.Step(key=name), mlmd.Event.Path.Step(index=0)]
    return mlmd.Event(type=kind, path=mlmd.Event.Path(steps=steps))


def _fill(target: Any, properties: Properties) -> None:
    for name, value in properties.items():
        if isinstance(value, str):
            target[name].string_value = value
        elif isinstance(value, int):
            target[name].int_value = value
        else:
            target[name].double_value = value
