"""Reads what runs left behind: the API for notebooks and scripts.

    from pipeline import artifacts

    run = artifacts.newest()            # or of_run("20261123-154233-1c192112")
    run = artifacts.of_model()          # the run behind the live model, or a version
    run.metrics()                       # a pandas frame
    run.examples("test")                # rows as a pandas frame
    run.schema(), run.statistics()      # protos
    run.path("Trainer", "model")        # a directory

All of them take `output=` for another output directory than the project's own, and
`metadata=` for a store on a server. Nothing here needs a network, and only
`serving_model` imports TensorFlow.
"""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from models import features
from pipeline import config as settings
from pipeline.caching.fingerprint import digest
from pipeline.columnar.lists import is_list, lengths_of, unwrap
from pipeline.columnar.shards import (
    SUFFIX,
    count_rows,
    read_batches,
    schema_of,
    shards_of,
)
from pipeline.config import Config
from pipeline.errors import EXIT_DATA_REFUSED, UsageError
from pipeline.ingestion.columns import is_text
from pipeline.ingestion.export import export_split
from pipeline.ingestion.tfrecord import read_records
from pipeline.lineage.query import Lineage, open_lineage
from pipeline.names import PROJECT
from pipeline.quality import results
from pipeline.registry import versions
from pipeline.store import artifact_files, properties
from pipeline.store.graph import Artifact, Execution
from pipeline.store.run_files import DAG_FILE, RECORD_FILE
from pipeline.trust import distributions

DEFAULT_OUTPUT = PROJECT / "output"

_FEATURES = features.__name__
_DONE = frozenset({"COMPLETE", "CACHED"})
_STATES = {
    "COMPLETE": "done",
    "CACHED": "cached",
    "RUNNING": "running",
    "FAILED": "failed",
    "CANCELED": "canceled",
}
# How the names of TFMA's metrics for a kind of task begin.
_TASKS = {
    "multi-class classification": ("MultiClass", "Categorical", "SparseCategorical"),
    "binary classification": ("Binary", "AUC"),
    "regression": ("MeanSquared", "MeanAbsolute", "RSquared"),
}
# The line that ends a traceback, and the lines of its message up to the next record.
_ERROR = re.compile(
    r"^[\w.]+(?:Error|Exception|Exit): (?P<text>.+(?:\n(?!\d{4}-\d\d-\d\d |\s*$).*)*)",
    re.MULTILINE,
)


def newest(*, output: Path | str | None = None, metadata: str | None = None) -> "Run":
    """Opens the newest run that has evaluated a model, or else the newest of all.

    Raises:
        UsageError: There is no metadata store, or no run in it.
    """
    lineage = _open(output, metadata)
    names = lineage.graph.runs()
    if not names:
        raise UsageError(
            "The metadata store knows no run; `python run_local.py` is one"
        )
    runs = (Run(name, lineage) for name in reversed(names))
    return next((r for r in runs if r.has("ModelEvaluation")), Run(names[-1], lineage))


def of_run(
    run_id: str, *, output: Path | str | None = None, metadata: str | None = None
) -> "Run":
    """Opens a run by its name.

    Raises:
        UsageError: There is no such run; names the newest.
    """
    lineage = _open(output, metadata)
    names = lineage.graph.runs()
    if run_id not in names:
        known = ", ".join(names[-5:]) or "none"
        raise UsageError(f"There is no run {run_id!r}; the newest are {known}")
    return Run(run_id, lineage)


def of_model(
    version: str | None = None,
    *,
    output: Path | str | None = None,
    metadata: str | None = None,
) -> "Run":
    """Opens the run that trained a model.

    Args:
        version: The version in serving; the live one if not given.
        output: Output directory; the project's own if not given.
        metadata: URL of a metadata store on a server.

    Raises:
        UsageError: There is no such model; names those there are.
    """
    lineage = _open(output, metadata)
    return Run(lineage.model(version).run, lineage)


def all_runs(
    *, output: Path | str | None = None, metadata: str | None = None
) -> pd.DataFrame:
    """Lists all runs with what became of their models, oldest first.

    Returns:
        A row a run, by name: "version" pushed (or none), "blessed" (or none), and the
        candidate's overall metrics.
    """
    lineage = _open(output, metadata)
    rows = {name: Run(name, lineage).outcome() for name in lineage.graph.runs()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def _open(output: Path | str | None, metadata: str | None) -> Lineage:
    config = replace(
        settings.local(), output=Path(output or DEFAULT_OUTPUT), metadata=metadata
    )
    return open_lineage(settings.with_environment(config, settings.environment()))


@dataclass(frozen=True)
class Run:
    """What a run wrote, or took from the cache.

    Attributes:
        run_id: Its name.
        lineage: Answers where things came from.
    """

    run_id: str
    lineage: Lineage

    def __repr__(self) -> str:
        """Returns the run's name: a notebook shows it."""
        return f"Run({self.run_id!r})"

    @property
    def config(self) -> Config:
        """Names the directories; the settings of the run itself are `settings`."""
        return self.lineage.config

    @property
    def directory(self) -> Path:
        """The run's own directory, with its logs and its report."""
        return self.config.runs_directory / self.run_id

    @cached_property
    def executions(self) -> tuple[Execution, ...]:
        """Its executions, oldest first."""
        return tuple(self.lineage.graph.run(self.run_id))

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """What the runner noted (run.json); empty for another runner's run.

        One that can't be read counts as none: the store knows of the run too.
        """
        path = self.directory / RECORD_FILE
        try:
            return json.loads(path.read_text()) if path.is_file() else {}
        except ValueError:
            return {}

    @property
    def settings(self) -> Mapping[str, Any]:
        """The configuration it ran with; empty for another runner's run."""
        found: Mapping[str, Any] = self.record.get("config", {})
        return found

    @cached_property
    def pipeline(self) -> str:
        """Name of the pipeline; empty if the store has no execution of the run."""
        return next((step.pipeline for step in self.executions), "")

    def task(self) -> str:
        """Says what the model predicts, by the settings of what evaluated it.

        Returns:
            The label and the kind of task, such as "big_tipper, binary classification";
            as much of it as the run has, or an empty text.
        """
        settings = [
            step.parameters["eval_config"]
            for step in self.executions
            if isinstance(step.parameters.get("eval_config"), dict)
        ]
        if not settings:
            return ""
        labels = [spec.get("label_key") for spec in settings[-1].get("model_specs", ())]
        return ", ".join(filter(None, [*labels[:1], _task_of(settings[-1])]))

    def column_roles(self) -> Callable[[str], str] | None:
        """Says what the model makes of each raw column, by `models/features.py`.

        Returns:
            For a column's name "feature", "label", "feature and label" or "unused"; or
            `None` for a run that is not ours, or is of another `models/features.py`
            than today's.
        """
        keys = [step.parameters.get(properties.KEY) for step in self.executions]
        ours = [key for key in keys if isinstance(key, dict)]
        declared = {key[_FEATURES] for key in ours if _FEATURES in key}
        today = digest(Path(features.__file__).read_bytes())
        # Nodes before Transform don't depend on it: a run that ended there has none.
        if not ours or declared - {today}:
            return None
        return _role

    def outputs(self) -> list[Artifact]:
        """Lists all artifacts that it wrote or reused, oldest first."""
        done = [step for step in self.executions if step.state in _DONE]
        return self.lineage.graph.by_id({i for step in done for i in step.wrote()})

    def has(self, kind: str) -> bool:
        """Whether it wrote or reused an artifact of a type, such as "Model"."""
        return any(artifact.type == kind for artifact in self.outputs())

    def artifact(self, kind: str, node: str | None = None) -> Artifact:
        """Finds the artifact of a type, the newest if there are several.

        Args:
            kind: TFX's name of the type, such as "ExampleStatistics".
            node: Which node's, if several write the type.

        Raises:
            UsageError: It wrote none; names the types it wrote.
        """
        found = [
            artifact
            for step in self.executions
            if step.state in _DONE and node in {None, step.node}
            for artifact in self.lineage.graph.by_id(step.wrote())
            if artifact.type == kind
        ]
        if not found:
            kinds = ", ".join(sorted({a.type for a in self.outputs()})) or "nothing"
            whose = f" of {node}" if node else ""
            raise UsageError(f"Run {self.run_id} has no {kind}{whose}; it has {kinds}")
        return max(found, key=lambda artifact: artifact.id)

    def path(self, node: str, output: str) -> Path:
        """Finds the directory of what a node wrote.

        Args:
            node: Id of the node, such as "Trainer".
            output: Name of its output, such as "model".

        Raises:
            UsageError: The run has no such output, or it is not on this machine.
        """
        for step in self.executions:
            if step.node == node and step.state in _DONE and output in step.outputs:
                (artifact,) = self.lineage.graph.by_id(step.outputs[output][-1:])
                return _directory(artifact)
        known = sorted(
            f"{step.node}.{name}"
            for step in self.executions
            if step.state in _DONE
            for name in step.outputs
        )
        raise UsageError(
            f"Run {self.run_id} has no output {node}.{output}; it has "
            f"{', '.join(known) or 'none'}"
        )

    def schema(self) -> schema_pb2.Schema:
        """Reads the schema that the data had to fit."""
        found = artifact_files.read_schema(
            _directory(self.artifact("Schema", "ImportSchemaGen"))
        )
        if found is None:
            raise UsageError(f"The schema of run {self.run_id} is gone")
        return found

    def statistics(self) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
        """Reads the statistics of each split; `tfdv` takes them too."""
        return artifact_files.read_statistics(
            _directory(self.artifact("ExampleStatistics"))
        )

    def features(self) -> dict[str, dict[str, distributions.Feature]]:
        """Reads the statistics as features: by split, then by name."""
        return {
            split: {f.name: f for f in distributions.features_of(found)}
            for split, found in self.statistics().items()
        }

    def feature_table(self) -> pd.DataFrame:
        """Tabulates the statistics: a row a feature and split."""
        rows = [
            {
                "feature": f.name,
                "split": split,
                "kind": f.kind,
                "rows": f.rows,
                "missing": f.share_missing,
                "unique": f.unique,
                "mean": f.mean,
                "deviation": f.deviation,
                "lowest": f.lowest,
                "median": f.median,
                "highest": f.highest,
                "most frequent": f.texts[0].value if f.texts else None,
            }
            for split, features in self.features().items()
            for f in features.values()
        ]
        return pd.DataFrame(rows).set_index(["feature", "split"]).sort_index(level=0)

    def drift(self, before: "Run | None" = None) -> pd.DataFrame:
        """Measures how far the distributions of features are apart.

        Args:
            before: Compare the training split with that run's; without it, compare
                this run's splits with its own training split.

        Returns:
            A row a feature, a column a comparison: 0 is equal, 1 disjoint; see
            `distributions.distance`. The largest first.
        """
        now = self.features()
        pairs = (
            {"since then": (before.features()["train"], now["train"])}
            if before
            else {n: (now["train"], now[n]) for n in now if n != "train"}
        )
        columns = {
            title: {
                name: distributions.distance(old[name], new[name])
                for name in new
                if name in old
            }
            for title, (old, new) in pairs.items()
        }
        frame = pd.DataFrame(columns, dtype=float).rename_axis("feature")
        return frame.sort_values(list(frame.columns)[:1], ascending=False)

    def anomalies(self) -> dict[str, anomalies_pb2.Anomalies]:
        """Reads the anomalies of each split."""
        return artifact_files.read_anomalies(
            _directory(self.artifact("ExampleAnomalies"))
        )

    def anomaly_table(self) -> pd.DataFrame:
        """Tabulates the anomalies: a row a split, column and reason; often empty."""
        rows = [
            {
                "split": split,
                "column": name,
                "anomaly": anomalies_pb2.AnomalyInfo.Type.Name(reason.type),
                "text": reason.description,
            }
            for split, found in self.anomalies().items()
            for name, info in sorted(found.anomaly_info.items())
            for reason in info.reason
        ]
        return pd.DataFrame(rows, columns=["split", "column", "anomaly", "text"])

    def examples_table(self, split: str = "train", rows: int | None = None) -> pa.Table:
        """Reads ingested rows as an Arrow table; a missing value is null.

        A column in which a row has several values stays a column of lists.

        Args:
            split: Name of the split.
            rows: At most so many, the first; all if not given.

        Raises:
            UsageError: There is no such split.
        """
        directory = _directory(self.artifact("Examples", self._ingesting_node()))
        files = sorted((directory / f"Split-{split}").glob("*"))
        if not files:
            names = sorted(p.name.removeprefix("Split-") for p in directory.iterdir())
            raise UsageError(f"There is no split {split!r}; there are {names}")
        table = _first_rows(files, rows)
        columns = [_values(column.combine_chunks()) for column in table.columns]
        return pa.Table.from_arrays(columns, table.column_names)

    def examples(self, split: str = "train", rows: int | None = None) -> pd.DataFrame:
        """Reads ingested rows as a pandas frame; see `examples_table`."""
        return self.examples_table(split, rows).to_pandas()

    def export_examples(self, out: Path) -> dict[str, int]:
        """Writes ingested rows as gzipped TFRecords of tf.Examples, a file per shard.

        Args:
            out: Directory that gets a directory per split.

        Returns:
            The rows written, by split.

        Raises:
            UsageError: The examples are TFRecords already; names their directory.
        """
        directory = _directory(self.artifact("Examples", self._ingesting_node()))
        splits = sorted(directory.glob("Split-*"))
        if not any(split.glob(f"*{SUFFIX}") for split in splits):
            raise UsageError(f"The examples in {directory} are no Parquet files")
        return {
            split.name.removeprefix("Split-"): export_split(split, out / split.name)
            for split in splits
        }

    def learning_curves(self) -> pd.DataFrame:
        """Reads the learning curves: a row an evaluation, by training step."""
        curves = artifact_files.read_learning_curves(
            _directory(self.artifact("ModelRun"))
        )
        if not curves:
            raise UsageError(f"The Trainer of run {self.run_id} wrote no curves")
        return pd.DataFrame(curves).astype({"step": int}).set_index("step")

    def metrics(self) -> pd.DataFrame:
        """Reads the overall metrics: a row a metric, a column a model."""
        models = results.read_metrics(_directory(self.artifact("ModelEvaluation")))
        overall = {name: found[results.OVERALL] for name, found in models.items()}
        return pd.DataFrame(overall).rename_axis("metric")

    def intervals(self) -> pd.DataFrame:
        """Reads the 95 % confidence intervals of the metrics that thresholds are on.

        Returns:
            "ci_low" and "ci_high" by "model", "slice" and "metric".
        """
        found = results.read_intervals(_directory(self.artifact("ModelEvaluation")))
        rows = {
            (model, results.slice_name(where), metric): bounds
            for model, slices in found.items()
            for where, metrics in slices.items()
            for metric, bounds in metrics.items()
        }
        named = ["model", "slice", "metric"]
        frame = pd.DataFrame(
            [(*where, *bounds) for where, bounds in rows.items()],
            columns=[*named, "ci_low", "ci_high"],
        )
        return frame.set_index(named)

    def slices(self, column: str | None = None) -> pd.DataFrame:
        """Reads the candidate's metrics of each slice.

        Args:
            column: Only slices by this raw column.

        Returns:
            A row a slice ("overall" among them if no column is given), a column a
            metric; the largest slice first.
        """
        models = results.read_metrics(_directory(self.artifact("ModelEvaluation")))
        found = {
            results.slice_name(where): values
            for where, values in models[results.CANDIDATE].items()
            if column is None or column in {name for name, _ in where}
        }
        frame = pd.DataFrame.from_dict(found, orient="index").rename_axis("slice")
        if "example_count" not in frame:
            return frame
        return frame.sort_values("example_count", ascending=False)

    def calibration(self, model: str = results.CANDIDATE) -> pd.DataFrame:
        """Reads the calibration histogram of the test split.

        Returns:
            A row a bucket of predictions, lowest first: "lower", "upper", and the sums
            "weight", "label" and "prediction" over its rows.
        """
        found = results.read_calibration(_directory(self.artifact("ModelEvaluation")))
        return pd.DataFrame(found.get(model, []))

    def thresholds(self, model: str = results.CANDIDATE) -> pd.DataFrame:
        """Computes what each decision threshold would do on the test split.

        Returns:
            By "threshold": rows "flagged" and true positives, "precision", "recall".
        """
        buckets = self.calibration(model)
        if buckets.empty:
            raise UsageError("The Evaluator was not asked for a CalibrationPlot")
        falling = buckets.iloc[::-1]
        flagged, hits = falling["weight"].cumsum(), falling["label"].cumsum()
        frame = pd.DataFrame(
            {
                "threshold": falling["lower"].clip(lower=0.0),
                "flagged": flagged,
                "true positives": hits,
                "precision": (hits / flagged).where(flagged > 0),
                "recall": hits / buckets["label"].sum(),
            }
        )
        return frame.groupby("threshold").last()

    def outcome(self) -> dict[str, Any]:
        """Sums up what became of its model; empty values where it never got there."""
        found: dict[str, Any] = {"version": None, "blessed": None}
        if self.has("PushedModel"):
            pushed = self.artifact("PushedModel").properties
            found["version"] = pushed.get(properties.PUSHED_VERSION)
        if self.has("ModelBlessing"):
            blessing = self.artifact("ModelBlessing").properties
            found["blessed"] = bool(blessing.get("blessed"))
        if self.has("ModelEvaluation"):
            path = artifact_files.local_path(self.artifact("ModelEvaluation").uri)
            models = results.read_metrics(path) if path else {}
            overall = models.get(results.CANDIDATE, {}).get(results.OVERALL, {})
            found |= overall
        return found

    def ending(self) -> str:
        """Says how it ended: done, not blessed, failed, refused, interrupted, running.

        By the runner's record, or for another runner's run by the metadata store.
        """
        if self.record.get("exit_code") == EXIT_DATA_REFUSED:
            return "data refused"
        if self.record:
            return str(self.record["outcome"])
        states = {step.state for step in self.executions}
        if "RUNNING" in states:
            return "running"
        if "FAILED" in states:
            return "failed"
        return "not blessed" if self.outcome()["blessed"] is False else "done"

    def node_states(self) -> dict[str, tuple[str, float | None]]:
        """Returns state and seconds of each node, in the pipeline's order.

        A node that never started is "not run".
        """
        noted: Mapping[str, Any] = self.record.get("nodes", {})
        states: dict[str, tuple[str, float | None]] = {}
        for node in self.upstream():
            steps = [step for step in self.executions if step.node == node]
            state = _STATES.get(steps[-1].state, "failed") if steps else "not run"
            seconds = steps[-1].seconds if steps else None
            known = noted.get(node, {})
            states[node] = (
                str(known.get("state", state)).lower(),
                known.get("seconds", seconds),
            )
        return states

    def upstream(self) -> dict[str, list[str]]:
        """Returns for each node those that it waits for, in running order."""
        dag = self.directory / DAG_FILE
        if dag.is_file():
            return {n["id"]: n["upstream"] for n in json.loads(dag.read_text())}
        makers = {i: step.node for step in self.executions for i in step.wrote()}
        return {
            step.node: sorted({makers[i] for i in step.read() if i in makers})
            for step in self.executions
        }

    def failures(self) -> dict[str, str]:
        """Says for each failed node why: what the runner noted, or its log's error."""
        found = {}
        for node, (state, _) in self.node_states().items():
            if state == "failed":
                cause = self.record.get("nodes", {}).get(node, {}).get("cause")
                found[node] = cause or _error_in(self.directory / f"logs/{node}.log")
        return found

    def serving_model(self) -> "ServingModel":
        """Loads the model that it trained, to ask it; imports TensorFlow: seconds.

        Raises:
            UsageError: It trained none, or its files are gone.
        """
        directory = _directory(self.artifact("Model"))
        return ServingModel.load(directory / "Format-Serving")

    def _ingesting_node(self) -> str:
        for step in self.executions:
            types = {a.type for a in self.lineage.graph.by_id(step.wrote())}
            if "Examples" in types and not step.inputs and step.state in _DONE:
                return step.node
        raise UsageError(f"Run {self.run_id} has ingested no data")


@dataclass(frozen=True)
class ServingModel:
    """A model as a client sees it: raw values in, a probability out.

    Attributes:
        directory: Of the SavedModel.
        answer: Its signature for raw values.
        model: The loaded model, which must live as long as its signature.
    """

    directory: Path
    answer: Any
    model: Any

    @classmethod
    def load(cls, directory: Path) -> "ServingModel":
        """Loads a SavedModel that has a signature for raw values."""
        import tensorflow as tf

        model = tf.saved_model.load(str(directory))
        return cls(directory, model.signatures["serving_raw"], model)

    def predict(self, rows: pd.DataFrame | Sequence[Mapping[str, Any]]) -> pd.Series:
        """Asks the model.

        Args:
            rows: Raw values by column name; missing ones may be null or left out, and
                columns that the model doesn't know are ignored.

        Returns:
            The probability of each row.
        """
        import tensorflow as tf

        frame = pd.DataFrame(rows)
        tensors = {}
        for name, spec in self.answer.structured_input_signature[1].items():
            values = frame[name] if name in frame else pd.Series([None] * len(frame))
            tensors[name] = tf.constant(_filled(values, spec.dtype), spec.dtype)
        probability = self.answer(**tensors)["probability"].numpy()
        return pd.Series(probability, index=frame.index, name="probability")


def live_model(*, output: Path | str | None = None) -> ServingModel:
    """Loads the model that is live: the newest version in the serving directory.

    Raises:
        UsageError: There is none.
    """
    config = replace(settings.local(), output=Path(output or DEFAULT_OUTPUT))
    live = versions.live(config.serving_directory)
    if live is None:
        raise UsageError(
            f"No model is live in {config.serving_directory}; a run that ends with 0 "
            "pushes one"
        )
    return ServingModel.load(live.path)


def _role(column: str) -> str:
    roles = {"feature": features.RAW_COLUMNS, "label": features.LABEL_COLUMNS}
    found = [role for role, columns in roles.items() if column in columns]
    return " and ".join(found) or "unused"


def _task_of(eval_config: Mapping[str, Any]) -> str:
    """Names the kind of task that TFMA's metrics are for."""
    names = {
        str(metric.get("class_name", ""))
        for spec in eval_config.get("metrics_specs", ())
        for metric in spec.get("metrics", ())
    }
    for kind, typical in _TASKS.items():
        if any(name.startswith(typical) for name in names):
            return kind
    return ""


def _error_in(log: Path) -> str:
    """Finds the last error in a log: the end of its last traceback."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    found = list(_ERROR.finditer(text))
    return found[-1]["text"].strip() if found else "its log says no more"


def _directory(artifact: Artifact) -> Path:
    path = artifact_files.local_path(artifact.uri)
    if path is None:
        raise UsageError(
            f"{artifact.type} {artifact.id} is not on this machine any more: "
            f"{artifact.uri}"
        )
    return path


def _first_rows(files: Sequence[Path], rows: int | None) -> pa.Table:
    """Reads the first rows of examples: shards of ours, or a stock ExampleGen's."""
    if files[0].suffix == SUFFIX:
        found = shards_of(files[0].parent)
        batches, left = [], count_rows(found) if rows is None else rows
        for batch in itertools.chain.from_iterable(map(read_batches, found)):
            batches.append(batch.slice(0, left))
            left -= len(batches[-1])
            if not left:
                break
        return pa.Table.from_batches(batches, schema_of(found))
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    records = itertools.chain.from_iterable(map(read_records, files))
    some = list(itertools.islice(records, rows))
    return pa.Table.from_batches([ExamplesToRecordBatchDecoder().DecodeBatch(some)])


def _values(column: pa.Array) -> pa.Array:
    """Takes the only value of each row, if there is one at most; texts are strings."""
    if is_list(column.type):
        if lengths_of(column).max(initial=0) > 1:
            return column
        column = unwrap(column)
    if not is_text(column.type):
        return column
    texts = column.to_pylist()
    return pa.array(
        [v if v is None else v.decode(errors="replace") for v in texts], pa.string()
    )


def _filled(values: pd.Series, dtype: Any) -> list[Any]:
    """Puts what means "missing" to the model in the place of nulls."""
    missing: Any = features.MISSING_INTEGER
    kind: Callable[[Any], Any] = int
    if dtype.name == "string":
        missing, kind = features.MISSING_TEXT, str
    elif dtype.is_floating:
        missing, kind = features.MISSING_FLOAT, float
    return [missing if pd.isna(value) else kind(value) for value in values]
